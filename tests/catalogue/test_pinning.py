"""Upstreams held to their pins over time: what is first seen, what is said of changes, and a file that others write."""

import threading
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

from gateway import jsonrpc
from gateway.app import Gateway
from gateway.catalogue import judging, pin_reports
from gateway.catalogue import pins as decisions
from gateway.catalogue.catalogue import Owner
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.pinning import Pinning
from gateway.catalogue.snapshot import Stored, fingerprint, save
from gateway.catalogue.timing import CatalogueTiming
from gateway.config.models import ServerConfig
from gateway.config.reading.loader import load
from gateway.errors import ConfigError
from gateway.store import files
from gateway.store import pins as pin_file
from gateway.store.pins import Pins
from gateway.upstream.listing import Listing
from tests.support import wait_until

from .listings import prompt, published, resource, template, tool
from .test_library import EVERYTHING, sight

pytestmark = pytest.mark.anyio

FIRST = Listing(tools=(tool("add", description="Adds."),), instructions="Be kind.")
LATER = replace(FIRST, tools=(tool("add", description="Evil."), tool("mul")))


class Counts(Counter[tuple[str, ...]]):
    def definition_changed(self, upstream: str, what: str) -> None:
        self[upstream, what] += 1

    def suspicious_text(self, upstream: str) -> None:
        self[upstream, "suspicious"] += 1


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pins.json"


def server(**fields: Any) -> ServerConfig:
    return ServerConfig(command="x", **fields)


BRISK = CatalogueTiming(poll_seconds=0.01, pin_seconds=0.01, retry_seconds=0.01)


def pinning_of(path: Path, counts: Counts | None = None, **servers: str) -> Pinning:
    """With servers of these modes."""
    modes = {name: server(pin=mode) for name, mode in servers.items()}
    return Pinning(modes, path, Counts() if counts is None else counts, timing=BRISK)


@asynccontextmanager
async def kept(pins: Pinning) -> AsyncGenerator[list[None]]:
    """Have the file kept until the block ends; yields a list that grows whenever listings are to be judged anew."""
    told: list[None] = []
    async with anyio.create_task_group() as tg:
        tg.start_soon(pins.run, lambda: told.append(None))
        yield told
        tg.cancel_scope.cancel()


