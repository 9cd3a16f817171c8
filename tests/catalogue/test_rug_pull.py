"""Pinned upstreams behind a gateway that runs: what changes while it does, what had changed when it started."""

import json
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._gateway import PATIENT, child, config_file, http_gateway
from tests.interaction._http import HttpChannel, messages, open_session, posted
from tests.interaction._wire import Answer, Wire, request
from tests.support import command, http_server, run_program, wait_until

pytestmark = pytest.mark.anyio

EVERYTHING: Final = "tests.servers.everything"
BLOCKED: Final = -32008
AS_PINNED: Final = "As it was pinned."
TEMPLATE: Final = "test://template/{id}/data"


def agent(base: str, view: str = "", *, modern: bool = True) -> Wire:
    url = f"{base}/mcp{view}"
    return Wire(HttpChannel(url, {} if modern else open_session(url)), modern)


def described(wire: Wire) -> dict[str, str]:
    return {tool["name"]: tool["description"] for tool in wire.ask("tools/list").result["tools"]}


def is_blocked(answer: Answer, **data: str) -> bool:
    error = answer.message.get("error", {})
    return error.get("code") == BLOCKED and error["data"] | data == error["data"]


def write(path: Path, *items: dict[str, Any]) -> None:
    path.write_text(json.dumps(items))


def verb(name: str, config: Path) -> "subprocess.CompletedProcess[str]":
    words = command("gateway", name, "-c", str(config))
    return run_program(words)


# --- While it runs ------------------------------------------------------------------------------------------------


async def test_what_changes_or_is_new_is_refused_from_then_on(tmp_path: Path) -> None:
    with http_server(EVERYTHING) as url:
        servers = {pin: {"url": url, "pin": pin} for pin in ("block", "warn")}
        with http_gateway(tmp_path, servers, **PATIENT) as gateway:
            wire = agent(gateway.base)
            before = wire.ask("tools/list").result
            echo = next(tool for tool in before["tools"] if tool["name"] == "block__echo")
            assert wire.call("block__echo", a=1).result["structuredContent"] == {"a": 1}

            # The upstream is one and the same behind both, and says by itself that its tools have changed.
            assert wire.call("warn__add_tool", name="echo", description="Evil.").result
            await wait_until(lambda: described(wire)["warn__echo"] == "Evil.", 30)
            await wait_until(lambda: is_blocked(wire.call("block__echo", a=1), name="echo", change="changed"), 30)
            assert wire.call("warn__echo", a=1).result["structuredContent"] == {"a": 1}
            assert echo in wire.ask("tools/list").result["tools"], "its schema is the pinned one as well"

            assert wire.call("warn__add_tool", name="added").result
            await wait_until(lambda: is_blocked(wire.call("block__added"), name="added", change="new"), 30)
            await wait_until(lambda: "warn__added" in described(wire), 30)
            assert "block__added" not in described(wire)
            assert is_blocked(agent(gateway.base, "/block", modern=False).call("added"), upstream="block")

            assert wire.call("warn__remove_tool", name="added").result
            await wait_until(lambda: wire.call("block__added").error["code"] == -32602, 30)
            assert wire.call("block__cancelled_calls").result, "what did not change was usable throughout"


