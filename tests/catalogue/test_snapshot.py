"""The snapshot on disk: what was saved comes back, and whatever else lies there harms nothing."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from gateway.catalogue import snapshot
from gateway.catalogue.intake import UpstreamItems
from gateway.catalogue.snapshot import Stored, fingerprint, known, load, save, update
from gateway.upstream.listing import Listing
from tests.catalogue.listings import prompt, resource, template, tool, upstreams

LISTING = Listing(
    tools=(tool("t", _meta={"long": 2**80}),),
    resources=(resource("r:"),),
    templates=(template("s{x}"),),
    prompts=(prompt("p"),),
    capabilities={"tools": {}},
    server_info={"name": "s"},
    instructions="Be kind.",
    version="2026-07-28",
    ttl_ms=5,
    private=True,
    unknown=("prompts",),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "mcp-gateway" / "catalogue.json"


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(data)


def test_what_was_saved_comes_back(path: Path) -> None:
    saved = {"a": Stored("1", LISTING), "b": Stored("2", Listing())}
    assert save(path, saved) is None
    assert load(path) == (saved, None)


@given(upstreams)
def test_any_listing_comes_back(tmp_path_factory: pytest.TempPathFactory, many: list[UpstreamItems]) -> None:
    path = tmp_path_factory.mktemp("state") / "catalogue.json"
    saved = {one.name: Stored("f", one.listing) for one in many}
    assert save(path, saved) is None
    assert load(path) == (saved, None)


def test_no_file_is_an_empty_snapshot(path: Path) -> None:
    assert load(path) == ({}, None)


def test_saving_replaces_and_leaves_nothing_else(path: Path) -> None:
    save(path, {"a": Stored("1", LISTING)})
    save(path, {"b": Stored("2", Listing())})
    assert load(path)[0].keys() == {"b"}
    assert list(path.parent.iterdir()) == [path]


def test_what_others_saved_of_their_servers_stays(path: Path) -> None:
    """Gateways with several files of servers share a state directory, and a name may mean two servers."""
    now = 1_700_000_000.0
    update(path, {"a": Stored("1", LISTING), "b": Stored("2", Listing())}, now)
    update(path, {"a": Stored("3", Listing()), "c": Stored("4", Listing())}, now)
    update(path, {"a": Stored("1", LISTING)}, now)
    stored, _ = load(path)
    assert [known(stored, name, print) is not None for name, print in ("a1", "b2", "a3", "c4", "a2")] == [True] * 4 + [
        False
    ]
    found = known(stored, "a", "1")
    assert found is not None
    assert found.listing == LISTING


def test_what_others_saved_is_not_decoded(path: Path) -> None:
    """And so comes back as it was, byte for byte."""
    update(path, {"a": Stored("1", LISTING)}, 1.0)
    before = path.read_bytes()
    part = before[before.index(b'"listing"') :].rstrip(b"}")
    update(path, {"b": Stored("2", Listing())}, 2.0)
    assert part in path.read_bytes()


def test_what_cannot_be_read_is_not_kept(path: Path) -> None:
    """It would make all of the file unusable for good."""
    head = b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{'
    write(path, head + b'"x":{"fingerprint":"1","listing":{},"seen":9}}}')
    assert load(path)[1] is not None
    update(path, {"b": Stored("2", LISTING)}, 10.0, alone=True)
    assert load(path) == ({"b": Stored("2", LISTING, seen=10)}, None)


def test_what_nobody_has_any_more_is_forgotten_in_time(path: Path) -> None:
    update(path, {"old": Stored("1", LISTING)}, 0.0)
    update(path, {"a": Stored("2", LISTING)}, snapshot.KEPT_SECONDS)
    assert load(path)[0].keys() == {"a"}


def test_ones_own_servers_are_saved_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    update(path, {"a": Stored("1", LISTING)}, 1.0)
    monkeypatch.setattr(snapshot, "MAX_BYTES", path.stat().st_size + 100)
    warning = update(path, {"z": Stored("2", LISTING)}, 2.0)
    assert load(path)[0].keys() == {"z"}
    assert warning is not None


@pytest.mark.skipif(os.name == "nt", reason="POSIX modes")
def test_only_the_owner_may_read_it(path: Path) -> None:
    save(path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    save(path, {})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def saved_with(path: Path, **changes: Any) -> bytes:
    """The file with some fields of its one listing changed."""
    save(path, {"a": Stored("1", LISTING)})
    document = json.loads(path.read_bytes())
    document["upstreams"]["a"]["listing"].update(changes)
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b'{"mcpServers":{}}',
        b'{"format":"mcp-gateway catalogue","version":2,"upstreams":{}}',
        b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{"a":',
        b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{"a":1}}',
        b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{"a":{}}}',
        b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{"a":{"fingerprint":"1"}}}',
        b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{"a":{"fingerprint":1,"listing":{}}}}',
        b'{"format":"mcp-gateway catalogue","version":1,"upstreams":{},"upstreams":[]}',
    ],
)
def test_any_other_file_is_as_if_empty_and_said_so(path: Path, data: bytes) -> None:
    write(path, data)
    upstreams, warning = load(path)
    assert upstreams == {}
    assert warning is not None
    assert str(path) in warning


FOREIGN: list[dict[str, Any]] = [
    {"tools": {}},
    {"tools": ["t"]},
    {"resources": None},
    {"templates": 1},
    {"prompts": [[]]},
    {"capabilities": []},
    {"server_info": None},
    {"instructions": 1},
    {"version": None},
    {"ttl_ms": "5"},
    {"private": None},
]


@pytest.mark.parametrize("changes", FOREIGN)
def test_a_field_of_another_type_is_not_ours(path: Path, changes: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(saved_with(path))
    assert load(path)[1] is None
    path.write_bytes(saved_with(path, **changes))
    assert load(path)[0] == {}
    assert load(path)[1] is not None


def test_a_cut_file_is_as_if_empty(path: Path) -> None:
    save(path, {"a": Stored("1", LISTING)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert load(path)[0] == {}


def test_an_oversized_file_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(path, {"a": Stored("1", LISTING)})
    monkeypatch.setattr(snapshot, "MAX_BYTES", path.stat().st_size)
    assert load(path)[1] is None
    monkeypatch.setattr(snapshot, "MAX_BYTES", path.stat().st_size - 1)
    upstreams, warning = load(path)
    assert upstreams == {}
    assert warning is not None
    assert "larger than" in warning


def test_an_upstream_that_does_not_fit_leaves_the_others_theirs(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = Listing(tools=(tool("t", description="x" * 2000),))
    monkeypatch.setattr(snapshot, "MAX_BYTES", 1500)
    warning = save(path, {"a": Stored("1", large), "b": Stored("2", LISTING)})
    assert warning is not None
    assert warning.endswith("left out: a.")
    assert load(path) == ({"b": Stored("2", LISTING)}, None)
    assert path.stat().st_size <= 1500


def test_upstreams_are_saved_until_the_file_is_full(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = {name: Stored("1", LISTING) for name in "abcd"}
    save(path, {name: many[name] for name in "abc"})
    monkeypatch.setattr(snapshot, "MAX_BYTES", path.stat().st_size)
    warning = save(path, many)
    assert warning is not None
    assert warning.endswith("left out: d.")
    assert load(path)[0].keys() == {"a", "b", "c"}


def test_an_upstream_nested_too_deeply_leaves_the_others_theirs(path: Path) -> None:
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"x": deep}
    warning = save(path, {"a": Stored("1", Listing(capabilities=deep)), "b": Stored("2", LISTING)})
    assert warning is not None
    assert load(path)[0].keys() == {"b"}


def test_what_cannot_be_read_or_written_is_a_warning(path: Path) -> None:
    path.mkdir(parents=True)  # a directory, where even root cannot read or replace a file
    upstreams, read_warning = load(path)
    assert upstreams == {}
    assert read_warning is not None
    assert "cannot be read" in read_warning
    write_warning = save(path, {})
    assert write_warning is not None
    assert "cannot be written" in write_warning
    assert list(path.parent.iterdir()) == [path]


def test_a_parent_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    warning = save(tmp_path / "file" / "catalogue.json", {})
    assert warning is not None
    assert "cannot be written" in warning


ENTRY: dict[str, Any] = {"type": "stdio", "command": "npx", "args": ["-y", "x"], "cwd": "/data"}


@pytest.mark.parametrize(
    "other",
    [
        {**ENTRY, "type": "http"},
        {**ENTRY, "command": "uvx"},
        {**ENTRY, "args": ["-y", "y"]},
        {**ENTRY, "args": ["-y x"]},
        {**ENTRY, "cwd": "/"},
        {**ENTRY, "url": "https://x/"},
        {},
    ],
)
def test_another_server_has_another_fingerprint(other: dict[str, Any]) -> None:
    assert fingerprint(other) != fingerprint(ENTRY)


@pytest.mark.parametrize(
    "same",
    [
        dict(reversed(ENTRY.items())),
        {**ENTRY, "url": None},
        {**ENTRY, "env": {"TOKEN": "secret"}},
        {**ENTRY, "headers": {"Authorization": "secret"}},
        {**ENTRY, "tools": {"allow": ["a"]}, "timeout": 5},
    ],
)
def test_what_does_not_make_it_another_server_does_not_change_the_fingerprint(same: dict[str, Any]) -> None:
    assert fingerprint(same) == fingerprint(ENTRY)


def test_a_fingerprint_says_nothing_of_what_it_was_made_of() -> None:
    secret = {**ENTRY, "args": ["--api-key", "hunter2"]}
    assert len(fingerprint(secret)) == 32
    assert set(fingerprint(secret)) <= set("0123456789abcdef")
    assert fingerprint(secret) != fingerprint(secret, b"key")
    assert fingerprint(secret, b"key") != fingerprint(secret, b"other key")
