"""An upstream that says nothing, or almost nothing: its calls end at their deadline, and soon nobody waits any more."""

import anyio
import pytest

from gateway.errors import CircuitOpen, UpstreamTimeout
from gateway.upstream.breaker import BreakerState
from tests.faults.conftest import Keep
from tests.faults.proxy import Fault, proxy
from tests.support import wait_until
from tests.upstream.ends import Mcp, byte_server, service, supervised, text_of

pytestmark = pytest.mark.anyio

TIMEOUT = 0.3
FAILURES = 5

FAULTS: dict[Fault, float] = {"half-open": 0.0, "delay": 60.0, "drip": 0.05}
"""And the pause of each, in seconds."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_calls_end_at_their_deadline_then_at_once_until_a_probe_is_answered(keep: Keep, fault: Fault) -> None:
    mcp = Mcp(service("modern"))
    async with byte_server(mcp) as server, proxy(server.url) as between:
        kept = keep(between.url, timeout=TIMEOUT, breaker={"cooldown": 0.5})
        async with supervised(kept.upstream):
            await kept.upstream.settled.wait()
            assert text_of(await kept.call("a")) == "a"
            await between.become(fault, pause=FAULTS[fault])
            for _ in range(FAILURES):
                with pytest.raises(UpstreamTimeout):
                    await kept.call("a")
            with pytest.raises(CircuitOpen):
                await kept.call("a")

            await between.become("none")
            await wait_until(lambda: kept.upstream.breaker.retry_after(anyio.current_time()) == 0)
            assert text_of(await kept.call("a")) == "a"
            assert kept.upstream.breaker.state is BreakerState.CLOSED