# --- When it starts -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A gateway whose upstream `block` was pinned when it was different, and has no pin of the tool `echo`; of `free`,
    nothing was pinned."""
    folder = tmp_path_factory.mktemp("pinned")
    servers = {"block": child(EVERYTHING, pin="block")}
    done = verb("tools", config_file(folder, servers))
    assert done.returncode == 0, done.stderr
    first = folder / "state" / "pins.json"
    document = json.loads(first.read_text())
    pins = document["upstreams"]["block"]
    pins["instructions"] = AS_PINNED
    for kind, name in [
        ("prompts", "test_simple_prompt"),
        ("templates", TEMPLATE),
        ("resources", "test://static-text"),
    ]:
        pins[kind][name]["description"] = AS_PINNED
    del pins["tools"]["echo"], pins["prompts"]["test_prompt_with_image"]
    first.write_text(json.dumps(document))
    with http_gateway(folder, {**servers, "free": child(EVERYTHING, pin="block")}, **PATIENT) as gateway:
        yield gateway.base


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
def test_agents_are_shown_what_was_pinned(base: str, modern: bool) -> None:
    wire = agent(base, "/block", modern=modern)
    shown = {
        method: {item[key]: item.get("description") for item in wire.ask(method).result[field]}
        for method, field, key in [
            ("prompts/list", "prompts", "name"),
            ("resources/list", "resources", "uri"),
            ("resources/templates/list", "resourceTemplates", "uriTemplate"),
            ("tools/list", "tools", "name"),
        ]
    }
    assert shown["prompts/list"]["test_simple_prompt"] == AS_PINNED
    assert shown["resources/list"]["test://static-text"] == AS_PINNED
    assert shown["resources/templates/list"][TEMPLATE] == AS_PINNED
    assert "test_prompt_with_image" not in shown["prompts/list"]
    assert "echo" not in shown["tools/list"]
    assert shown["resources/list"]["test://static-binary"] is None, "the rest is as it is"


def test_instructions_are_the_pinned_ones(base: str) -> None:
    assert agent(base, "/block").ask("server/discover").result["instructions"] == AS_PINNED
    assert agent(base).ask("tools/list").result, "then all of them are up"
    merged = agent(base).ask("server/discover").result["instructions"]
    assert AS_PINNED in merged
    assert merged.count("A server for tests.") == 1, "of the other"


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
@pytest.mark.parametrize(
    ("method", "params", "data"),
    [
        ("tools/call", {"name": "echo", "arguments": {}}, {"kind": "tools", "change": "new"}),
        ("prompts/get", {"name": "test_simple_prompt"}, {"kind": "prompts", "change": "changed"}),
        ("prompts/get", {"name": "test_prompt_with_image"}, {"kind": "prompts", "change": "new"}),
        ("resources/read", {"uri": "test://static-text"}, {"kind": "resources", "change": "changed"}),
        ("resources/read", {"uri": "test://template/7/data"}, {"kind": "templates", "name": TEMPLATE}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "test_simple_prompt"}, "argument": {"name": "a", "value": ""}},
            {"kind": "prompts", "name": "test_simple_prompt"},
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": TEMPLATE}, "argument": {"name": "id", "value": ""}},
            {"kind": "templates", "name": TEMPLATE},
        ),
    ],
)
def test_what_is_blocked_answers_with_an_error_of_its_own(
    base: str, modern: bool, method: str, params: dict[str, Any], data: dict[str, str]
) -> None:
    answer = agent(base, "/block", modern=modern).ask(method, params)
    assert is_blocked(answer, upstream="block", **data), answer.message
    assert "mcp-gateway pins approve" in answer.error["message"]


@pytest.mark.parametrize("uri", ["test://static-text", "test://template/7/data"])
def test_what_is_blocked_cannot_be_subscribed_to(base: str, uri: str) -> None:
    answer = agent(base, "/block", modern=False).ask("resources/subscribe", {"uri": uri})
    assert is_blocked(answer, upstream="block"), answer.message
    url, wanted = f"{base}/mcp/block", {"resourceSubscriptions": [uri, "test://static-binary"]}
    with posted(url, request("subscriptions/listen", {"notifications": wanted}, modern=True)) as stream:
        acknowledged = next(messages(stream))["params"]["notifications"]
    assert acknowledged == {"resourceSubscriptions": ["test://static-binary"]}


async def test_who_may_not_see_a_blocked_template_cannot_read_by_it(tmp_path: Path) -> None:
    """At an upstream's own address, any URI that nobody lists is asked of it."""
    (tmp_path / "keys.json").write_text(json.dumps([{"key": f"key-{who}", "owner": who} for who in ("all", "some")]))
    settings: dict[str, Any] = {
        "auth": {"enabled": True, "api_keys_file": str(tmp_path / "keys.json")},
        "policy": [{"who": ["some"], "allow": ["x:*", "y:*", "z:*", "up__t"], "deny": ["[xy]:{[+]rest}"]}],
    }
    pinned, tool = {"uriTemplate": "x:{+rest}", "name": "t"}, {"name": "t", "inputSchema": {"type": "object"}}
    write(tmp_path / "offers", pinned, tool)
    servers = {"up": child("tests.servers.turncoat", str(tmp_path / "offers"), pin="block")}
    assert verb("tools", config_file(tmp_path, servers)).returncode == 0
    write(tmp_path / "offers", pinned | {"description": "Evil."}, {"uriTemplate": "y:{+rest}", "name": "new"}, tool)
    with http_gateway(tmp_path, servers, **settings, **PATIENT) as gateway:
        every, some = (
            Wire(HttpChannel(f"{gateway.base}/mcp/up", {"X-Api-Key": f"key-{who}"}), True) for who in ("all", "some")
        )
        await wait_until(lambda: is_blocked(every.ask("resources/read", {"uri": "y:1"}), change="new"), 30)
        assert is_blocked(every.ask("resources/read", {"uri": "x:1"}), change="changed")
        for uri in ("x:1", "y:1"):
            assert some.ask("resources/read", {"uri": uri}).error["code"] == -32602, "to them there is no such thing"
        assert some.ask("resources/read", {"uri": "z:1"}).result["contents"]