def content(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def overwrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def remove(path: Path) -> None:
    path.unlink()


# --- Judging ----------------------------------------------------------------------------------------------------------


def test_each_upstream_goes_by_its_own_setting(path: Path) -> None:
    pins = pinning_of(path, off="off", warn="warn", block="block")
    for name in ("off", "warn", "block"):
        assert pins.judge(name, FIRST).changes == ()
    verdicts = {name: pins.judge(name, LATER) for name in ("off", "warn", "block")}
    assert {name: len(verdict.changes) for name, verdict in verdicts.items()} == {"off": 0, "warn": 2, "block": 2}
    assert verdicts["off"].listing is verdicts["warn"].listing is LATER
    assert verdicts["block"].listing == FIRST


@pytest.fixture
def judgements(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """A list that grows with each listing that is compared: whether on the loop."""
    done: list[bool] = []
    judge = judging.judge

    def counted(*args: Any) -> judging.Judged:
        done.append(threading.current_thread() is threading.main_thread())
        return judge(*args)

    monkeypatch.setattr(judging, "judge", counted)
    return done


async def test_a_listing_can_be_compared_beside_the_loop_and_then_is_not_again(
    path: Path, judgements: list[bool]
) -> None:
    counts = Counts()
    pins = pinning_of(path, counts, a="warn", b="warn")
    for listing in (FIRST, LATER):
        prepared = await pins.prepare("a", listing)
        assert judgements.pop() is False
        assert pins.judge("a", listing) is prepared
        assert pins.judge("a", listing) is prepared is await pins.prepare("a", listing)
        assert judgements == []
    assert counts == {("a", "changed"): 1, ("a", "new"): 1}
    await pins.save()
    assert b"Adds." in content(path)


async def test_what_was_prepared_does_not_count_if_something_changed_since(path: Path, judgements: list[bool]) -> None:
    pins = pinning_of(path, a="warn", b="warn")
    await pins.prepare("a", FIRST)
    pins.judge("b", FIRST)  # which is pinned
    assert pins.judge("a", FIRST).changes == ()
    assert judgements == [False, True, True]
    await pins.prepare("a", LATER)
    assert len(pins.judge("a", replace(LATER, tools=(*LATER.tools, tool("div")))).changes) == 3
    blocking = {name: server(pin="block") for name in ("a", "b")}
    assert (await pins.prepare("a", LATER, blocking)).listing == FIRST
    assert pins.judge("a", LATER).listing is LATER, "it is not in force"
    await pins.prepare("a", LATER, blocking)
    pins.use(blocking)
    judgements.clear()
    assert pins.judge("a", LATER).listing == FIRST
    assert judgements == []


async def test_what_is_off_is_not_pinned(path: Path) -> None:
    pins = pinning_of(path, a="off")
    pins.judge("a", FIRST)
    await pins.save()
    assert content(path) == b""


async def test_pins_outlive_the_gateway(path: Path) -> None:
    before = pinning_of(path, a="block")
    before.judge("a", FIRST)
    await before.save()
    assert len(pinning_of(path, a="block").judge("a", LATER).changes) == 2


async def test_what_another_process_pinned_first_counts(path: Path) -> None:
    ours = pinning_of(path, a="block", b="block")
    theirs = pinning_of(path, a="block")
    theirs.judge("a", FIRST)
    await theirs.save()
    ours.judge("a", LATER)
    ours.judge("b", FIRST)
    async with kept(ours) as told:
        await wait_until(lambda: told)
        assert len(ours.judge("a", LATER).changes) == 2
        await wait_until(lambda: pin_file.load(path).keys() == {"a", "b"})


def test_another_server_of_the_same_name_is_not_held_to_its_pins(path: Path) -> None:
    """As in another file that shares the state directory, or after the entry was changed."""
    one, two = ({"a": ServerConfig(command=command, pin="block")} for command in ("one", "two"))
    pins = Pinning(one, path, Counts(), timing=BRISK)
    pins.judge("a", FIRST)
    pins.use(two)
    with capture_logs() as lines:
        assert pins.judge("a", LATER).changes == ()
    assert lines[0]["event"] == "another server of the same name; it is pinned anew"
    assert len(pins.judge("a", FIRST).changes) == 2, "it has pins of its own"
    pins.use(one)
    assert len(pins.judge("a", LATER).changes) == 2, "and the first one still has its own"


async def test_gateways_with_other_servers_of_the_same_name_keep_all_pins(path: Path) -> None:
    ours = [{"a": ServerConfig(command=command, pin="block")} for command in ("one", "two")]
    gateways = [Pinning(servers, path, Counts(), timing=BRISK) for servers in ours]
    gateways[0].judge("a", FIRST)
    gateways[1].judge("a", LATER)
    for pins in gateways:
        await pins.save()
    again = [Pinning(servers, path, Counts(), timing=BRISK) for servers in ours]
    assert [len(pins.judge("a", listing).changes) for pins in again for listing in (FIRST, LATER)] == [0, 2, 2, 0]


async def test_a_renamed_server_keeps_its_pins(path: Path) -> None:
    before = pinning_of(path, a="block")
    before.judge("a", FIRST)
    await before.save()
    assert len(pinning_of(path, b="block").judge("b", LATER).changes) == 2
    assert pinning_of(path, a="block", b="block").judge("b", LATER).changes == (), "one entry beside it is another"


def test_pins_of_a_time_when_the_name_counted_are_those_of_the_first_that_is_seen(path: Path) -> None:
    pin_file.add(path, {"a": decisions.pins_of(FIRST)})
    one, two = ({"a": ServerConfig(command=command, pin="block")} for command in ("one", "two"))
    pins = Pinning(one, path, Counts(), timing=BRISK)
    assert len(pins.judge("a", LATER).changes) == 2
    pins.use(two)
    assert pins.judge("a", LATER).changes == ()


# --- Saying so --------------------------------------------------------------------------------------------------------


def test_a_change_is_logged_and_counted_once_and_again_if_it_comes_back(path: Path) -> None:
    counts = Counts()
    pins = pinning_of(path, counts, a="block")
    pins.judge("a", FIRST)
    with capture_logs() as lines:
        for listing in (LATER, LATER, FIRST, LATER):
            pins.judge("a", listing)
    changed = {
        "event": "definition changed",
        "log_level": "warning",
        "upstream": "a",
        "kind": "tools",
        "name": "add",
        "blocked": True,
        "diff": ["description:", "- Adds.", "+ Evil."],
    }
    new = changed | {"event": "definition new", "name": "mul"}
    new["diff"] = ["name:", "+ mul", "inputSchema.type:", "+ object"]
    assert lines == [changed, new, changed, new]
    assert counts == {("a", "changed"): 2, ("a", "new"): 2}


def test_suspicious_text_is_logged_and_counted_whether_or_not_it_changed(path: Path) -> None:
    counts = Counts()
    pins = pinning_of(path, counts, a="warn")
    hidden = replace(FIRST, tools=(tool("add\u200b", description="Adds.<!-- and more -->"),))
    with capture_logs() as lines:
        pins.judge("a", hidden)
        pins.judge("a", hidden)
    said = [line for line in lines if line["event"] == "suspicious text"]
    assert [(line["name"], line["place"], line["what"]) for line in said] == [
        ("add\\u200b", "name", "zero-width characters"),
        ("add\\u200b", "description", "an HTML comment"),
    ]
    assert counts == {("a", "suspicious"): 2}


def test_the_log_stays_small_however_often_it_changes(path: Path) -> None:
    counts, now = Counts(), [0.0]
    reports = pin_reports.Reports(counts, lambda: now[0])
    pins = Pins({"tools": {"t": tool("t")}})
    evil = Listing(tools=(tool("t", description="Evil.\u200b"),))
    verdicts = [decisions.judge(pins, listing, lambda name: True, block=False) for listing in (evil, Listing())]
    with capture_logs() as lines:
        for _ in range(1000):
            for verdict in verdicts:
                reports.say("a", verdict)
            now[0] += 0.01
        said = len(lines)
        now[0] += pin_reports.LOG_SECONDS
        reports.say("a", verdicts[0])
        reports.say("b", verdicts[0])
    assert said == 2 * pin_reports.MAX_LOGGED + 1
    assert [line["event"] for line in lines].count("and more of that kind") == 1
    assert [(line["upstream"], line["event"]) for line in lines[said:]] == [
        (name, event) for name in ("a", "b") for event in ("definition changed", "suspicious text")
    ]
    assert counts["a", "changed"] == 1001


def test_the_log_stays_small_however_much_changes(path: Path) -> None:
    counts = Counts()
    pins = pinning_of(path, counts, a="warn")
    pins.judge("a", Listing())
    long = {"description": "\n".join(["line" * 100] * 50)}
    with capture_logs() as lines:
        pins.judge("a", Listing(tools=tuple(tool(f"{number}\x1b" * 400, **long) for number in range(50))))
    assert len(lines) == 2 * pin_reports.MAX_LOGGED + 1
    assert max(len(str(line)) for line in lines) < 2 * pin_reports.MAX_LINES * pin_reports.MAX_CHARACTERS
    assert {key: lines[-1][key] for key in ("changes", "suspicions")} == {"changes": 30, "suspicions": 30}
    assert counts["a", "new"] == counts["a", "suspicious"] == 50


async def test_what_is_too_large_to_be_pinned_is_as_if_it_were_new_and_the_others_are_pinned(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pin_file, "MAX_UPSTREAM_BYTES", 1000)
    pins = pinning_of(path, a="block", b="block", c="block")
    pins.judge("c", replace(FIRST, unknown=("prompts",)))
    large = replace(FIRST, tools=(tool("add", description="Evil."),), prompts=(prompt("ask", description="x" * 1000),))
    with capture_logs() as lines:
        verdicts = {name: [pins.judge(name, large) for _ in range(3)][-1] for name in ("a", "c")}
        assert pins.judge("b", FIRST).changes == ()
    assert (verdicts["a"].listing.tools, verdicts["a"].listing.instructions) == ((), None)
    assert {change.name: change.what for change in verdicts["a"].blocked.values()} == {
        "add": "new",
        "ask": "new",
        "instructions": "new",
    }
    assert {change.name: change.what for change in verdicts["c"].blocked.values()} == {"add": "changed", "ask": "new"}
    said = [line["upstream"] for line in lines if line["event"] == "definitions not pinned"]
    assert said == ["a", "c"]
    await pins.save()
    assert pin_file.load(path).keys() == {"b", "c"}
    assert "prompts" not in pin_file.load(path)["c"].items


# --- The file ---------------------------------------------------------------------------------------------------------


async def test_an_approval_counts_at_once(path: Path) -> None:
    pins = pinning_of(path, a="block")
    library = CatalogueViews({"a": server()}, "upstream", pins)
    library.update([("a", FIRST)])
    library.update([("a", LATER)])
    assert published(library.whole(None), "tools") == ["a__add"]
    async with kept(pins) as told:
        await wait_until(path.exists)
        pin_file.update(path, lambda stored: {**stored, "a": Pins({"tools": {t["name"]: t for t in LATER.tools}})})
        await wait_until(lambda: told)
        assert library.update([("a", LATER)]) == {None, "a"}
        assert library.changes(None, EVERYTHING) == {"tools"}
        assert published(library.whole(None), "tools") == ["a__add", "a__mul"]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A list that grows whenever the file was read."""
    done: list[Path] = []
    load = pin_file.load

    def counted(path: Path) -> dict[str, Pins]:
        pins = load(path)
        done.append(path)
        return pins

    monkeypatch.setattr(pin_file, "load", counted)
    return done


async def test_what_the_gateway_writes_itself_is_no_news(path: Path, reads: list[Path]) -> None:
    pins = pinning_of(path, a="warn", b="warn", c="warn")
    async with kept(pins) as told:
        for name in "abc":
            reads.clear()
            pins.judge(name, FIRST)
            written = pins.known
            await wait_until(lambda: reads)
            assert pins.known is written
        assert told == []


async def test_what_is_pinned_while_the_rest_is_written_waits_for_no_second_try(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = CatalogueTiming(poll_seconds=0.01, pin_seconds=0.01, retry_seconds=3600)
    pins = Pinning({"a": server(), "b": server()}, path, Counts(), timing=timing)
    add, writing, pinned = pin_file.add, threading.Event(), threading.Event()

    def slowly(path: Path, ours: Any) -> None:
        writing.set()
        assert pinned.wait(10)
        add(path, ours)

    monkeypatch.setattr(pin_file, "add", slowly)
    async with kept(pins):
        pins.judge("a", FIRST)
        await wait_until(writing.is_set)
        pins.judge("b", FIRST)
        pinned.set()
        await wait_until(lambda: path.exists() and len(pin_file.load(path)) == 2)


async def test_a_file_that_becomes_unreadable_changes_nothing(path: Path) -> None:
    pins = pinning_of(path, a="block")
    pins.judge("a", FIRST)
    await pins.save()
    good = content(path)
    async with kept(pins) as told:
        with capture_logs() as lines:
            overwrite(path, b"{")
            await wait_until(lambda: lines)
        assert "pins.json" in lines[0]["reason"]
        assert len(pins.judge("a", LATER).changes) == 2
        assert content(path) == b"{"
        overwrite(path, good)
        pin_file.update(path, lambda stored: {**stored, "a": Pins({"tools": {t["name"]: t for t in LATER.tools}})})
        await wait_until(lambda: told)


async def test_a_file_that_vanishes_is_written_again(path: Path, reads: list[Path]) -> None:
    pins = pinning_of(path, a="block")
    pins.judge("a", FIRST)
    await pins.save()
    reads.clear()
    async with kept(pins):
        await wait_until(lambda: reads)  # it has seen its own file
        remove(path)
        await wait_until(path.exists)
    assert len(pins.judge("a", LATER).changes) == 2


def test_to_block_by_pins_that_cannot_be_read_is_refused(path: Path) -> None:
    overwrite(path, b"{")
    with pytest.raises(ConfigError, match=r"pins\.json: the pinned definitions cannot be read"):
        pinning_of(path, a="warn", b="block")
    pins = pinning_of(path, a="warn")
    blocking = {"a": server(pin="block")}
    with pytest.raises(ConfigError, match=r"pins\.json") as refusal:
        pins.check(blocking)
    assert refusal.value.files == [path]
    remove(path)
    pin_file.add(path, {"a": Pins({"tools": {}})})
    pins.check(blocking)
    pins.use(blocking)
    assert [change.what for change in pins.judge("a", FIRST).changes] == ["new", "new"]


async def test_to_warn_goes_on_without_them_and_says_so(path: Path) -> None:
    overwrite(path, b"{")
    with capture_logs() as lines:
        pins = pinning_of(path, a="warn")
    assert [line["event"] for line in lines] == ["definitions are not compared with their pins"]
    assert pins.judge("a", FIRST).changes == ()
    await pins.save()
    assert content(path) == b"{", "it is not written over"
    async with kept(pins) as told:
        remove(path)
        pin_file.add(path, {"a": Pins({"tools": {}})})
        await wait_until(lambda: told)
    assert [change.what for change in pins.judge("a", FIRST).changes] == ["new", "new"]


async def test_where_nothing_can_be_written_pins_hold_until_the_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "pins.json"
    with pytest.raises(ConfigError, match="Not a directory"):
        pinning_of(path, a="block")
    pins = pinning_of(tmp_path / "gone" / "pins.json", a="block")
    pins.judge("a", FIRST)
    (tmp_path / "gone").write_text("in the way")
    with capture_logs() as lines:
        await pins.save()
    assert [(line["log_level"], line["event"]) for line in lines] == [("error", "pins not saved")]
    assert len(pins.judge("a", LATER).changes) == 2


async def test_what_cannot_be_written_is_said_once_and_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[Path] = []
    really = files.replace

    def replace_at_the_third(path: Path, data: bytes) -> None:
        attempts.append(path)
        if len(attempts) < 3:
            raise OSError(28, "No space left on device")
        really(path, data)

    monkeypatch.setattr(files, "replace", replace_at_the_third)
    pins = pinning_of(path, a="block")
    pins.judge("a", FIRST)
    with capture_logs() as lines:
        async with kept(pins):
            await wait_until(path.exists)
    assert [line["event"] for line in lines].count("pins not saved") == 1
    assert len(pinning_of(path, a="block").judge("a", LATER).changes) == 2


async def test_what_is_pinned_at_the_last_moment_is_written_all_the_same(tmp_path: Path) -> None:
    """From the snapshot, too: there the gateway sees an upstream's offer before it has started it."""
    path = tmp_path / "servers.json"
    servers = {"a": {"command": "never-started", "lazy": True}}
    overwrite(path, jsonrpc.dumps({"gateway": {"state_dir": str(tmp_path)}, "servers": servers}))
    config = load(path, environ={}, dotenv=None)
    known = Stored(fingerprint(config.enabled["a"].model_dump(mode="json")), FIRST)
    assert save(tmp_path / "catalogue.json", {"a": known}) is None
    async with Gateway(config).running():
        pass
    assert pin_file.load(tmp_path / pin_file.NAME)["a"].instructions == "Be kind."


# --- In the catalogue -------------------------------------------------------------------------------------------------


@pytest.fixture
def library(path: Path) -> CatalogueViews:
    """An upstream `a` of which much is blocked, and `b` of which nothing is."""
    first = Listing(
        tools=(tool("add"), tool("a.b")),
        prompts=(prompt("ask"),),
        templates=(template("r:{x}"),),
        resources=(resource("x:1"),),
        capabilities={"tools": {}, "prompts": {}, "resources": {}},
    )
    later = Listing(
        tools=(tool("add", description="Evil."), tool("a.b"), tool("a_b")),
        prompts=(prompt("ask", description="Evil."), prompt("beg")),
        templates=(template("r:{x}", description="Evil."), template("s:{x}")),
        resources=(resource("x:1", description="Evil."), resource("x:2")),
        capabilities=first.capabilities,
    )
    pins = pinning_of(path, a="block", b="block")
    library = CatalogueViews({"a": server(), "b": server()}, "upstream", pins)
    library.update([("a", first), ("b", Listing(tools=(tool("add"),)))])
    library.update([("a", later)])
    return library


def owner(found: object) -> Owner:
    assert isinstance(found, Owner)
    return found


def test_what_is_blocked_is_known_by_whatever_leads_to_it(library: CatalogueViews) -> None:
    whole = library.whole(None)
    blocked = {
        "tool": library.blocked("tools", owner(whole.tool("a__add"))),
        "prompt": library.blocked("prompts", owner(whole.prompt("a__ask"))),
        "resource": library.blocked("resources", owner(whole.resource("x:1"))),
        "template": library.blocked("resources", owner(whole.template("r:{x}"))),
        "by template": library.blocked("resources", owner(whole.unlisted("r:1"))),
    }
    assert {name: change and (change.kind, change.name) for name, change in blocked.items()} == {
        "tool": ("tools", "add"),
        "prompt": ("prompts", "ask"),
        "resource": ("resources", "x:1"),
        "template": ("templates", "r:{x}"),
        "by template": ("templates", "r:{x}"),
    }


def test_the_rest_is_not_blocked(library: CatalogueViews) -> None:
    whole = library.whole(None)
    for kind, found in [
        ("tools", whole.tool("a__a_b")),
        ("resources", whole.resource("x:2")),
        ("tools", whole.tool("b__add")),
    ]:
        assert library.blocked(kind, owner(found)) is None  # pyright: ignore[reportArgumentType]


def test_what_is_held_back_is_listed_nowhere_and_takes_nobodys_name(library: CatalogueViews) -> None:
    whole = library.whole(None)
    assert published(whole, "tools") == ["a__a_b", "a__add", "b__add"]
    assert owner(whole.tool("a__a_b")).original == "a.b"
    assert published(whole, "prompts") == ["a__ask"]
    assert published(whole, "templates") == ["r:{x}"]
    assert b"Evil" not in repr(whole).encode()


def test_what_is_held_back_is_found_by_who_may_see_everything(library: CatalogueViews) -> None:
    found = library.held_back(None, EVERYTHING).prompt("a__beg")
    assert library.blocked("prompts", owner(found)) is not None
    assert library.blocked("prompts", owner(library.held_back("a", EVERYTHING).prompt("beg"))) is not None
    assert library.held_back("b", EVERYTHING).prompt("beg") is None
    assert library.held_back(None, sight(upstreams={"a"})).prompt("a__beg") is None


def test_a_blocked_template_leads_nowhere_for_those_who_do_not_see_it_either(library: CatalogueViews) -> None:
    assert [library.withholds("a", uri) for uri in ("r:1", "s:1", "t:1")] == [True, True, False]
    assert not library.withholds("b", "r:1")


def test_what_is_blocked_does_not_count_as_changed_for_agents(library: CatalogueViews) -> None:
    library.update([("b", Listing(tools=(tool("add", description="Evil."),)))])
    assert library.changes(None, EVERYTHING) == library.changes("b", EVERYTHING) == set()
    assert [change.what for change in library.verdict("b").changes] == ["changed"]
    assert library.verdict("never seen").changes == ()
