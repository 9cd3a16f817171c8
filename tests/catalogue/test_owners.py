"""Whose a URI was is remembered: who takes it over is reported and, with `pin: block`, waits for approval."""

from collections.abc import Iterable, Mapping

import pytest
from structlog.testing import capture_logs

from gateway.catalogue.owners import Owners
from gateway.catalogue.ownership import Claims
from gateway.catalogue.ownership_reports import PASSED_ON, SHADOWED, TAKEN, WAITS, tell
from gateway.config.models import ServerConfig
from gateway.store.owners import OwnershipRecord, Records

Said = list[tuple[str, str, str]]


def server(name: str, pin: str = "warn") -> ServerConfig:
    return ServerConfig.model_validate({"command": name, "pin": pin})


def servers(names: Iterable[str], blocked: Iterable[str] = ()) -> dict[str, ServerConfig]:
    return {name: server(name, "block" if name in blocked else "warn") for name in names}


def claims(texts: Iterable[str]) -> Claims:
    every = list(texts)
    return Claims.of((text for text in every if "{" not in text), (text for text in every if "{" in text))


class Run:
    """A gateway's memory from start to stop; `records` are what it leaves."""

    def __init__(
        self, names: str, blocked: Iterable[str] = (), records: Mapping[str, OwnershipRecord] | None = None
    ) -> None:
        self.owners = Owners(servers(names, blocked), records)
        self.said: Said = []

    def lists(self, **listed: list[str]) -> Said:
        """These servers come up or list anew; returns what is said of that."""
        for name, texts in listed.items():
            self.owners.update(name, claims(texts))
        return self.settle()

    def use(self, names: str, blocked: Iterable[str] = ()) -> Said:
        self.owners.use(servers(names, blocked))
        return self.settle()

    def settle(self) -> Said:
        with capture_logs() as said:
            tell(self.owners.assign(), self.owners)
        return [(each["event"], each["upstream"], each.get("by") or each["to"]) for each in said]

    def owner(self, uri: str) -> str | None:
        return self.owners.ownership.owner(uri)

    @property
    def records(self) -> Records:
        return self.owners.records


LISTS: dict[str, list[str]] = {"a": ["f:1"], "b": ["f:1", "f:2"]}
"""What two servers list, when nothing else is said."""


def first_run(names: str = "ab", blocked: Iterable[str] = (), **listed: list[str]) -> Run:
    run = Run(names, blocked)
    run.lists(**(listed or {name: LISTS[name] for name in names}))
    return run


@pytest.mark.parametrize("blocked", ["x", "a", "xa"])
@pytest.mark.parametrize("is_up_late", [True, False])
@pytest.mark.parametrize("taking", ["f:1", "f:{any}", "{+any}"])
def test_a_server_that_was_inserted_waits(blocked: str, taking: str, is_up_late: bool) -> None:
    run = Run("xa", blocked, first_run("a").records)
    if is_up_late:
        assert run.settle() == []
        assert run.lists(a=["f:1"]) == []
        assert run.lists(x=[taking]) == [(WAITS, "a", "x")]
    else:
        assert run.lists(a=["f:1"], x=[taking]) == [(WAITS, "a", "x")]
    assert run.owner("f:1") == "a"
    assert run.owners.ownership.public("a", "f:1") == "f:1"
    assert run.owners.ownership.public("x", "f:1") == "x+f:1"
    assert run.lists(x=[taking]) == []


def test_what_waits_goes_on_waiting_after_a_restart() -> None:
    run = Run("xa", "x", first_run("a").records)
    run.lists(a=["f:1"], x=["f:1"])
    again = Run("xa", "x", run.records)
    assert again.lists(x=["f:1"]) == [(WAITS, "a", "x")]
    assert again.lists(a=["f:1"]) == []
    assert again.owner("f:1") == "a"


def test_what_takes_nothing_over_does_not_wait_with_the_rest() -> None:
    run = Run("xa", "x", first_run("a").records)
    run.lists(x=["f:1", "f:3"], a=["f:1"])
    assert run.owner("f:3") == "x"
    assert run.owners.waits.keys() == {("x", "a")}


@pytest.mark.parametrize("blocked", ["b", ""])
def test_a_server_that_was_moved_up(blocked: str) -> None:
    run = first_run()
    assert run.owner("f:1") == "a"
    assert run.use("ba", blocked) == [(WAITS if blocked else TAKEN, "a", "b")]
    assert run.owner("f:1") == ("a" if blocked else "b")
    assert run.use("ab", blocked) == ([] if blocked else [(TAKEN, "b", "a")])  # and back
    assert run.owner("f:1") == "a"


@pytest.mark.parametrize("blocked", ["a", ""])
@pytest.mark.parametrize("restarts", [True, False])
@pytest.mark.parametrize("more", ["f:2", "f:{x}"])
def test_a_server_that_lists_more_than_it_did(blocked: str, more: str, restarts: bool) -> None:
    run = first_run("ab", blocked)
    if restarts:
        run = Run("ab", blocked, run.records)
    assert run.lists(b=LISTS["b"], a=["f:1", more]) == [(WAITS if blocked else TAKEN, "b", "a")]
    assert run.owner("f:2") == ("b" if blocked else "a")
    assert run.owner("f:1") == "a"


