"""The gateway run in this process for the length of one verb, and an agent that asks it."""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio

from gateway import jsonrpc
from gateway.app import Gateway
from gateway.call import Call
from gateway.catalogue.catalogue import Catalogue
from gateway.cli.doctor.contact import ServerContact, contact
from gateway.cli.doctor.memory import remembered
from gateway.cli.ui.waiting import waiting_for
from gateway.config.models import Config
from gateway.jsonrpc import as_object
from gateway.protocol import HANDSHAKE_VERSIONS
from gateway.request import ANONYMOUS, Notify
from gateway.server.agents import ConnectedAgent


class Visit:
    """One agent of the handshake era, whose results the gateway leaves as they are, at a gateway that runs.

    Args:
        view: the profile that it sees.
    """

    def __init__(self, gateway: Gateway, view: str | None = None) -> None:
        self.gateway = gateway
        self.contacts: dict[str, ServerContact] = {}
        """How the first contact with each upstream went, as far as `meet` waited for it."""
        self._notify: Notify = _ignore
        self._agent = ConnectedAgent(
            ANONYMOUS,
            view,
            HANDSHAKE_VERSIONS[-1],
            info={"name": "mcp-gateway"},
            outlet=lambda method, params: self._notify(method, params),
        )
        gateway.server.open(self._agent)

    @property
    def catalogue(self) -> Catalogue:
        """What the agent sees: the same as one on stdio."""
        return self.catalogue_of(self._agent.view)

    def catalogue_of(self, view: str | None) -> Catalogue:
        """What an agent would see at another view."""
        return self.gateway.library.view(view, self.gateway.policy.grant(ANONYMOUS, view))

    @property
    def failed(self) -> dict[str, ServerContact]:
        """In the order of the configuration."""
        met = {name: self.contacts[name] for name in self.gateway.upstreams if name in self.contacts}
        return {name: contact for name, contact in met.items() if not contact.works}

    async def meet(self, enough: Callable[[], bool] = lambda: False) -> None:
        """Wait until every upstream that is awake has settled, or until `enough`."""
        missing = {name for name, upstream in self.gateway.upstreams.items() if not upstream.settled.is_set()}

        async def one(name: str) -> None:
            self.contacts[name] = await contact(self.gateway.upstreams[name])
            missing.discard(name)
            if enough():
                tg.cancel_scope.cancel()

        async with waiting_for(lambda: sorted(missing)), anyio.create_task_group() as tg:
            for name in sorted(missing):
                tg.start_soon(one, name)

    async def listen(self, notify: Notify, level: str) -> None:
        """From now on pass on what the upstreams say, log messages from `level` on."""
        self._notify = notify
        await self.request("logging/setLevel", {"level": level})

    def _on_notification(self, method: str, params: dict[str, Any] | None) -> None:
        self._notify(method, params)

    async def request(self, method: str, params: dict[str, Any]) -> Any:
        """
        Raises:
            GatewayError: what an agent would be told instead of a result.
        """
        call = Call(1, method, params, self._agent, self._agent.opener, self._on_notification)
        return jsonrpc.opened(await self.gateway.handle(call))

    async def tools(self) -> list[dict[str, Any]]:
        """All pages of `tools/list`, without the tools of upstreams that do not work: those vanish soon. Where tools
        are searched, the gateway's own two are among them."""
        tools: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            page = as_object(await self.request("tools/list", cursor))
            tools += page["tools"]
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        owners, failed = self.catalogue.tool_owners, self.failed
        return [tool for tool in tools if tool["name"] not in owners or owners[tool["name"]].upstream not in failed]


def _ignore(method: str, params: dict[str, Any] | None) -> None:
    """Nobody listens."""


@asynccontextmanager
async def visiting(config: Config, view: str | None = None) -> "AsyncGenerator[Visit]":
    """Run the gateway for as long as the block takes. Upstreams that are not lazy start at once."""
    gateway = Gateway(config, is_node=False)
    for upstream in gateway.upstreams.values():
        if not upstream.config.lazy or upstream.known is None:
            upstream.expect_again()  # we came for more than the snapshot knows
    async with gateway.running():
        yield Visit(gateway, view)


def awake(config: Config, names: Collection[str]) -> Config:
    """The configuration with the other servers asleep.

    They are left in it, lazy, wherever the snapshot on disk knows them: it would be saved without them otherwise.
    """
    known = remembered(config)
    servers = {
        name: server if name in names else server.model_copy(update={"lazy": True})
        for name, server in config.enabled.items()
        if name in names or name in known
    }
    return config.model_copy(update={"servers": servers})
