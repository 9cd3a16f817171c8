"""Servers that offer more to clients that can do more: agents see and can call what they would direct."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from gateway.app import Gateway
from gateway.errors import DefinitionChanged, GatewayError, UnknownTool
from tests.bridge.house import SECONDS, Somebody, gateway_of, text_of
from tests.bridge.requests import HANDSHAKE, MODERN
from tests.interaction._gateway import Entry, child
from tests.support import wait_until

pytestmark = pytest.mark.anyio

ALL: Final[dict[str, Any]] = {"sampling": {}, "elicitation": {}, "roots": {}}


def tool(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object"}, **more}


TOOLS: Final = {
    "any": [tool("echo")],
    "elicitation": [tool("ask")],
    "sampling": [tool("think")],
    "roots": [tool("look")],
}
EVERYTHING: Final = ["echo", "ask", "think", "look"]


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(TOOLS))
    return path


def entry(era: str, tools: Path, **settings: Any) -> Entry:
    return child("tests.servers.particular", era, str(tools), **settings)


def somebody(gateway: Gateway, version: str, view: str | None = None, **capabilities: Any) -> Somebody:
    who = Somebody(gateway, version, view=view, capabilities=capabilities)
    return who.open() if version == HANDSHAKE else who


async def names(who: Somebody) -> list[str]:
    return [each["name"].removeprefix("up__") for each in (await who.send("tools/list"))["tools"]]


async def until_it_sees(who: Somebody, *expected: str) -> None:
    async def does() -> bool:
        return sorted(await names(who)) == sorted(expected)

    await wait_until(does, SECONDS)


def write(path: Path, tools: dict[str, Any]) -> None:
    path.write_text(json.dumps(tools))


ERAS: Final = pytest.mark.parametrize("era", ["handshake", "modern", "both"])
VERSIONS: Final = pytest.mark.parametrize("version", [HANDSHAKE, MODERN])
VIEWS: Final = pytest.mark.parametrize("view", [None, "up"])


@ERAS
@VERSIONS
@VIEWS
async def test_an_agent_sees_and_can_call_what_it_would_direct(
    tmp_path: Path, tools: Path, era: str, version: str, view: str | None
) -> None:
    async with gateway_of(tmp_path, {"up": entry(era, tools)}) as gateway:
        able, asked = somebody(gateway, version, view, **ALL), somebody(gateway, version, view, elicitation={})
        plain = somebody(gateway, version, view)
        await until_it_sees(able, *EVERYTHING)
        await until_it_sees(asked, "echo", "ask")
        assert await names(plain) == ["echo"]
        assert sorted(await names(able)) == sorted(EVERYTHING), "and still does"
        prefix = "" if view else "up__"
        for name in EVERYTHING:
            assert text_of(await able.call(prefix + name)).startswith(name)
        with pytest.raises(UnknownTool):
            await asked.call(f"{prefix}think")
        with pytest.raises(UnknownTool):
            await plain.call(f"{prefix}ask")
        assert text_of(await plain.call(f"{prefix}echo"))


async def test_who_is_told_that_lists_have_changed(tmp_path: Path, tools: Path) -> None:
    async with gateway_of(tmp_path, {"up": entry("handshake", tools)}) as gateway:
        able, plain = somebody(gateway, HANDSHAKE, **ALL), somebody(gateway, HANDSHAKE)
        assert await names(able) == ["echo"]
        await wait_until(lambda: ("notifications/tools/list_changed", None) in able.heard, SECONDS)
        assert sorted(await names(able)) == sorted(EVERYTHING)
        assert plain.heard == []


@ERAS
async def test_servers_that_offer_all_the_same_are_asked_once(tmp_path: Path, tools: Path, era: str) -> None:
    write(tools, {"any": [tool("echo")]})
    async with gateway_of(tmp_path, {"up": entry(era, tools)}) as gateway:
        up = gateway.upstreams["up"]
        for version in (HANDSHAKE, MODERN):
            assert await names(somebody(gateway, version, **ALL)) == ["echo"]
        await wait_until(lambda: up.known is not None and bool(up.known.variants), SECONDS)
        assert up.known is not None
        assert not any(up.known.variants.values())
        assert gateway.library.labels == {}


async def test_they_are_known_at_the_next_start(tmp_path: Path, tools: Path) -> None:
    servers = {"up": entry("handshake", tools)}
    async with gateway_of(tmp_path, servers) as gateway:
        await until_it_sees(somebody(gateway, HANDSHAKE, **ALL), *EVERYTHING)
    async with gateway_of(tmp_path, {"up": servers["up"] | {"lazy": True}}) as gateway:
        assert sorted(await names(somebody(gateway, HANDSHAKE, **ALL))) == sorted(EVERYTHING)
        assert await names(somebody(gateway, HANDSHAKE)) == ["echo"]


# --- Pins -----------------------------------------------------------------------------------------------------------


@ERAS
@VERSIONS
async def test_what_only_some_get_is_pinned_too(tmp_path: Path, tools: Path, era: str, version: str) -> None:
    servers = {"up": entry(era, tools, pin="block")}
    async with gateway_of(tmp_path, servers) as gateway:
        able = somebody(gateway, version, **ALL)
        await until_it_sees(able, *EVERYTHING)
        assert text_of(await able.call("up__ask"))
    changed = {**TOOLS, "elicitation": [tool("ask", description="Evil.")], "roots": [tool("look"), tool("new")]}
    write(tools, changed)
    async with gateway_of(tmp_path, servers) as gateway:
        able, plain = somebody(gateway, version, **ALL), somebody(gateway, version)
        assert text_of(await able.call("up__think"))  # so that its own connection is open

        async def refused(name: str) -> bool:
            try:
                await able.call(name)
            except DefinitionChanged:
                return True
            except GatewayError:
                return False
            return False

        await names(able)
        await wait_until(lambda: refused("up__ask"), SECONDS)
        await wait_until(lambda: refused("up__new"), SECONDS)
        assert sorted(await names(able)) == sorted(EVERYTHING)
        shown = (await able.send("tools/list"))["tools"]
        assert not any("description" in each for each in shown), "as it was pinned"
        assert text_of(await able.call("up__echo"))
        assert text_of(await plain.call("up__echo"))


async def test_what_is_blocked_for_all_is_not_let_in_by_a_variant(tmp_path: Path, tools: Path) -> None:
    """First seen are the lists of those who can do more when what all get has changed already."""
    servers = {"up": entry("handshake", tools, pin="block")}
    async with gateway_of(tmp_path, servers) as gateway:
        assert await names(somebody(gateway, HANDSHAKE)) == ["echo"]
    write(tools, {**TOOLS, "any": [tool("echo", description="Evil."), tool("added")]})
    async with gateway_of(tmp_path, servers) as gateway:
        able = somebody(gateway, HANDSHAKE, **ALL)
        await until_it_sees(able, *EVERYTHING)
        for name in ("up__echo", "up__added"):
            with pytest.raises(DefinitionChanged):
                await able.call(name)


async def test_one_tool_of_two_definitions_is_a_change(tmp_path: Path, tools: Path) -> None:
    """Pinned for all, and another for those who declare something: that may be what they are to be deceived with."""
    servers = {"up": entry("handshake", tools, pin="block")}
    async with gateway_of(tmp_path, servers) as gateway:
        assert await names(somebody(gateway, HANDSHAKE)) == ["echo"]
    write(tools, {"roots": [tool("echo", description="Evil."), tool("look")], "any": [tool("echo")]})
    async with gateway_of(tmp_path, servers) as gateway:
        able, plain = somebody(gateway, HANDSHAKE, roots={}), somebody(gateway, HANDSHAKE)
        await until_it_sees(able, "echo", "look")
        assert not any("description" in each for each in (await able.send("tools/list"))["tools"])
        with pytest.raises(DefinitionChanged):
            await able.call("up__echo")
        assert text_of(await plain.call("up__echo"))
