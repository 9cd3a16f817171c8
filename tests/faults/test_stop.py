"""The gateway is asked to stop while it is in use: what was asked before is answered, and nothing is left behind."""

import json
import os
import pty
import signal
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import pytest

from tests.faults.gated import SECONDS, Agent, House, gate, house, last_message, load, started
from tests.interaction._gateway import PATIENT, config_file, stdio_command
from tests.interaction._http import BOTH, fields
from tests.interaction._wire import Wire, piped, request, shake_hands, until_answer
from tests.servers.peers import ENVELOPE, OPENING
from tests.support import alive, command, free_port, listens, run_program, wait_until

pytestmark = pytest.mark.anyio

BOTH_ERAS: Final = pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
NEWS: Final = {"toolsListChanged": True}
CAN_ASK: Final[dict[str, Any]] = {"elicitation": {"form": {}}}


@asynccontextmanager
async def held(it: House, agents: list[Agent]) -> AsyncGenerator[list[Any]]:
    """A call of each agent in flight; their answers once the block has ended, which takes the gate to open."""
    answers: list[Any] = []

    async def hold(agent: Agent) -> None:
        answers.append(await agent.ask("tools/call", {"name": "up__hold", "arguments": {"gate": str(it.gate)}}))

    async with anyio.create_task_group() as tg:
        for agent in agents:
            tg.start_soon(hold, agent)
        await wait_until(lambda: it.began() == len(agents), SECONDS)
        yield answers


async def has_ended(it: House) -> int:
    await wait_until(lambda: it.gateway.process.poll() is not None, SECONDS)
    return it.gateway.process.returncode


async def refuses(it: House) -> None:
    """Wait until nobody can connect any more."""
    port = int(it.gateway.base.rpartition(":")[2])

    def refused() -> bool:
        with socket.socket() as caller:
            return caller.connect_ex(("127.0.0.1", port)) != 0

    await wait_until(refused, SECONDS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_is_in_flight_is_answered_under_load_and_nothing_is_left(tmp_path: Path, number: int) -> None:
    async with house(tmp_path, {"up": gate(), "old": gate("--era", "handshake")}, log_level="warning") as it:
        agents = [await it.agent(modern) for modern in (True, False) for _ in range(10)]
        children = it.children()
        assert len(children) == 3
        async with load(agents, ["up__who", "old__who"]) as calls:
            async with held(it, agents) as answers:
                it.signal(number)
                await refuses(it)
                assert answers == []
                it.open_gate()
            assert all("result" in answer for answer in answers), answers
        # Later calls could not connect. None was taken and then dropped.
        assert {failure.partition(":")[0] for failure in calls.failures} <= {"ConnectError"}
        assert await has_ended(it) == 0
        await wait_until(lambda: not any(map(alive, children)), SECONDS)


@BOTH_ERAS
async def test_an_answer_that_is_a_stream_is_finished_as_well(tmp_path: Path, modern: bool) -> None:
    """With keep-alives so short, an answer that takes a moment has become an event stream before it is there."""
    async with house(tmp_path, {"up": gate()}, keepalive="50ms") as it:
        agent = await it.agent(modern)
        message = request("tools/call", {"name": "up__hold", "arguments": {"gate": str(it.gate)}}, modern=modern)
        headers = {**fields(message), **agent.session}
        async with it.client.stream("POST", agent.url, json=message, headers=headers) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            it.signal(signal.SIGTERM)
            await refuses(it)
            it.open_gate()
            lines = [line async for line in answer.aiter_lines()]
        (data,) = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert data["id"] == message["id"]
        assert "result" in data
        assert await has_ended(it) == 0


async def test_it_says_that_it_is_not_ready_before_it_stops_accepting(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate()}, drain_delay="1h") as it:
        agent = await it.agent()

        async def is_draining() -> bool:
            answer = await it.client.get(f"{it.gateway.base}/readyz")
            return (answer.status_code, answer.json()["status"]) == (503, "draining")

        it.signal(signal.SIGTERM)
        await wait_until(is_draining, SECONDS)
        async with httpx2.AsyncClient(timeout=SECONDS) as newcomer:
            later = Agent(newcomer, agent.url, modern=True)
            assert "pid" in await later.call("up__who"), "new connections and new calls are served meanwhile"