def test_what_was_shadowed_in_part_is_protected_in_the_others() -> None:
    run = first_run("ab", "a", a=["f:1"], b=["f:{x}"])
    assert (run.owner("f:1"), run.owner("f:2")) == ("a", "b")
    run.lists(a=["f:1", "f:{y}"])
    assert run.owners.waits.keys() == {("a", "b")}
    assert (run.owner("f:1"), run.owner("f:2")) == ("a", "b")


def test_one_more_of_its_own_template_is_no_takeover() -> None:
    run = first_run("ab", "a", a=["f:{x}"], b=["f:{y}", "g:1"])
    assert run.lists(a=["f:{x}", "f:7"]) == []
    assert run.owners.ownership.public("a", "f:7") == "f:7"


def test_what_is_somebody_elses_all_along_is_not_taken_over() -> None:
    run = first_run("zab", "a", z=["{+any}"], a=[], b=["f:1", "f:{x}"])
    assert run.lists(a=["f:1"]) == [(SHADOWED, "a", "z")]
    assert run.owner("f:1") == "z"


def test_an_earlier_server_that_is_seen_late_at_first_takes_nothing_over() -> None:
    run = Run("ab", "ab")
    assert run.lists(b=["f:1"]) == []
    run = Run("ab", "ab", run.records)  # never seen before the restart either
    run.settle()
    assert run.lists(a=["f:1"]) == [(SHADOWED, "b", "a")]
    assert run.owner("f:1") == "a"
    assert run.lists(a=["f:1", "f:2"], b=["f:1"]) == []


def test_an_earlier_server_whose_lists_could_not_be_fetched_at_first_was_not_seen() -> None:
    run = Run("ab", "ab")
    run.owners.update("a", claims([]), complete=False)
    run.lists(b=["f:1"])
    assert run.lists(a=["f:1"]) == [(SHADOWED, "b", "a")]
    assert run.owner("f:1") == "a"


def test_who_is_away_keeps_its_uris_from_one_run_to_the_next() -> None:
    run = Run("ab", "", first_run().records)
    assert run.lists(b=LISTS["b"]) == []
    assert run.owner("f:1") == "a"
    assert run.lists(a=LISTS["a"]) == []


@pytest.mark.parametrize("restarts", [True, False])
def test_what_its_owner_lists_no_more_is_passed_on(restarts: bool) -> None:
    run = first_run()
    if restarts:
        run = Run("ab", "", run.records)
    assert run.lists(b=LISTS["b"], a=[]) == [(PASSED_ON, "a", "b")]
    assert run.owner("f:1") == "b"
    assert run.lists(a=["f:1"]) == [(TAKEN, "b", "a")]


def test_a_server_that_was_removed_passes_its_uris_on() -> None:
    run = first_run()
    assert run.use("b") == [(PASSED_ON, "a", "b")]
    assert run.owner("f:1") == "b"


def test_approved_is_all_of_it_or_some() -> None:
    run = Run("xb", "x", first_run("b", b=["f:1", "f:2"]).records)
    run.lists(x=["f:1", "f:2"], b=["f:1", "f:2"])
    run.owners.approve("x", ["f:2"])
    assert run.settle() == [(TAKEN, "b", "x")]
    assert (run.owner("f:1"), run.owner("f:2")) == ("b", "x")
    run = Run("xb", "x", run.records)
    run.settle()
    assert (run.owner("f:1"), run.owner("f:2")) == ("b", "x")
    run.owners.approve("x")
    run.settle()
    assert run.owner("f:1") == "x"
    assert not run.owners.takeovers


def test_three_in_the_opposite_order_stay_whose_they_were() -> None:
    lists = {name: ["f:1", "g:{x}"] for name in "abc"}
    run = first_run("abc", **lists)
    run.use("cba", "abc")
    assert (run.owner("f:1"), run.owner("g:1")) == ("a", "a")
    run.lists(a=[])  # and then they go to the next in the order there is
    assert (run.owner("f:1"), run.owner("g:1")) == ("c", "c")


def test_a_renamed_server_has_what_it_had() -> None:
    records = first_run("ab", "b").records
    owners = Owners({"c": server("a", "block"), "b": server("b")}, records)
    owners.assign()
    assert owners.ownership.owner("f:1") == "c"
    owners.update("c", claims(["f:1"]))
    owners.assign()
    assert not owners.takeovers


def test_another_server_of_the_name_has_nothing() -> None:
    owners = Owners({"x": server("other", "block"), "b": server("b")}, first_run("xb", x=["f:1"], b=["f:2"]).records)
    owners.update("x", claims(["f:2"]))
    owners.assign()
    assert owners.ownership.owner("f:2") == "b"
