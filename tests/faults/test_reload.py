"""The configuration changes while it is in use: what has not changed goes on, and no call fails."""

import json
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from tests.faults.gated import SECONDS, gate, hearing, house, load, started
from tests.interaction._gateway import PATIENT, child, config_file, stdio_command
from tests.interaction._wire import Wire, piped, shake_hands
from tests.support import alive, command, free_port, wait_until

pytestmark = pytest.mark.anyio

RELOADS: Final = 100
NO_TOOLS: Final = json.dumps(
    {"format": "mcp-gateway pins", "version": 1, "upstreams": {"up": {"tools": {}, "instructions": None}}}
)
"""A file of pins."""
NO_ASKING: Final = [{"who": ["*"], "deny": ["*__ask"]}]


def _write(path: Path, text: str) -> None:
    path.write_text(text)


async def test_a_hundred_reloads_under_load_and_no_call_fails(tmp_path: Path) -> None:
    """Each changes one of two upstreams, and another setting; the third is left alone."""

    def servers(number: int) -> dict[str, Any]:
        odd, even = (number + 1) // 2, number // 2
        return {
            "odd": gate(label=f"{odd}"),
            "even": gate("--era", "handshake", label=f"{even}"),
            "same": gate(label="same"),
        }

    async with house(tmp_path, servers(0), log_level="warning") as it:

        def change(number: int) -> None:
            it.write(servers(number), page_size=100 + number, log_level="warning")
            it.signal(signal.SIGHUP)

        agents = [await it.agent(modern) for modern in (True, False) for _ in range(2)]
        pid = (await agents[0].call("same__who"))["pid"]
        async with load(agents, ["odd__who", "even__who", "same__who"]) as calls:
            for number in range(1, RELOADS + 1):
                await it.loaded_anew(partial(change, number))
            await it.serves(agents[0], "odd__who", f"{RELOADS // 2}")
            await it.serves(agents[2], "even__who", f"{RELOADS // 2}")
        assert calls.failures == []
        assert calls.answered > RELOADS
        assert (await agents[0].call("same__who"))["pid"] == pid
        # Guardian, and one process for each upstream: all others have been let go.
        await wait_until(lambda: len(it.children()) == 4, SECONDS)


async def test_what_has_not_changed_keeps_its_process_and_its_call(tmp_path: Path) -> None:
    changing = gate(label="before")
    async with house(tmp_path, {"same": gate(), "other": changing}) as it:
        agent = await it.agent()
        before, held = await agent.call("same__who"), dict[str, Any]()

        async def hold() -> None:
            held.update(await agent.call("same__hold", gate=str(it.gate)))

        async with anyio.create_task_group() as tg:
            tg.start_soon(hold)
            await wait_until(lambda: it.began() == 1, SECONDS)
            it.write({"same": gate(), "other": gate(label="after"), "third": gate(label="new")})
            await it.serves(agent, "other__who", "after")
            await it.serves(agent, "third__who", "new")
            assert held == {}
            it.open_gate()
        assert held == before == await agent.call("same__who")


async def test_a_changed_upstream_answers_what_it_was_asked_while_its_successor_takes_over(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(label="old")}) as it:
        agent, starts, held = await it.agent(), tmp_path / "starts", dict[str, Any]()
        old = await agent.call("up__who")

        async def hold() -> None:
            held.update(await agent.call("up__hold", gate=str(it.gate)))

        async with anyio.create_task_group() as tg:
            tg.start_soon(hold)
            await wait_until(lambda: it.began() == 1, SECONDS)
            successor = gate("--slow-start", str(starts), label="new")
            await it.loaded_anew(lambda: it.write({"up": successor}))
            # It is on its way; whoever calls meanwhile has the old one.
            await wait_until(lambda: len(it.children()) == 3, SECONDS)
            assert (await agent.call("up__who"))["label"] == "old"
            starts.touch()
            await it.serves(agent, "up__who", "new")
            assert held == {}
            assert alive(old["pid"])
            it.open_gate()
        assert held == old
        await wait_until(lambda: not alive(old["pid"]), SECONDS)