async def test_a_connection_that_is_kept_alive_hears_that_it_is_the_last_answer(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate()}) as it:
        agents = [await it.agent()]
        async with httpx2.AsyncClient(timeout=SECONDS) as other:
            assert (await other.get(f"{it.gateway.base}/readyz")).status_code == 200
            async with held(it, agents):
                it.signal(signal.SIGTERM)
                await refuses(it)
                answer = await other.get(f"{it.gateway.base}/readyz")
                assert (answer.status_code, answer.headers["connection"]) == (503, "close")
                with pytest.raises(httpx2.ConnectError):
                    await other.get(f"{it.gateway.base}/readyz")
                it.open_gate()
        assert await has_ended(it) == 0


async def test_streams_that_stand_end_in_the_way_of_their_era(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate()}) as it:
        session = await it.agent(modern=False)
        listen = request("subscriptions/listen", {"notifications": NEWS}, modern=True)
        url, client = session.url, it.client
        get = {**session.session, "Accept": "text/event-stream"}
        async with (
            client.stream("POST", url, json=listen, headers=fields(listen)) as modern,
            client.stream("GET", url, headers=get) as standing,
            client.stream("GET", f"{it.gateway.base}/sse", headers={"Accept": "text/event-stream"}) as legacy,
        ):
            it.signal(signal.SIGTERM)
            for stream in (standing, legacy):
                async for _ in stream.aiter_lines():
                    pass  # to its orderly end, or this raises
            lines = [line async for line in modern.aiter_lines() if line.startswith("data: {")]
        last = json.loads(lines[-1].removeprefix("data: "))
        assert (last["id"], last["result"]["resultType"]) == (listen["id"], "complete")
        assert await has_ended(it) == 0


@BOTH_ERAS
async def test_what_takes_longer_than_drain_timeout_is_told_so(tmp_path: Path, modern: bool) -> None:
    async with house(tmp_path, {"up": gate()}, drain_timeout="200ms") as it:
        agents = [await it.agent(modern)]
        async with held(it, agents) as answers:
            it.signal(signal.SIGTERM)
        assert "The gateway is stopping" in answers[0]["error"]["message"]
        await wait_until(it.gate.with_suffix(".cancelled").exists, SECONDS)  # the upstream is told too
        assert await has_ended(it) == 0


@BOTH_ERAS
async def test_a_request_that_was_still_arriving_is_answered_too(tmp_path: Path, modern: bool) -> None:
    """Nothing is in flight when the signal comes, and what arrives after it has no longer than `drain_timeout`."""
    async with house(tmp_path, {"up": gate()}, drain_timeout="2s") as it:
        agent = await it.agent(modern)
        hold = {"name": "up__hold", "arguments": {"gate": str(it.gate)}}
        message = request("tools/call", hold, modern=modern)
        body = json.dumps(message).encode()
        headers = {**fields(message), **agent.session, "Content-Length": str(len(body))}

        async def slowly() -> AsyncGenerator[bytes]:
            yield body[:10]
            it.signal(signal.SIGTERM)
            await refuses(it)
            yield body[10:]

        answer = await it.client.post(agent.url, content=slowly(), headers=headers)
        assert "The gateway is stopping" in last_message(answer)["error"]["message"]
        assert await has_ended(it) == 0


async def test_operators_see_what_was_cut_off(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    config = config_file(tmp_path, {"up": gate()}, port=port, drain_timeout="100ms", **PATIENT)
    with log.open("wb") as file:
        process = started(command("gateway", "serve", "-c", str(config), "--log-format", "json"), file.fileno())
    try:
        await wait_until(lambda: listens(port), SECONDS)
        async with httpx2.AsyncClient(timeout=SECONDS, headers=BOTH) as client, anyio.create_task_group() as tg:
            agent = await Agent(client, f"http://127.0.0.1:{port}/mcp", modern=True).open()
            hold = {"name": "up__hold", "arguments": {"gate": str(tmp_path / "gate")}}
            tg.start_soon(agent.ask, "tools/call", hold)
            await wait_until((tmp_path / "gate.began.1").exists, SECONDS)
            process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    (held,) = [line for line in lines if line["event"] == "request" and line["target"] == "up__hold"]
    assert (held["outcome"], held["code"]) == ("stopping", -32007)
    (cut,) = [line for line in lines if line["event"] == "requests cut off"]
    assert (cut["requests"], cut["setting"]) == (1, "drain_timeout")


async def test_news_that_is_asked_for_while_it_stops_has_an_end_at_once(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"up": gate()}, drain_timeout="1h", **PATIENT)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        first, second = (request("subscriptions/listen", {"notifications": NEWS}, modern=True) for _ in range(2))
        pipe.send(first)
        pipe.send(request("tools/call", {"name": "up__hold", "arguments": {"gate": str(tmp_path / "gate")}}))
        await wait_until((tmp_path / "gate.began.1").exists, SECONDS)
        pipe.process.send_signal(signal.SIGTERM)
        list(until_answer(pipe.receive, first["id"]))
        pipe.send(second)
        *_, ended = until_answer(pipe.receive, second["id"])
        assert "result" in ended
        (tmp_path / "gate").touch()
        assert pipe.process.wait(SECONDS) == 0


