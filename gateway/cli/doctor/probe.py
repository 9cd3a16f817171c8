"""Tries every upstream once, all at the same time: does it start, what does it speak, how soon does it answer?"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from gateway import sdk
from gateway.cli.doctor.contact import ServerContact, contact
from gateway.cli.ui.waiting import waiting_for
from gateway.config.models import ServerConfig
from gateway.errors import GatewayError
from gateway.protocol import Era
from gateway.request import Agent
from gateway.upstream.audience import Audience
from gateway.upstream.credentials import CredentialSource
from gateway.upstream.guardian import Guardian
from gateway.upstream.listing import Listing
from gateway.upstream.upstream import Upstream

if TYPE_CHECKING:
    from gateway.upstream.api.definition import ApiDefinition

ROUND_TRIPS = 3
"""The quickest of them counts: the first one warms caches up."""


@dataclass(frozen=True, slots=True)
class ServerProbe:
    """How one upstream did."""

    contact: ServerContact
    state: str
    era: str = ""
    version: str = ""
    """The protocol revision agreed on."""
    implementation: str = ""
    """What the server calls itself, with its version."""
    latency: float | None = None
    """Seconds of one round trip."""
    tools: int = 0
    listing: Listing | None = None
    """All that it offers, if it works."""
    api: "ApiDefinition | None" = None
    """What its document says, if it is an HTTP API."""
    api_url: str = ""
    """Where that is."""

    def as_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"state": self.state}
        if self.version:
            fields |= {"era": self.era, "protocol": self.version, "implementation": self.implementation}
            fields |= {"tools": self.tools, "started_ms": _ms(self.contact.seconds)}
        if self.latency is not None:
            fields["latency_ms"] = _ms(self.latency)
        if self.contact.reason:
            fields["reason"] = self.contact.reason
        return fields


class NullObserver:
    """An observer who is not interested."""

    async def on_listing(self, upstream: Upstream, announced: Collection[str]) -> None: ...

    def on_resource_updated(self, upstream: str, uri: str, audience: Audience) -> None: ...

    def on_message(self, upstream: str, method: str, params: dict[str, Any], audience: Audience) -> None: ...

    def on_sight(self) -> None: ...

    def on_own_process(self, upstream: str, agent: Agent) -> None: ...


async def probe(
    servers: Mapping[str, ServerConfig], credentials: Callable[[str, ServerConfig], CredentialSource | None]
) -> dict[str, ServerProbe]:
    """Start or reach each server, and end it again. In the order of `servers`.

    Args:
        credentials: whose to use with a server of that name.
    """
    await anyio.to_thread.run_sync(sdk.load)  # which would count as the servers' time else
    guardian = Guardian()
    results: dict[str, ServerProbe] = {}

    async def one(upstream: Upstream) -> None:
        met = await contact(upstream)
        results[upstream.name] = await _describe(upstream, met)

    try:
        async with anyio.create_task_group() as running:
            async with (
                waiting_for(lambda: [name for name in servers if name not in results]),
                anyio.create_task_group() as probes,
            ):
                for name, server in servers.items():
                    upstream = Upstream(name, server, NullObserver(), guardian, credentials=credentials(name, server))
                    running.start_soon(upstream.run)
                    probes.start_soon(one, upstream)
            running.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await guardian.aclose()
    return {name: results[name] for name in servers}


async def _describe(upstream: Upstream, met: ServerContact) -> ServerProbe:
    state = upstream.status.state.value if met.works or met.needs_login else "failed"
    agreed = upstream.agreed
    if agreed is None:
        return ServerProbe(met, state)
    info = agreed.server_info
    return ServerProbe(
        met,
        state,
        era=agreed.era.value,
        version=agreed.version,
        implementation=" ".join(str(info[key]) for key in ("name", "version") if info.get(key)),
        latency=await _latency(upstream, agreed.era) if met.works and upstream.api is None else None,
        tools=len(upstream.known.tools) if upstream.known is not None else 0,
        listing=upstream.known if met.works else None,
        api=upstream.api.definition if upstream.api is not None else None,
        api_url=upstream.api.base if upstream.api is not None else "",
    )


async def _latency(upstream: Upstream, era: Era) -> float | None:
    method = "ping" if era is Era.HANDSHAKE else "server/discover"
    times: list[float] = []
    with suppress(GatewayError):
        for _ in range(ROUND_TRIPS):
            started = time.perf_counter()
            await upstream.ask(method, {})
            times.append(time.perf_counter() - started)
    return min(times, default=None)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
