"""A failing upstream as an agent and an operator see it, through a gateway of its own."""

from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest

from tests.interaction._gateway import child, http_gateway
from tests.interaction._http import HttpChannel
from tests.interaction._wire import Wire
from tests.support import wait_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def base(tmp_path: Path) -> Generator[str]:
    breaker = {"failures": 2, "cooldown": "500ms"}
    bad = child("tests.servers.bad", timeouts={"silent": "200ms"}, breaker=breaker)
    with http_gateway(tmp_path, {"bad": bad, "good": child("tests.servers.raw")}, startup_wait="30s") as gateway:
        yield gateway.base


def shown(base: str) -> dict[str, object]:
    return httpx2.get(f"{base}/upstreams/bad").json()["breaker"]


async def test_it_is_said_shown_and_counted(base: str) -> None:
    wire = Wire(HttpChannel(f"{base}/mcp"), modern=True)
    assert wire.call("bad__ok").result
    assert shown(base) == {"state": "closed", "reason": None, "next_try": None, "openings": 0}
    assert [wire.call("bad__silent").error["code"] for _ in range(2)] == [-32011] * 2
    error = wire.call("bad__ok").error
    assert error["code"] == -32009
    assert error["message"].startswith("Upstream 'bad' keeps failing")
    assert 0 < error["data"].pop("retryAfter") <= 0.5
    reason = "it did not answer tools/call within 0.2 s"
    assert error["data"] == {"upstream": "bad", "reason": reason, "delivered": False}
    assert wire.call("good__echo", a=1).result["structuredContent"] == {"a": 1}

    info = shown(base)
    assert (info["state"], info["reason"], info["openings"]) == ("open", reason, 1)
    metrics = httpx2.get(f"{base}/metrics").text.splitlines()
    assert 'mcp_gateway_breaker_state{state="open",upstream="bad"} 1.0' in metrics
    assert 'mcp_gateway_breaker_state{state="closed",upstream="good"} 1.0' in metrics
    assert 'mcp_gateway_breaker_openings_total{upstream="bad"} 1.0' in metrics
    assert 'mcp_gateway_upstream_retries_total{upstream="bad"} 0.0' in metrics

    await wait_until(lambda: shown(base)["next_try"] == 0)
    assert wire.call("bad__ok").result
    assert shown(base) == {"state": "closed", "reason": None, "next_try": None, "openings": 1}
