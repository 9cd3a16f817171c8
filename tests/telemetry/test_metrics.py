"""What `/metrics` says: every family that is documented, in forms that Prometheus reads, with the right numbers."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from gateway.catalogue.weights import tokens_of
from gateway.telemetry import families
from gateway.telemetry.metrics import CONTENT_TYPE, OPENMETRICS, wants_openmetrics
from tests.faults.gated import SECONDS, Agent, House, gate, house
from tests.interaction._gateway import child
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.anyio

ASK_OPENMETRICS: Final = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
"""As Prometheus does."""


def named(values: Mapping[str, float], name: str, **labels: str) -> float:
    """A sample's value."""
    return values[name + str(sorted(labels.items()))]


async def scrape(it: House) -> dict[str, float]:
    """By name and labels."""
    text = (await it.client.get(f"{it.gateway.base}/metrics")).text
    samples = [sample for family in read_text(text) for sample in family.samples]
    return {sample.name + str(sorted(sample.labels.items())): sample.value for sample in samples}


def test_the_documented_table_is_the_code() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    documented = page.partition("<!-- metrics -->\n")[2].partition("\n<!-- /metrics -->")[0]
    assert documented == families.table(), f"put this between the markers:\n{families.table()}"


@pytest.mark.parametrize("family", families.FAMILIES, ids=lambda family: family.name)
def test_names_are_as_they_should_be(family: families.Family) -> None:
    assert re.fullmatch(r"mcp_gateway_[a-z_]+", family.name)
    assert not family.name.endswith(("_total", "_count", "_sum", "_bucket", "_created"))
    assert family.name.endswith(family.unit)
    assert family.help.endswith(".")


async def test_everything_documented_is_there_and_nothing_else(tmp_path: Path) -> None:
    async with house(tmp_path, {"gate": gate(max_concurrency=5)}, metrics={"tools": True}) as it:
        agent = await it.agent()
        assert await agent.call("gate__who")
        assert "error" in await agent.ask("tools/call", {"name": "gate__nothing of the kind"})
        address = f"{it.gateway.base}/metrics"

        async def has_looked_at_its_loop() -> bool:
            families_now = read_text((await it.client.get(address)).text)
            (lag,) = (family for family in families_now if family.name == families.LOOP_LAG.name)
            return next(sample.value for sample in lag.samples if sample.name.endswith("_count")) > 0

        await wait_until(has_looked_at_its_loop, 30)
        plain = await it.client.get(address)
        open = await it.client.get(address, headers={"Accept": ASK_OPENMETRICS})
    assert (plain.headers["content-type"], open.headers["content-type"]) == (CONTENT_TYPE, OPENMETRICS)
    elsewhere = {families.SPANS, families.STORE_UP, families.STORE_NODES, families.STORE_SHARES}
    elsewhere |= {families.WORKERS, families.WORKER_DEATHS}
    expected = {family.name: family for family in families.FAMILIES if family not in elsewhere}
    modern: list[Metric] = [*openmetrics.text_string_to_metric_families(open.text)]  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
    for found in (list(read_text(plain.text)), modern):
        ours = {family.name: family for family in found if family.name.startswith("mcp_gateway_")}
        assert ours.keys() == expected.keys()
        assert {name: family.type for name, family in ours.items()} == {n: f.kind for n, f in expected.items()}
        assert {name: family.documentation for name, family in ours.items()} == {n: f.help for n, f in expected.items()}
        for name, family in ours.items():
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            assert labels <= {*expected[name].labels}
    assert "of the kind" not in plain.text, "a client's text"
    _check_with_promtool(plain.text)


def _check_with_promtool(text: str) -> None:
    """Prometheus' own eyes, where they are installed."""
    if (promtool := shutil.which("promtool")) is not None:
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


async def test_what_waits_and_what_is_at_work(tmp_path: Path) -> None:
    arguments = {"gate": str(tmp_path / "gate")}
    async with house(tmp_path, {"gate": gate(max_concurrency=1, max_queue=1), "raw": child("tests.servers.raw")}) as it:
        agent = await it.agent()
        async with anyio.create_task_group() as tg:
            for _ in range(2):
                tg.start_soon(_call, agent, "gate__hold", arguments)

            async def is_full() -> bool:
                values = await scrape(it)
                at_work = named(values, "mcp_gateway_upstream_requests_in_flight", upstream="gate")
                return (at_work, named(values, "mcp_gateway_upstream_requests_queued", upstream="gate")) == (1, 1)

            await wait_until(is_full, SECONDS)
            assert named(await scrape(it), "mcp_gateway_requests_in_flight") >= 2
            it.open_gate()
        values = await scrape(it)
    for state in ("in_flight", "queued"):
        assert named(values, f"mcp_gateway_upstream_requests_{state}", upstream="gate") == 0
    assert named(values, "mcp_gateway_upstream_queue_duration_seconds_count", upstream="gate") == 1
    assert named(values, "mcp_gateway_upstream_queue_duration_seconds_sum", upstream="gate") > 0
    assert named(values, "mcp_gateway_upstream_queue_duration_seconds_count", upstream="raw") == 0


