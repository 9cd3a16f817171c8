"""The file of pins: what was pinned comes back, and what cannot be read is neither used nor written over."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.catalogue.pins import digest, pins_of
from gateway.errors import ConfigError
from gateway.jsonrpc import MAX_VALUES, loads
from gateway.store import pins as pin_file
from gateway.store.pins import Pins, joined
from tests.catalogue.listings import listings
from tests.servers.raw import TOOLS, encode

ONE = Pins({"tools": {"add": {"name": "add", "inputSchema": {}}}, "prompts": {}}, "Be kind.")
OTHER = Pins({"tools": {"sub": {"name": "sub", "inputSchema": {}}}, "templates": {}}, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pins.json"


def test_what_was_pinned_comes_back(path: Path) -> None:
    assert pin_file.load(path) == {}
    pin_file.add(path, {"a": ONE})
    pin_file.add(path, {"b": OTHER})
    assert pin_file.load(path) == {"a": ONE, "b": OTHER}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["pins.json"]


@given(listing=listings, instructions=st.none() | st.text())
def test_any_listing_comes_back(
    tmp_path_factory: pytest.TempPathFactory, listing: Any, instructions: str | None
) -> None:
    path = tmp_path_factory.mktemp("state") / "pins.json"
    pins = Pins(pins_of(listing).items, instructions)
    pin_file.add(path, {"a": pins})
    assert pin_file.load(path) == {"a": pins}


def test_odd_values_come_back_with_the_same_digest(path: Path) -> None:
    tools = loads(encode(TOOLS))
    pin_file.add(path, {"a": Pins({"tools": {tool["name"]: tool for tool in tools}})})
    back = pin_file.load(path)["a"].items["tools"]
    assert [digest("tools", back[tool["name"]]) for tool in tools] == [digest("tools", tool) for tool in tools]


def test_nothing_in_the_file_is_invisible(path: Path) -> None:
    pin_file.add(path, {"a": Pins({"tools": {"t": {"description": "\u200b\u202e\U000e0041"}}})})
    assert path.read_bytes().isascii()


def test_what_is_pinned_stays_as_it_is_whoever_adds(path: Path) -> None:
    pin_file.add(path, {"a": ONE})
    pin_file.add(path, {"a": OTHER})
    assert pin_file.load(path) == {"a": Pins({**OTHER.items, **ONE.items}, "Be kind.")}
    assert joined({"a": ONE}, {"b": OTHER}) == {"a": ONE, "b": OTHER}


def test_a_change_python_takes_for_none_is_written(path: Path) -> None:
    pin_file.add(path, {"a": Pins({"tools": {"t": {"x": 1}}})})
    pin_file.update(path, lambda _: {"a": Pins({"tools": {"t": {"x": True}}})})
    assert pin_file.load(path)["a"].items["tools"]["t"]["x"] is True


def test_however_many_values_they_have_they_come_back(path: Path) -> None:
    """A file that is written and cannot be read again would end all blocking, of all upstreams."""
    pins = {name: Pins({"tools": {"t": {"inputSchema": {"enum": [0] * MAX_VALUES}}}}) for name in ("a", "b")}
    pin_file.add(path, pins)
    assert pin_file.load(path) == pins


def test_what_is_nested_does_not_grow_in_the_file(path: Path) -> None:
    deep: Any = [0] * 10_000
    for _ in range(200):
        deep = [deep]
    pins = Pins({"tools": {"t": {"inputSchema": {"properties": {"deep": deep}}}}})
    pin_file.add(path, {"a": pins})
    assert pin_file.load(path) == {"a": pins}
    assert path.stat().st_size < 2 * pin_file.size(pins)


def test_a_line_says_little_enough_to_be_compared(path: Path) -> None:
    pin_file.add(path, {"a": ONE})
    assert '          "name": "add"\n' in path.read_text()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'{"format": "something else", "version": 1, "upstreams": {}}',
        b'{"format": "mcp-gateway pins", "version": 2, "upstreams": {}}',
        b'{"format": "mcp-gateway pins", "version": 1, "upstreams": {"a": {}}}',
        b'{"format": "mcp-gateway pins", "version": 1, "upstreams": {"a": {"instructions": 3}}}',
        b'{"format": "mcp-gateway pins", "version": 1, "upstreams": {"a": {"instructions": null, "tools": []}}}',
        b'{"format": "mcp-gateway pins", "version": 1, "upstreams": {"a": {"instructions": null, "tools": {"t": 1}}}}',
        b'{"format": "mcp-gateway pins", "version": 1, "upstreams": []}',
        b"[" * 100_000,
    ],
    ids=lambda content: content[-40:].decode(),
)
def test_what_cannot_be_read_is_said_so_and_left_alone(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    for use in (lambda: pin_file.load(path), lambda: pin_file.add(path, {"a": ONE})):
        with pytest.raises(ConfigError, match=r"pins\.json: the pinned definitions cannot be read: not what was saved"):
            use()
    assert path.read_bytes() == content


def test_one_that_is_too_large_is_neither_read_nor_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pin_file.add(path, {"a": ONE})
    before = path.read_bytes()
    monkeypatch.setattr(pin_file, "MAX_BYTES", len(before))
    with pytest.raises(ConfigError, match="larger than"):
        pin_file.add(path, {"b": OTHER})
    assert path.read_bytes() == before
    monkeypatch.setattr(pin_file, "MAX_BYTES", len(before) - 1)
    with pytest.raises(ConfigError, match="larger than"):
        pin_file.load(path)


def test_a_folder_in_its_place_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        pin_file.load(tmp_path)


def test_the_format_is_the_one_documented(path: Path) -> None:
    pin_file.add(path, {"a": ONE})
    assert json.loads(path.read_text()) == {
        "format": "mcp-gateway pins",
        "version": 1,
        "upstreams": {"a": {"tools": ONE.items["tools"], "prompts": {}, "instructions": "Be kind."}},
    }
