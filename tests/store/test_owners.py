"""What is remembered of URIs and their owners: kept apart by configuration, merged under a lock, never guessed."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.store import owners
from gateway.store.owners import OwnershipRecord, Records, approved, load, update

A = OwnershipRecord(
    frozenset({("resources", "f:1"), ("templates", "g:{x}")}), {("resources", "h:1"): "b 2"}, frozenset({"c 3"})
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / owners.NAME


def save(path: Path, configuration: str, now: float = 1, **records: OwnershipRecord) -> Records:
    return update(path, configuration, lambda _: records, now)


def test_what_was_saved_is_loaded(path: Path) -> None:
    assert load(path, "x") == {}
    save(path, "x", a=A)
    assert load(path, "x") == {"a": A}
    assert path.stat().st_mode & 0o777 == 0o600


def test_configurations_are_remembered_apart_and_a_new_one_begins_with_the_last(path: Path) -> None:
    other = OwnershipRecord()
    save(path, "x", 1, a=A)
    save(path, "y", 2, a=other)
    assert load(path, "x") == {"a": A}
    assert load(path, "y") == {"a": other}
    assert load(path, "moved") == {"a": other}
    save(path, "x", 3, a=A)
    save(path, "x", 4, a=A, b=other)
    assert load(path, "moved") == {"a": A, "b": other}


def test_what_others_remember_of_other_servers_stays(path: Path) -> None:
    save(path, "x", a=A)
    save(path, "x", b=OwnershipRecord())
    assert load(path, "x") == {"a": A, "b": OwnershipRecord()}


def test_an_approval_is_not_written_over(path: Path) -> None:
    item = ("resources", "f:1")
    waits = OwnershipRecord(shadowed={item: "b 2"})
    accepted = OwnershipRecord(frozenset({item}))
    assert approved({"a": waits}, {"a": accepted}, {"a": frozenset({item})}) == {"a": accepted}
    assert approved({"a": waits}, {"a": waits}, {"a": frozenset({item})}) == {"a": waits}
    assert approved({"a": waits}, {"a": accepted}, {}) == {"a": waits}, "it did not wait"


def test_more_of_one_server_than_is_remembered_costs_nobody_else_anything(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "MAX_SERVER_CHARACTERS", 8)
    save(path, "x", a=A, b=A)
    assert load(path, "x")["a"].owned == {("templates", "g:{x}"), ("resources", "f:1")}
    assert load(path, "x")["b"].shadowed == {}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"format": "mcp-gateway owners", "version": 1, "configurations": {"x": {"servers": {}}}}'],
)
def test_what_cannot_be_read_is_left_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    for use in (lambda: load(path, "x"), lambda: save(path, "x", a=A)):
        with pytest.raises(ConfigError, match=r"owners\.json"):
            use()
    assert path.read_text() == text