def test_the_others_are_not_concerned(base: str) -> None:
    own = agent(base, "/free")
    assert own.call("echo", a=1).result["structuredContent"] == {"a": 1}
    assert own.ask("prompts/get", {"name": "test_simple_prompt"}).result["messages"]
    assert own.ask("resources/read", {"uri": "test://static-text"}).result["contents"]
    # Where both have the URI and one is blocked, the other answers for it.
    assert agent(base).ask("resources/read", {"uri": "free+test://template/7/data"}).result["contents"]
    assert agent(base, "/block").ask("resources/read", {"uri": "test://static-binary"}).result["contents"]


async def test_what_a_blocked_template_owns_goes_to_nobody_else(tmp_path: Path) -> None:
    """Another upstream could serve the URI, and does by its own form of it. The bare one is not its to answer."""
    offers = {
        "greedy": {"uriTemplate": "x:all/{a}/b", "name": "t"},
        "modest": {"uriTemplate": "x:{+rest}", "name": "t"},
    }
    for name, template in offers.items():
        write(tmp_path / name, template)
    servers = {name: child("tests.servers.turncoat", str(tmp_path / name), pin="block") for name in offers}
    assert verb("tools", config_file(tmp_path, servers)).returncode == 0
    write(tmp_path / "greedy", {**offers["greedy"], "description": "Evil."})
    with http_gateway(tmp_path, servers, **PATIENT) as gateway:
        wire = agent(gateway.base)
        own = agent(gateway.base, "/greedy")
        await wait_until(lambda: is_blocked(own.ask("resources/read", {"uri": "x:all/1/b"})), 30)
        assert is_blocked(wire.ask("resources/read", {"uri": "x:all/1/b"}))
        (content,) = wire.ask("resources/read", {"uri": "modest+x:all/1/b"}).result["contents"]
        assert content["text"] == f"read at {tmp_path / 'modest'}"


# --- When the pins are lost ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["serve", "stdio", "tools"])
def test_without_readable_pins_nothing_that_blocks_starts(tmp_path: Path, name: str) -> None:
    (tmp_path / "state").mkdir()
    pins = tmp_path / "state" / "pins.json"
    pins.write_text('{"format": "mcp-gateway pins", ')
    config = config_file(tmp_path, {"raw": child("tests.servers.raw", pin="block")})
    done = verb(name, config)
    assert done.returncode == 3, done.stderr
    assert f"{pins}: the pinned definitions cannot be read: not what was saved" in done.stderr
    assert pins.read_text() == '{"format": "mcp-gateway pins", '
