"""A gateway served over stdio, to the one agent that started it: what is built for that alone."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio
from anyio.abc import TaskGroup

from gateway.app import Gateway
from gateway.frontend.connections import bounds_of
from gateway.frontend.listener import HttpListener
from gateway.frontend.overload import Overload
from gateway.frontend.stdio import serve_stdio
from gateway.logins.document import LOOPBACK_PATH
from gateway.logins.links import ConnectLinks
from gateway.logins.logins import keeps_logins
from gateway.request import ANONYMOUS, Principal
from gateway.rest import fail
from gateway.signals import asked_to_stop

if TYPE_CHECKING:
    from gateway.rest.connect import ConnectPages


async def serve(gateway: Gateway) -> None:
    """Serve the one agent on stdin and stdout until it leaves or a signal ends us.

    Args:
        gateway: made for that agent (`only`).
    """
    assert gateway.only is not None
    gateway.guardian.own_process()
    overload = Overload(math.inf, gateway.current.config.gateway.max_memory, gateway.metrics.limit_decided)
    introduced = anyio.Event()  # then it is known what the agent can be asked, which upstreams hear but once
    async with asked_to_stop() as stop, gateway.running(introduced) as tg:
        if keeps_logins(gateway.current.config):
            await _serve_desk(gateway, tg)
        tg.start_soon(overload.run)
        server = gateway.server
        await serve_stdio(
            gateway.current.config.gateway,
            gateway.only,
            gateway.handle,
            server.open,
            server.close,
            server.hear,
            introduced.set,
            gateway.finish,
            stop,
            overload.check,
        )


async def _serve_desk(gateway: Gateway, tasks: TaskGroup) -> None:
    """Serve the pages to log in on, on this machine alone."""
    from gateway.rest.late_pages import DeskPages, LatePages

    links = gateway.logins.links = ConnectLinks(gateway.state_keys, None)
    links.is_desk = True
    listener = HttpListener("127.0.0.1", 0, bounds_of(gateway.current.config.gateway))
    pages = DeskPages(LatePages(lambda: _build_desk_pages(gateway, links), LOOPBACK_PATH))
    await tasks.start(listener.serve, pages, fail)
    links.address = listener.url


def _build_desk_pages(gateway: Gateway, links: ConnectLinks) -> "ConnectPages":
    from gateway.logins.connecting import Connecting
    from gateway.rest.connect import ConnectPages

    async def somebody(headers: Mapping[str, str], address: str) -> Principal:
        return ANONYMOUS

    connecting = Connecting(
        gateway.logins,
        gateway.store,
        lambda: gateway.current.config.enabled,
        lambda principal, server: True,
        gateway.record,
        callback=LOOPBACK_PATH,
        asks_key=False,
    )
    return ConnectPages(connecting, links, somebody, gateway.limits.count)