async def test_a_successor_that_does_not_start_leaves_the_old_one_at_work(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(label="old")}) as it:
        agent = await it.agent()
        absent = {**gate(label="new", tools={"deny": ["ask"]}), "command": "no-such-program-a83f"}
        await it.loaded_anew(lambda: it.write({"up": absent}))

        async def is_said() -> bool:
            return "no-such-program-a83f" in ((await it.upstream("up"))["successor"] or "")

        await wait_until(is_said, SECONDS)
        assert (await agent.call("up__who"))["label"] == "old"
        assert "up__ask" not in await agent.tools(), "what is forbidden is so at once"
        it.write({"up": gate(label="newer")})
        await it.serves(agent, "up__who", "newer")
        assert (await it.upstream("up"))["successor"] is None


async def test_a_change_that_is_taken_back_leaves_everything_as_it_was(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(label="old")}) as it:
        agent, starts = await it.agent(), tmp_path / "starts"
        before = await agent.call("up__who")
        await it.loaded_anew(lambda: it.write({"up": gate("--slow-start", str(starts), label="new")}))
        await it.loaded_anew(lambda: it.write({"up": gate(label="old", timeout="31s")}))
        assert (await it.upstream("up"))["successor"] is None
        assert await agent.call("up__who") == before
        await wait_until(lambda: len(it.children()) == 2, SECONDS)  # with the guardian: the other one has gone
        assert await agent.call("up__who") == before


async def test_one_whose_predecessor_is_dead_serves_at_once(tmp_path: Path) -> None:
    dead = {**gate(), "command": "no-such-program-a83f"}
    async with house(tmp_path, {"same": gate(), "up": dead}) as it:
        agent = await it.agent()
        starts = tmp_path / "starts"
        it.write({"same": gate(), "up": gate("--slow-start", str(starts), label="lives")})

        async def serves() -> bool:
            up = await it.upstream("up")
            return (up["state"], up["successor"]) == ("starting", None)

        await wait_until(serves, SECONDS)
        starts.touch()

        async def lives() -> bool:
            return "up__who" in await agent.tools()

        await wait_until(lives, SECONDS)
        assert (await agent.call("up__who"))["label"] == "lives"


async def test_a_removed_upstream_vanishes_at_once_and_still_answers_what_it_was_asked(tmp_path: Path) -> None:
    async with house(tmp_path, {"same": gate(), "gone": gate(label="gone")}) as it:
        agent, held = await it.agent(), dict[str, Any]()
        alone = await it.agent(modern=False, view="gone")
        pid = (await agent.call("gone__who"))["pid"]

        async def hold() -> None:
            held.update(await alone.call("hold", gate=str(it.gate)))

        async with anyio.create_task_group() as tg:
            tg.start_soon(hold)
            await wait_until(lambda: it.began() == 1, SECONDS)
            await it.loaded_anew(lambda: it.write({"same": gate()}))
            assert not [tool for tool in await agent.tools() if tool.startswith("gone__")]
            answer = await agent.ask("tools/call", {"name": "gone__who"})
            assert "Unknown tool: gone__who" in answer["error"]["message"]
            assert [each["name"] for each in (await it.get("/upstreams"))["upstreams"]] == ["same"]
            assert alive(pid)
            it.open_gate()
        assert held["pid"] == pid
        await wait_until(lambda: not alive(pid), SECONDS)
        assert "error" in await alone.ask("tools/list"), "its own address has gone too"


async def test_a_removed_upstream_is_not_waited_for_longer_than_drain_timeout(tmp_path: Path) -> None:
    async with house(tmp_path, {"same": gate(), "gone": gate()}, drain_timeout="200ms") as it:
        agent, answer = await it.agent(), dict[str, Any]()

        async def hold() -> None:
            answer.update(await agent.ask("tools/call", {"name": "gone__hold", "arguments": {"gate": str(it.gate)}}))

        async with anyio.create_task_group() as tg:
            tg.start_soon(hold)
            await wait_until(lambda: it.began() == 1, SECONDS)
            it.write({"same": gate()})
        assert "the gateway gave the connection up" in answer["error"]["message"]


