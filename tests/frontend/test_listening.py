"""Lists that change have one budget, whoever they are of."""

from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from gateway.access.policy import Grant
from gateway.catalogue.library import Library
from gateway.config.models import ServerConfig
from gateway.frontend import listening
from gateway.frontend.listening import Listening
from gateway.frontend.lookup import Lookup
from gateway.frontend.places import Places
from gateway.upstream.listing import Listing
from gateway.upstream.upstream import Upstream

pytestmark = pytest.mark.anyio


def offering(*tools: str) -> Listing:
    return Listing(tools=tuple({"name": name, "inputSchema": {"type": "object"}} for name in tools))


async def test_what_is_new_counts_at_once_and_what_changes_has_a_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listening, "REST", 1e9)
    servers = {name: SimpleNamespace(name=name, listing=offering("first")) for name in ("one", "two", "three")}
    upstreams = {name: cast(Upstream, server) for name, server in servers.items()}
    library = Library(dict.fromkeys(upstreams, ServerConfig(command="x")), "upstream")
    listens = Listening(cast(Lookup, None), library, upstreams, cast(Places, None))

    def tools() -> list[str]:
        return [tool["name"] for tool in library.view(None, Grant()).tools]

    for upstream in upstreams.values():
        await listens.on_listing(upstream, ())
    assert tools() == ["one__first", "three__first", "two__first"]
    servers["one"].listing = offering("second")
    await listens.on_listing(upstreams["one"], ())
    assert "one__second" in tools()
    async with anyio.create_task_group() as tg:
        for name in ("one", "two"):
            servers[name].listing = offering("third")
            tg.start_soon(listens.on_listing, upstreams[name], ())
        await anyio.wait_all_tasks_blocked()
        assert tools() == ["one__second", "three__first", "two__first"]
        tg.cancel_scope.cancel()