async def _call(agent: Agent, tool: str, arguments: dict[str, Any]) -> None:
    assert "result" in await agent.ask("tools/call", {"name": tool, "arguments": arguments})


async def test_bytes_and_tokens_are_those_that_go_by(tmp_path: Path) -> None:
    async with house(tmp_path, {"raw": child("tests.servers.raw")}) as it:
        agent = await it.agent()
        before = await scrape(it)
        await agent.call("raw__echo", text="x" * 40_000)
        after = await scrape(it)

    def more(name: str, **labels: str) -> float:
        return named(after, name, **labels) - named(before, name, **labels)

    sizes = {
        "up": 2 * more("mcp_gateway_upstream_sent_bytes_total", upstream="raw"),
        "down": more("mcp_gateway_upstream_received_bytes_total", upstream="raw"),
        "in": 2 * more("mcp_gateway_received_bytes_total"),
        "tokens": named(after, "mcp_gateway_result_tokens_total", upstream="raw") * 4,
    }
    assert {name: size // 80_000 for name, size in sizes.items()} == dict.fromkeys(sizes, 1), "it is echoed twice over"
    assert more("mcp_gateway_sent_bytes_total") > 80_000


async def test_what_a_catalogue_costs(tmp_path: Path) -> None:
    async with house(tmp_path, {"gate": gate("--tool", "more"), "other": gate()}) as it:
        values, merged = await scrape(it), (await (await it.agent()).ask("tools/list"))["result"]["tools"]
        own = (await (await it.agent(view="gate")).ask("tools/list"))["result"]["tools"]
    assert named(values, "mcp_gateway_catalogue_tokens", view="/mcp") == sum(map(tokens_of, merged))
    assert named(values, "mcp_gateway_catalogue_tokens", view="/mcp/gate") == sum(map(tokens_of, own))
    assert named(values, "mcp_gateway_catalogue_items", upstream="gate", kind="tools") == len(own) == 4
    assert named(values, "mcp_gateway_catalogue_items", upstream="gate", kind="prompts") == 0


async def test_an_upstream_that_dies_is_counted(tmp_path: Path) -> None:
    async with house(tmp_path, {"gate": gate()}) as it:
        agent = await it.agent()
        before = await scrape(it)
        pid = (await agent.call("gate__who"))["pid"]
        os.kill(pid, signal.SIGKILL)

        async def restarted() -> bool:
            values = await scrape(it)
            return named(values, "mcp_gateway_upstream_restarts_total", upstream="gate") == 1

        await wait_until(restarted, SECONDS)
        after = await scrape(it)
    assert named(before, "mcp_gateway_upstream_restarts_total", upstream="gate") == 0
    assert named(before, "mcp_gateway_upstream_connection_failures_total", upstream="gate") == 0
    assert named(after, "mcp_gateway_upstream_connection_failures_total", upstream="gate") == 1


async def test_tools_are_counted_by_name_only_where_that_is_asked_for(tmp_path: Path) -> None:
    async with house(tmp_path, {"gate": gate()}, metrics={"tools": True}) as it:
        agent = await it.agent()
        for _ in range(2):
            await agent.call("gate__who")
        await agent.ask("tools/call", {"name": "gate__none"})
        await agent.ask("tools/call", {"name": "nobodys"})
        values = await scrape(it)
    counted = {key: value for key, value in values.items() if key.startswith("mcp_gateway_tool_calls_total")}
    assert named(counted, "mcp_gateway_tool_calls_total", upstream="gate", tool="who", outcome="ok") == 2
    assert sum(counted.values()) == 4
    assert not any("none" in key or "nobodys" in key for key in counted)
    assert named(values, "mcp_gateway_tool_call_duration_seconds_count", upstream="gate", tool="who") == 2
    async with house(tmp_path, {"gate": gate()}) as it:
        await (await it.agent()).call("gate__who")
        assert not any("tool_call" in key for key in await scrape(it))


async def test_sessions_streams_and_connections(tmp_path: Path) -> None:
    async with house(tmp_path, {"gate": gate()}) as it:
        agent = await it.agent(modern=False)
        headers = {**agent.session, "Accept": "text/event-stream"}
        async with it.client.stream("GET", agent.url, headers=headers):
            values = await scrape(it)
            assert named(values, "mcp_gateway_sessions") == 1
            assert named(values, "mcp_gateway_streams") == 1
            assert named(values, "mcp_gateway_connections") >= 2

        async def closed() -> bool:
            return named(await scrape(it), "mcp_gateway_streams") == 0

        await wait_until(closed, SECONDS)


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (ASK_OPENMETRICS, True),
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", True),
        ('application/openmetrics-text;version="1.0.0"', True),
        ("application/openmetrics-text;version=2.0.0", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=0.1, text/plain;q=0.2", False),
        ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text;version=0.0.1;q=0.75", True),
        ("application/openmetrics-text;q=x", False),
        ("APPLICATION/OpenMetrics-Text", True),
    ],
)
def test_openmetrics_is_for_who_prefers_it(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected


def test_a_metric_has_no_sample_that_its_family_does_not_declare() -> None:
    with pytest.raises(ValueError, match="zip"):
        families.UPSTREAM_STATE.of({("one",): 1})
    assert isinstance(families.TASKS.of({(): 1}), Metric)