async def test_a_bad_file_is_refused_with_its_reason_and_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(label="old")}) as it:
        agent = await it.agent()
        before = await agent.call("up__who")
        text = json.dumps({"servers": {"up": {**gate(label="new"), "timeout": "soon"}}}, indent=1)
        line = next(number for number, line in enumerate(text.splitlines(), 1) if "timeout" in line)
        it.write_text(text)

        async def refused() -> bool:
            return (await it.configuration())["refused"] is not None

        await wait_until(refused, SECONDS)
        reason = (await it.configuration())["refused"]
        assert reason.startswith(f"{tmp_path}/servers.json:{line}: server 'up': timeout: must be a duration")
        assert (await it.get("/readyz"))["configuration"] == "refused"
        assert await agent.call("up__who") == before
        it.write({"up": gate(label="good")})
        await it.serves(agent, "up__who", "good")
        assert (await it.configuration())["refused"] is None
        metrics = (await it.client.get(f"{it.gateway.base}/metrics")).text
        assert 'mcp_gateway_config_reloads_total{outcome="refused"} 1.0' in metrics
        assert 'mcp_gateway_config_reloads_total{outcome="applied"} 1.0' in metrics


async def test_to_block_by_pins_that_cannot_be_read_is_refused_until_they_can(tmp_path: Path) -> None:
    pins = tmp_path / "state" / "pins.json"
    pins.parent.mkdir()
    pins.write_text("{")
    async with house(tmp_path, {"up": gate()}) as it:
        agent = await it.agent()
        pid = (await agent.call("up__who"))["pid"]
        it.write({"up": gate(pin="block", description="Pinned"), "more": gate()})

        async def refused() -> bool:
            return f"{pins}: the pinned definitions cannot be read" in ((await it.configuration())["refused"] or "")

        await wait_until(refused, SECONDS)
        assert await agent.tools() == ["up__ask", "up__hold", "up__who"]
        assert (await it.upstream("up"))["description"] != "Pinned", "none of it is applied"
        await it.loaded_anew(partial(_write, pins, NO_TOOLS))
        assert [tool for tool in await agent.tools() if tool.startswith("up__")] == []
        answer = await agent.ask("tools/call", {"name": "up__who"})
        assert "nobody has approved" in answer["error"]["message"], answer
        await it.loaded_anew(lambda: it.write({"up": gate()}))
        assert (await agent.call("up__who"))["pid"] == pid


async def test_rules_and_limits_change_without_a_new_connection(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate()}) as it:
        agent = await it.agent()
        pid = (await agent.call("up__who"))["pid"]
        tools = {"allow": ["who", "ask"], "rename": {"who": "whoami"}}
        limits = {"tools": {"who": 1}}
        policy = [{"who": ["*"], "deny": ["*__ask"]}]
        changed = gate(tools=tools, rate_limit=limits, description="Other", max_concurrency=1)
        await it.loaded_anew(lambda: it.write({"up": changed}, policy=policy))
        assert await agent.tools() == ["up__whoami"]
        assert (await agent.call("up__whoami"))["pid"] == pid
        refused = await agent.ask("tools/call", {"name": "up__whoami"})
        assert "of 1 a minute for this tool" in refused["error"]["message"]
        assert (await it.upstream("up"))["description"] == "Other"


async def test_what_needs_a_restart_stays_and_is_named(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(label="old")}) as it:
        agent = await it.agent()
        it.write({"up": gate(label="new")}, keepalive="1s", auth={"enabled": True})
        await it.serves(agent, "up__who", "new")
        assert (await it.configuration())["needs_restart"] == ["auth.enabled", "keepalive"]
        assert (await it.get("/config/info"))["configuration"]["gateway"]["keepalive"] == 15


@pytest.mark.parametrize("how", ["second file", "env file", "missing", "links"])
async def test_every_file_it_is_made_of_is_followed(tmp_path: Path, how: str) -> None:
    """A second file, variables, a file that was not there before, and links as Kubernetes has them."""
    second, env = tmp_path / "other" / "upstreams.json", tmp_path / "secrets" / "up.env"
    second.parent.mkdir()
    env.parent.mkdir()

    def more(label: str) -> str:
        return json.dumps({"servers": {"more": gate(label=label)}})

    second.write_text(more("first"))
    env.write_text("LABEL=first\n")
    up = child("tests.servers.gate", env_file=str(env))
    if how == "links":
        second.unlink()
        for version in ("first", "second"):
            (second.parent / version).mkdir()
            (second.parent / version / second.name).write_text(more(version))
        (second.parent / "..data").symlink_to("first")
        second.symlink_to(Path("..data", second.name))
    async with house(tmp_path, {"up": up}, upstream_config_file=str(second)) as it:
        agent = await it.agent()
        assert (await agent.call("up__who"))["label"] == "first"
        if how == "second file":
            second.write_text(more("second"))
        elif how == "env file":
            env.write_text("LABEL=second\n")
        elif how == "missing":
            late = tmp_path / "late" / "up.env"
            late.parent.mkdir()
            it.write({"up": child("tests.servers.gate", env_file=str(late))})

            async def refused() -> bool:
                return "late/up.env: there is no such file" in ((await it.configuration())["refused"] or "")

            await wait_until(refused, SECONDS)
            late.write_text("LABEL=second\n")
        else:
            (second.parent / "..data.new").symlink_to("second")
            os.replace(second.parent / "..data.new", second.parent / "..data")
        await it.serves(agent, "up__who" if how in ("env file", "missing") else "more__who", "second")


