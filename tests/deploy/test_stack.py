"""The topology of the containers as real processes: what is asked of it arrives, and is seen in every panel."""

import re
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import suppress
from typing import Any, Final

import anyio
import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.programs import DEPLOY, find
from tests.stack import traffic
from tests.stack.panels import panels, query, without_default
from tests.stack.topology import Programs, Stack, running
from tests.support import wait_until

pytestmark = pytest.mark.anyio

SECONDS: Final = 90.0
"""Longest it may take until everything there is to see has happened."""
OWN: Final = re.compile(r"\b(?:mcp_gateway|process)_\w+")
"""A name of a metric in an expression."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Generator[Stack]:
    with running(tmp_path_factory.mktemp("stack"), Programs(find("nginx"), find("prometheus"))) as running_:
        yield running_


@pytest.fixture(scope="module")
async def client(stack: Stack) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=stack.url, timeout=30) as client:
        yield client


async def test_a_call_through_nginx_is_answered_and_only_with_a_key(stack: Stack, client: httpx2.AsyncClient) -> None:
    async def is_answered() -> bool:
        answer = await traffic.call(client, stack.key, "time__now", {"timezone": "Asia/Tokyo"})
        return "Asia/Tokyo" in answer.text

    await wait_until(is_answered, 30)
    for key in ("dev-key-alice-001", "no-such-key"):
        assert (await traffic.call(client, key, "time__now", {"timezone": "Asia/Tokyo"})).status_code == 401


async def test_events_pass_nginx_as_they_are_written(stack: Stack, client: httpx2.AsyncClient) -> None:
    """Progress arrives before the result that it belongs to, and not with it."""
    params = {"name": "web__slow", "arguments": {"seconds": 1, "steps": 4}, "_meta": {"progressToken": "p"}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"X-Api-Key": stack.key, "Accept": "application/json, text/event-stream"}
    arrived: list[tuple[float, str]] = []
    async with client.stream("POST", "/mcp", json=message, headers=headers) as stream:
        async for line in stream.aiter_lines():
            arrived.append((time.monotonic(), line))
    progress = [at for at, line in arrived if "notifications/progress" in line]
    (result,) = [at for at, line in arrived if '"result"' in line]
    assert len(progress) >= 2
    assert result - progress[0] > 0.25, "it was held back"


async def test_a_session_is_at_home_at_either_gateway(stack: Stack, client: httpx2.AsyncClient) -> None:
    """Until it is ended, and then at neither."""
    opened = await traffic.ask(client, stack.key, "initialize", traffic.OPENING)
    id = opened.headers["mcp-session-id"]
    params = {"name": "time__now", "arguments": {"timezone": "Asia/Tokyo"}}
    for node in stack.nodes * 3:
        async with httpx2.AsyncClient(base_url=node.url, timeout=30) as direct:
            answer = await traffic.ask(direct, stack.key, "tools/call", params, session=id)
            assert "Asia/Tokyo" in answer.text, node
    headers = {"X-Api-Key": stack.key, "Mcp-Session-Id": id, "MCP-Protocol-Version": "2025-11-25"}
    assert (await client.delete("/mcp", headers=headers)).status_code in (200, 204)


async def test_every_panel_has_data(stack: Stack) -> None:
    """Also those that mostly show nothing, such as what is refused: here it happens."""
    expressions = [(panel.title, without_default(each.expression)) for panel in panels() for each in panel.targets]
    missing: list[tuple[str, str]] = expressions

    async def is_complete() -> bool:
        nonlocal missing
        missing = await anyio.to_thread.run_sync(lambda: [each for each in missing if not has_data(each[1])])
        return not missing

    def has_data(expression: str) -> bool:
        return bool(query(stack.prometheus, expression, stack.started, time.time()))

    async with anyio.create_task_group() as tg:
        tg.start_soon(traffic.run, stack, SECONDS)
        with suppress(AssertionError):  # what is missing says more
            await wait_until(is_complete, SECONDS)
        tg.cancel_scope.cancel()
    assert not missing


async def test_a_call_is_a_trace_that_a_point_of_the_dashboard_leads_to(
    stack: Stack, client: httpx2.AsyncClient
) -> None:
    """Spans arrive at the collector, and exemplars at Prometheus, whose links Grafana follows."""
    await traffic.call(client, stack.key, "web__greet", {"name": "you"})

    def pairs() -> list[str]:
        servers = {span.id: span for span in stack.collector.of(kind="server")}
        return [span.trace for span in stack.collector.of(kind="client") if span.parent in servers]

    await wait_until(pairs, 20)
    sources = yaml.safe_load((DEPLOY / "monitoring/grafana/provisioning/datasources/mcp-gateway.yaml").read_text())
    (metrics,) = [each for each in sources["datasources"] if each["type"] == "prometheus"]
    (link,) = metrics["jsonData"]["exemplarTraceIdDestinations"]
    assert link["datasourceUid"] in {each["uid"] for each in sources["datasources"] if each["type"] == "jaeger"}

    async def exemplars() -> set[str]:
        asked = {
            "query": "mcp_gateway_request_duration_seconds_bucket",
            "start": str(stack.started),
            "end": str(time.time()),
        }
        async with httpx2.AsyncClient(base_url=stack.prometheus) as prometheus:
            found = (await prometheus.get("/api/v1/query_exemplars", params=asked)).json()["data"]
        return {each["labels"][link["name"]] for series in found for each in series["exemplars"]}

    await wait_until(exemplars, 20)
    traces = {span.trace for span in stack.collector.of(kind="server")}
    assert await exemplars() & traces


async def test_every_metric_that_is_named_is_exported(stack: Stack) -> None:
    """By dashboard and alerts: a name that nobody exports would be silent for ever."""
    exported: set[str] = set()
    for node in stack.nodes:
        async with httpx2.AsyncClient() as client:
            text = (await client.get(f"http://{node.metrics}/metrics")).text
        for family in text_string_to_metric_families(text):
            exported |= {sample.name for sample in family.samples} | {family.name}
            exported |= {f"{family.name}_total"} if family.type == "counter" else set()  # of which there is none yet
    rules = yaml.safe_load((DEPLOY / "monitoring/alerts.yml").read_text())["groups"]
    expressions = [rule["expr"] for group in rules for rule in group["rules"]]
    expressions += [target.expression for panel in panels() for target in panel.targets]
    named = {name for expression in expressions for name in OWN.findall(expression)}
    assert len(named) > 10
    assert named <= exported, named - exported


async def test_prometheus_has_both_gateways_and_no_rule_fails(stack: Stack) -> None:
    async with httpx2.AsyncClient(base_url=stack.prometheus, timeout=30) as client:

        async def has_both() -> bool:
            targets = (await client.get("/api/v1/targets")).json()["data"]["activeTargets"]
            healthy = {each["labels"]["instance"] for each in targets if each["health"] == "up"}
            return {node.metrics for node in stack.nodes} <= healthy

        async def rules() -> list[dict[str, Any]]:
            groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
            return [rule for group in groups for rule in group["rules"]]

        async def has_tried_all() -> bool:
            return all(rule["health"] != "unknown" for rule in await rules())

        await wait_until(has_both, 30)
        await wait_until(has_tried_all, 30)
        assert not {rule["name"]: rule.get("lastError") for rule in await rules() if rule["health"] != "ok"}


async def test_one_gateway_less_is_nobodys_loss(stack: Stack, client: httpx2.AsyncClient) -> None:
    """It ends while others call: those it has are answered, and the next go to the other one."""
    statuses: list[int] = []
    leaving = stack.nodes[1].process

    async def calls() -> None:
        while leaving.poll() is None or len(statuses) < 50:
            answer = await traffic.call(client, stack.key, "web__slow", {"seconds": 0.02, "steps": 1})
            statuses.append(answer.status_code if "result" in answer.text else -1)

    async with anyio.create_task_group() as tg:
        for _ in range(4):
            tg.start_soon(calls)
        await wait_until(lambda: len(statuses) > 10, 20)
        leaving.terminate()
        await wait_until(lambda: leaving.poll() is not None, 30)
    assert leaving.returncode == 0
    assert set(statuses) == {200}, statuses