async def test_a_parked_call_is_called_off_upstream(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate("--era", "handshake")}, drain_timeout="1h") as it:
        agent = await it.agent()
        meta = {"_meta": {**ENVELOPE["_meta"], "io.modelcontextprotocol/clientCapabilities": CAN_ASK}}
        async with held(it, [agent]):
            parked = {"name": "up__ask", "arguments": {"gate": str(tmp_path / "parked")}, **meta}
            asked = await agent.ask("tools/call", parked)
            assert asked["result"]["resultType"] == "input_required"
            it.signal(signal.SIGTERM)
            await wait_until((tmp_path / "parked.cancelled").exists, SECONDS)  # not only when everything ends
            it.open_gate()
        assert await has_ended(it) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, number: int) -> None:
    async with house(tmp_path, {"up": gate()}, drain_timeout="1h") as it:
        agent, children = await it.agent(), it.children()

        async def hold() -> None:
            with pytest.raises(httpx2.RemoteProtocolError):
                await agent.call("up__hold", gate=str(it.gate))

        async with anyio.create_task_group() as tg:
            tg.start_soon(hold)
            await wait_until(lambda: it.began() == 1, SECONDS)
            it.signal(number)
            await refuses(it)
            assert it.gateway.process.poll() is None
            it.signal(number)
            assert await has_ended(it) == -number
        await wait_until(lambda: not any(map(alive, children)), SECONDS)


async def test_a_second_signal_ends_the_stdio_front_at_once(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"up": gate()}, drain_timeout="1h", **PATIENT)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        pid = Wire(pipe, modern=False).call("up__who").result["structuredContent"]["pid"]
        listen = request("subscriptions/listen", {"notifications": NEWS}, modern=True)
        pipe.send(listen)
        pipe.send(request("tools/call", {"name": "up__hold", "arguments": {"gate": str(tmp_path / "gate")}}))
        await wait_until(lambda: (tmp_path / "gate.began.1").exists(), SECONDS)
        pipe.process.send_signal(signal.SIGTERM)
        *_, ended = until_answer(pipe.receive, listen["id"])
        assert "result" in ended
        assert pipe.process.poll() is None
        pipe.process.send_signal(signal.SIGTERM)
        assert pipe.process.wait(SECONDS) == -signal.SIGTERM
        await wait_until(lambda: not alive(pid), SECONDS)


async def test_a_terminal_that_is_closed_ends_it_in_order(tmp_path: Path) -> None:
    """SIGHUP asks for a reload, but not from there: whoever closes the window wants the gateway gone."""
    port, (terminal, end) = free_port(), pty.openpty()
    config = config_file(tmp_path, {"up": gate()}, port=port, **PATIENT)
    args = command("gateway", "serve", "-c", str(config))
    process = started(args, end)
    os.close(end)
    try:
        await wait_until(lambda: listens(port), SECONDS)
        process.send_signal(signal.SIGHUP)
        await wait_until(lambda: b"asked to reload" in os.read(terminal, 65536), SECONDS)
        assert process.poll() is None
        os.close(terminal)
        process.send_signal(signal.SIGHUP)
        assert process.wait(SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_stopping_is_the_last_thing_said(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"up": gate(), "old": gate("--era", "handshake")}, log_format="json", **PATIENT)
    asked = [request("initialize", OPENING), request("tools/list")]
    done = run_program(
        stdio_command(config), input="".join(json.dumps(message) + "\n" for message in asked), timeout=SECONDS
    )
    assert done.returncode == 0
    events = [json.loads(line)["event"] for line in done.stderr.splitlines() if line.startswith("{")]
    assert "upstream ready" in events
    assert events[-1] in ("stopping", "request"), "what is in flight is answered, and nothing else is said"
