"""The merged catalogue is put together from what each upstream contributes: the same as if merged from scratch, and at
the cost of what changed."""

import threading
from dataclasses import fields
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from gateway.access.policy import Grant, Policy, Rule
from gateway.catalogue import contributions as module
from gateway.catalogue.intake import UpstreamItems
from gateway.catalogue.library import CatalogueViews
from gateway.catalogue.merge import merge
from gateway.catalogue.parts import Part, join
from gateway.config.models import ServerConfig
from gateway.request import Principal
from gateway.upstream.listing import Listing

from .listings import prompt, published, resource, template, tool

EVERYTHING = Grant()
SERVER = ServerConfig(command="x")
NAMES = ("a", "a-b", "a_b", "B", "a.b", "a b", "zz")
"""Their prefixes begin alike, and sort otherwise than they do."""


def listing(*tools: str, uri: str = "file:///shared") -> Listing:
    return Listing(
        tools=tuple(map(tool, tools)),
        resources=(resource(uri), resource(f"file:///{tools[0]}")),
        templates=(template("file:///{name}"), template("memo://{id}")),
        prompts=(prompt("ask"),),
        instructions=f"Use {tools[0]}.",
        capabilities={"tools": {}, "resources": {"subscribe": True}, "prompts": {}},
    )


def test_together_they_are_what_merging_gives() -> None:
    library = CatalogueViews(dict.fromkeys(NAMES, SERVER), "upstream")
    listings = {name: listing(f"t{number}", "x" * 80, "_", "ä") for number, name in enumerate(NAMES)}
    for name in reversed(NAMES):
        library.update([(name, listings[name])])
    library.update([("B", None)])
    library.update([("B", listings["B"])])
    joined = library.view(None, EVERYTHING)
    merged = merge([UpstreamItems(name, listings[name]) for name in NAMES], "upstream")
    for field in (
        *("tools", "resources", "templates", "prompts", "capabilities", "instructions", "dropped", "ttl_ms", "private"),
        *("tool_owners", "prompt_owners", "resource_owners", "template_owners", "links", "matchers", "listed_uris"),
    ):
        assert getattr(joined, field) == getattr(merged, field), field


def test_two_that_claim_the_same_name_both_keep_theirs() -> None:
    """Only where prefixes share a hash, or there is none."""
    parts: list[Part] = []
    for name in ("one", "two"):
        items = UpstreamItems(name, Listing(tools=(tool("do"), tool(f"only_{name}"))))
        parts.append(Part(name, items.listing, merge([items], "none")))
    joined = join(parts, "none", merge([], "none").ownership)
    names = published(joined, "tools")
    assert len(set(names)) == 4
    assert {"do", "only_one", "only_two"} <= set(names)
    assert names == sorted(names)
    assert {(owner.upstream, owner.original) for owner in joined.tool_owners.values()} == {
        *(("one", "do"), ("one", "only_one"), ("two", "do"), ("two", "only_two"))
    }


def test_who_sees_the_same_shares_it_whatever_it_is_by() -> None:
    library = CatalogueViews({"git": SERVER, "time": SERVER}, "upstream")
    library.update([("git", listing("log", "log_delete")), ("time", listing("now"))])

    def seen_by(*deny: str, upstreams: set[str] | None = None) -> Grant:
        who = Principal("key:1", owner="alice", upstreams=None if upstreams is None else frozenset(upstreams))
        return Policy([Rule(("alice",), deny=deny)] if deny else []).grant(who)

    one, other = (library.view(None, seen_by(glob)) for glob in ("*_delete", "git__log_*"))
    assert one is other
    assert library.view(None, seen_by("nothing")) is library.view(None, EVERYTHING)
    assert library.view(None, seen_by(upstreams={"git", "time"})) is library.view(None, EVERYTHING)
    assert library.view("git", seen_by(upstreams={"git"})) is library.view("git", EVERYTHING)


@pytest.mark.parametrize("field", [field.name for field in fields(Grant) if field.name != "upstreams"])
def test_all_that_decides_within_an_upstream_tells_who_shares(field: str) -> None:
    """Or somebody would be shown what was made for somebody else."""
    rules = (1, Rule(("a",), deny=("x*",))), (2, Rule(("b",), deny=("y*",)))
    values: list[dict[str, Any]] = [{field: (rule,)} for rule in rules]
    one, other = (Grant(**each) for each in values)
    assert one.within is not None
    assert len({Grant().within, one.within, other.within}) == 3