async def test_a_list_that_changes_is_announced_once(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(label="old")}) as it:
        agent = await it.agent(modern=False)
        async with hearing(agent) as heard:
            it.write({"up": gate("--tool", "extra", label="new")})
            await it.serves(agent, "up__who", "new")
            assert await agent.tools() == ["up__ask", "up__extra", "up__hold", "up__who"]
            it.write({"up": gate("--tool", "extra", label="newer")})
            await it.serves(agent, "up__who", "newer")
            await it.loaded_anew(lambda: it.write({}))
            assert await agent.tools() == []
            await wait_until(lambda: len(heard) >= 2, SECONDS)
            assert heard == ["notifications/tools/list_changed"] * 2


async def test_a_rule_that_hides_something_is_announced_to_whom_it_hides_it_from(tmp_path: Path) -> None:
    async with house(tmp_path, {"up": gate(), "other": gate()}) as it:
        everything, alone = await it.agent(modern=False), await it.agent(modern=False, view="other")
        async with hearing(everything) as heard, hearing(alone) as heard_alone:
            await it.loaded_anew(partial(it.write, {"up": gate(), "other": gate()}, policy=NO_ASKING))
            assert await everything.tools() == ["other__hold", "other__who", "up__hold", "up__who"]
            await wait_until(lambda: heard == ["notifications/tools/list_changed"], SECONDS)
            assert await alone.tools() == ["who", "hold"]
            await wait_until(lambda: heard_alone == ["notifications/tools/list_changed"], SECONDS)
            # Nothing of that changes what this one sees.
            others_only = [{"who": ["*"], "deny": ["*__ask", "up__*"]}]
            await it.loaded_anew(partial(it.write, {"up": gate(), "other": gate()}, policy=others_only))
            await wait_until(lambda: heard == ["notifications/tools/list_changed"] * 2, SECONDS)
            assert heard_alone == ["notifications/tools/list_changed"]


async def test_the_stdio_front_reloads_as_well(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"up": gate(label="old")}, startup_wait=30)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        wire = Wire(pipe, modern=False)
        assert wire.call("up__who").result["structuredContent"]["label"] == "old"
        config_file(tmp_path, {"up": gate(label="new")}, startup_wait=30)
        os.kill(pipe.process.pid, signal.SIGHUP)
        await wait_until(lambda: wire.call("up__who").result["structuredContent"]["label"] == "new", SECONDS)


async def test_new_secrets_are_kept_out_of_the_log_and_old_ones_still_are(tmp_path: Path) -> None:
    """Every value of `env` counts as one. The upstream says its own to the log."""
    port, log = free_port(), tmp_path / "log"
    config = config_file(tmp_path, {"up": gate(label="canary-1"), "held": gate()}, port=port, **PATIENT)
    with log.open("wb") as file:
        process = started(command("gateway", "serve", "-c", str(config), "--log-format", "json"), file.fileno())

    def said() -> list[str]:
        """What upstreams said, as the log has it."""
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return [line["line"] for line in lines if line["event"] == "stderr" and line["upstream"] == "up"]

    try:
        await wait_until(lambda: said() == ["***"], SECONDS)
        config_file(tmp_path, {"up": gate(label="canary-2"), "held": gate()}, port=port, **PATIENT)
        await wait_until(lambda: said() == ["***", "***"], SECONDS)
        assert "canary" not in log.read_text()
    finally:
        process.terminate()
        process.wait()
