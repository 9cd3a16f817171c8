"""When an upstream is slow, broken or gone: who asked is told what happened, and nobody else notices."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp_types import LoggingMessageNotificationParams

from tests.interaction._connect import agent_at
from tests.interaction._gateway import Gateway, child, http_gateway
from tests.interaction._http import HttpChannel
from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire
from tests.servers.items.reading import WATCHED
from tests.support import command, free_port, http_server, listens, run_process, wait_until

BAD: Final = "tests.servers.bad"
KINDS: Final = ("stdio-handshake", "stdio-modern", "http-handshake", "http-modern")
STRICT: Final[dict[str, Any]] = {"timeout": "500ms", "max_response_bytes": "256KiB"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[Gateway]:
    """In front of the bad server in every form, one that is never there, one that never gets ready, and a good one."""
    with ExitStack() as stack:
        servers: dict[str, Any] = {"good": child("tests.servers.raw")}
        for kind in KINDS:
            era = ("--era", kind.partition("-")[2])
            if kind.startswith("stdio"):
                servers[kind] = child(BAD, *era, **STRICT)
            else:
                servers[kind] = {"url": stack.enter_context(http_server(BAD, *era)), **STRICT}
        servers["absent"] = {"url": f"http://127.0.0.1:{free_port()}/mcp"}
        servers["late"] = child(BAD, "--slow-start", "600")
        folder = tmp_path_factory.mktemp("outages")
        gateway = stack.enter_context(http_gateway(folder, servers, startup_wait="2s"))
        anyio.run(wait_until, lambda: {"good", *KINDS} <= listed(modern(gateway)), 60.0)
        yield gateway


def modern(gateway: Gateway) -> Wire:
    return Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True)


def listed(wire: Wire) -> set[str]:
    """The servers whose tools are listed. The first listing waits a little, and no longer, for who is not there."""
    return {tool["name"].partition("__")[0] for tool in wire.ask("tools/list").result["tools"]}


@pytest.fixture
def wire(gateway: Gateway) -> Wire:
    return modern(gateway)


def assert_good(wire: Wire) -> None:
    assert wire.call("good__echo", a=1).result["structuredContent"] == {"a": 1}


@requirement("outage:others")
def test_what_is_not_there_delays_nobody_for_long(wire: Wire) -> None:
    assert listed(wire) == {"good", *KINDS}
    assert_good(wire)


@requirement("outage:timeout", "outage:others")
@pytest.mark.parametrize("kind", KINDS)
def test_a_call_that_is_not_answered_ends_at_its_deadline(wire: Wire, kind: str) -> None:
    error = wire.call(f"{kind}__silent").error
    assert error["code"] == -32011
    assert kind in error["message"]
    assert "`timeout`" in error["message"], "what to change"
    assert error["data"] == {"upstream": kind, "timeout": 0.5}
    assert wire.call(f"{kind}__ok").result["content"][0]["text"] == "ok"


@requirement("outage:oversized", "outage:others")
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_over_the_cap_is_refused_alone(wire: Wire, kind: str) -> None:
    error = wire.call(f"{kind}__huge", megabytes=1).error
    assert error["code"] == -32015
    assert "`max_response_bytes`" in error["message"]
    assert error["data"]["upstream"] == kind
    assert wire.call(f"{kind}__ok").result["content"][0]["text"] == "ok"


@requirement("outage:garbage", "outage:others")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("misdeed", ["truncated", "invalid_utf8", "no_result", "nested"])
def test_an_answer_that_is_not_mcp_fails_its_call_alone(wire: Wire, kind: str, misdeed: str) -> None:
    error = wire.call(f"{kind}__{misdeed}", depth=2000).error
    assert error["code"] == -32013
    assert kind in error["message"]
    assert wire.call(f"{kind}__ok").result["content"][0]["text"] == "ok"


@requirement("outage:lost", "outage:others")
@pytest.mark.anyio
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("stdio")])
async def test_an_upstream_that_dies_is_named_and_comes_back(wire: Wire, kind: str) -> None:
    error = wire.call(f"{kind}__exit").error
    assert error["code"] == -32012
    assert error["data"] == {"upstream": kind, "delivered": "unknown"}
    assert_good(wire)
    listed = [tool["name"] for tool in wire.ask("tools/list").result["tools"]]
    assert f"{kind}__ok" in listed, "it has only just gone"
    await wait_until(lambda: "result" in wire.call(f"{kind}__ok").message, timeout=20)


@requirement("outage:down", "outage:grace")
@pytest.mark.anyio
async def test_a_lost_upstream_is_named_then_withdrawn_and_welcomed_back(tmp_path: Path) -> None:
    port = free_port()
    raw = command("tests.servers.raw", "--transport", "http", "--port", str(port))
    flaky = {"url": f"http://127.0.0.1:{port}/mcp", "grace": "2s"}
    with ExitStack() as stack:
        process = stack.enter_context(run_process(raw, ready=lambda: listens(port)))
        servers = {"flaky": flaky, "good": child("tests.servers.raw")}
        base = stack.enter_context(http_gateway(tmp_path, servers, startup_wait="30s")).base
        wire = Wire(HttpChannel(f"{base}/mcp"), modern=True)

        def lists_flaky() -> bool:
            return "flaky__echo" in [tool["name"] for tool in wire.ask("tools/list").result["tools"]]

        def call() -> dict[str, Any]:
            return wire.call("flaky__echo", a=1).message

        assert lists_flaky()
        async with agent_at(base, "http-modern").connected() as agent, agent.listening():
            process.kill()
            process.wait()
            await wait_until(lambda: call()["error"]["code"] == -32010)
            error = call()["error"]
            assert "flaky" in error["message"]
            assert error["data"]["upstream"] == "flaky"
            assert error["data"]["state"] in ("starting", "backing off")
            assert error["data"]["delivered"] is False
            assert lists_flaky(), "for as long as the grace period"
            assert_good(wire)
            await wait_until(lambda: not lists_flaky(), timeout=10)
            assert call()["error"]["code"] in (-32602, -32010), "unknown, or soon to be known again"
            assert_good(wire)
            await wait_until(lambda: agent.heard_of("tools/list_changed"))
            stack.enter_context(run_process(raw, ready=lambda: listens(port)))
            await wait_until(lists_flaky, timeout=20)
            assert call()["result"]["structuredContent"] == {"a": 1}
            await wait_until(lambda: len(agent.heard_of("tools/list_changed")) >= 2)


@requirement("outage:survives")
@pytest.mark.anyio
@pytest.mark.parametrize("era", ["handshake", "modern"])
@pytest.mark.parametrize("front", ["http-handshake", "http-modern"])
async def test_what_an_agent_asked_for_outlives_its_upstream(tmp_path: Path, era: str, front: str) -> None:
    """Its catalogue, its subscriptions and its log level; and what changed meanwhile, it is told to fetch again."""
    port = free_port()
    args = command("tests.servers.everything", "--transport", "http", "--port", str(port), "--era", era)
    with ExitStack() as stack:
        process = stack.enter_context(run_process(args, ready=lambda: listens(port)))
        servers = {"up": {"url": f"http://127.0.0.1:{port}/mcp"}}
        base = stack.enter_context(http_gateway(tmp_path, servers, startup_wait="30s")).base
        logs: list[Any] = []

        async def log(params: LoggingMessageNotificationParams) -> None:
            logs.append(params.data)

        agent = agent_at(base, front, logging_callback=log)
        async with agent.connected(), agent.listening(WATCHED):
            if front == "http-handshake":
                await agent.client.set_logging_level("warning")  # pyright: ignore[reportDeprecated] - the era's own way
            process.kill()
            process.wait()
            stack.enter_context(run_process(args, ready=lambda: listens(port)))
            await wait_until(lambda: agent.heard_of("resources/updated"), timeout=20)

            async def hears_updates() -> bool:
                agent.heard.clear()
                await agent.client.call_tool("up__touch_resource", {"uri": WATCHED})
                await anyio.wait_all_tasks_blocked()
                return bool(agent.heard_of("resources/updated"))

            await wait_until(hears_updates, timeout=10)
            assert "up__echo" in [tool.name for tool in (await agent.client.list_tools()).tools]
            if front == "http-handshake":
                for level in ("info", "error"):
                    await agent.client.call_tool("up__log", {"level": level, "message": level})
                await wait_until(lambda: logs == ["error"])