def test_an_update_leaves_alone_what_it_does_not_change() -> None:
    library = CatalogueViews({"git": SERVER, "time": SERVER}, "upstream")
    library.update([("git", listing("log")), ("time", listing("now"))])
    time_only = Grant(upstreams=frozenset({"time"}))
    before = library.view(None, EVERYTHING), library.view("time", EVERYTHING), library.view(None, time_only)
    library.update([("git", listing("log", "blame"))])
    assert library.view("time", EVERYTHING) is before[1]
    assert library.view(None, time_only) is before[2]
    merged = library.view(None, EVERYTHING)
    assert published(merged, "tools") == ["git__blame", "git__log", "time__now"]
    assert merged.tools[-1] is before[0].tools[-1], "not made again"


@pytest.mark.anyio
@pytest.mark.parametrize("tools", [1, 600], ids=["small", "large"])
async def test_the_configuration_may_change_while_a_listing_is_taken_in(tools: int) -> None:
    library = CatalogueViews({"git": SERVER, "time": SERVER}, "upstream")
    many = Listing(tools=tuple(tool(f"t{number}") for number in range(tools)))
    async with anyio.create_task_group() as tg:
        tg.start_soon(library.take_in, "git", many)
        await anyio.lowlevel.checkpoint()
        library.configure({"time": SERVER, "new": SERVER}, "upstream", [("new", listing("n"))])
    assert not library.has("git", EVERYTHING)
    assert published(library.view(None, EVERYTHING), "tools") == ["new__n"]
    assert await library.take_in("time", many) == {None, "time"}
    assert len(library.view(None, EVERYTHING).tools) == tools + 1


@pytest.mark.anyio
@pytest.mark.parametrize("tools", [1, 600], ids=["small", "large"])
async def test_what_was_not_taken_in_to_the_end_is_taken_in_when_it_comes_again(tools: int) -> None:
    """The connection may be lost in the middle, and whoever took it in is cancelled with it."""
    library = CatalogueViews({"git": SERVER}, "upstream")
    many = Listing(tools=tuple(tool(f"t{number}") for number in range(tools)))
    async with anyio.create_task_group() as tg:
        tg.start_soon(library.take_in, "git", many)
        await anyio.lowlevel.checkpoint()
        tg.cancel_scope.cancel()
    assert not library.view(None, EVERYTHING).tools
    assert await library.take_in("git", many) == {None, "git"}
    assert len(library.view(None, EVERYTHING).tools) == tools
    assert await library.take_in("git", many) == set(), "and once"


@pytest.mark.anyio
async def test_a_rule_that_changes_meanwhile_counts() -> None:
    library = CatalogueViews({"git": SERVER}, "upstream")
    async with anyio.create_task_group() as tg:
        tg.start_soon(library.take_in, "git", listing("log", "blame"))
        await anyio.lowlevel.checkpoint()
        server = ServerConfig.model_validate({"command": "x", "tools": {"deny": ["blame"]}})
        library.configure({"git": server}, "upstream", [])
    assert published(library.view(None, EVERYTHING), "tools") == ["git__log"]


@pytest.mark.anyio
async def test_what_a_configuration_needs_can_be_made_before_it_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop: list[str] = []
    merge = module.merge

    def counted(items: Any, *rest: Any) -> Any:
        if threading.current_thread() is threading.main_thread():
            on_loop.append(items[0].name)
        return merge(items, *rest)

    library, lists = CatalogueViews({"git": SERVER, "time": SERVER}, "upstream"), {"git": listing("log", "blame")}
    library.update([*lists.items(), ("time", listing("now"))])
    monkeypatch.setattr(module, "merge", counted)
    denying = {"git": ServerConfig.model_validate({"command": "x", "tools": {"deny": ["blame"]}}), "time": SERVER}
    await library.prepare(denying, "upstream", lists.items())
    assert "git__blame" in published(library.view(None, EVERYTHING), "tools")
    library.configure(denying, "upstream", lists.items())
    assert on_loop == []
    assert published(library.view(None, EVERYTHING), "tools") == ["git__log", "time__now"]
    await library.prepare({"git": SERVER, "time": SERVER}, "upstream", lists.items())
    library.configure({"git": SERVER, "time": SERVER}, "upstream", [("git", listing("other"))])
    assert "git" in on_loop, "it is another listing"
    assert published(library.view(None, EVERYTHING), "tools") == ["git__other", "time__now"]
