"""The public endpoints."""

from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import __version__
from gateway.frontend.guard import Guard
from gateway.request import ANONYMOUS
from gateway.rest import metrics_app
from gateway.telemetry.calls import CallRecorder
from gateway.telemetry.health import Health
from gateway.telemetry.metrics import CONTENT_TYPE, Metrics
from gateway.upstream.link import State
from tests.rest.house import BROKEN, PATIENCE, TIME, House, house, listening
from tests.support import wait_until

pytestmark = pytest.mark.anyio


async def test_health_tells_that_it_lives(home: House) -> None:
    first = (await home.ask(None, "GET", "/health")).json()
    second = (await home.ask(None, "GET", "/health")).json()
    assert first == {"status": "ok", "version": __version__, "uptime": first["uptime"]}
    assert 0 <= first["uptime"] <= second["uptime"]


async def test_head_is_get_without_its_body(home: House) -> None:
    get = await home.ask(None, "GET", "/readyz")
    head = await home.ask(None, "HEAD", "/readyz")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]


async def test_readiness_shows_every_upstream(home: House) -> None:
    answer = await home.ask(None, "GET", "/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "status": "ready",
            "configuration": "current",
            "upstreams": {
                "time": {"state": "ready", "required": False},
                "broken": {"state": "backing off", "required": False},
            },
        },
    )


async def test_it_is_not_ready_without_what_is_required(tmp_path: Path) -> None:
    async with house(tmp_path, {"time": TIME, "broken": {**BROKEN, "required": True}}) as home:
        upstreams = home.gateway.upstreams
        await wait_until(lambda: upstreams["time"].status.state is State.READY, 30)
        answer = await home.ask(None, "GET", "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
        assert answer.json()["upstreams"]["broken"]["required"] is True


async def test_what_is_required_may_be_lazy_and_at_rest(tmp_path: Path) -> None:
    async with house(tmp_path, {"time": {**TIME, "required": True, "lazy": True}}) as home:
        assert (await home.ask(None, "GET", "/readyz")).status_code == 503  # its lists are still to be learnt
        await wait_until(lambda: home.gateway.upstreams["time"].status.state is State.STOPPED, 30)
        answer = await home.ask(None, "GET", "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (200, "ready")


async def test_it_is_not_ready_while_it_drains(tmp_path: Path) -> None:
    async with house(tmp_path, {"broken": BROKEN}) as home:
        assert (await home.ask(None, "GET", "/readyz")).status_code == 200
        home.draining = True
        answer = await home.ask(None, "GET", "/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "draining")


async def test_metrics(home: House) -> None:
    answer = await home.ask(None, "GET", "/metrics")
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    assert 'mcp_gateway_upstream_state{state="ready",upstream="time"} 1.0' in answer.text
    families = text_string_to_metric_families(answer.text)
    values = {sample.name: sample.value for family in families for sample in family.samples}
    assert min(values[name] for name in ("process_resident_memory_bytes", "process_open_fds", "mcp_gateway_tasks")) > 0
    assert (values["mcp_gateway_sessions"], values["mcp_gateway_requests_in_flight"]) == (0, 0)
    home.gateway.places.take(ANONYMOUS)
    assert "mcp_gateway_sessions 1.0" in (await home.ask(None, "GET", "/metrics")).text


async def test_metrics_are_elsewhere_if_configured(tmp_path: Path) -> None:
    async with house(tmp_path, {"broken": BROKEN}, metrics={"host": "127.0.0.1"}) as home:
        answer = await home.ask(None, "GET", "/metrics")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/metrics", {}, 200),
        ("HEAD", "/metrics", {}, 200),
        ("POST", "/metrics", {}, 405),
        ("GET", "/health", {}, 404),
        ("GET", "/metrics", {"host": "evil.example"}, 421),
        ("GET", "/metrics", {"origin": "https://evil.example"}, 403),
    ],
)
async def test_a_listener_of_its_own_for_metrics(method: str, path: str, headers: dict[str, str], status: int) -> None:
    app = metrics_app(Metrics(lambda: [Health("time", "ready")], CallRecorder(lambda line: None)), Guard([], []))
    async with listening(app) as base, httpx2.AsyncClient(base_url=base, timeout=PATIENCE) as client:
        answer = await client.request(method, path, headers=headers)
        assert answer.status_code == status
        assert ("mcp_gateway_upstream_state" in answer.text) == (status == 200 and method == "GET")
        if status == 405:
            assert answer.headers["allow"] == "GET, HEAD"
