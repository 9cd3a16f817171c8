"""What an upstream lists for each principal that has a login of their own there; and for who has none, a way to log in.

The lists of a principal are asked for over a connection of theirs, when they are there and have a login, and again when
that says that they have changed, or has been silent for a while. They are shown to that principal and to nobody else,
as long as the login is good.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import anyio
import structlog

from gateway.errors import GatewayError
from gateway.protocol import CHANGE_NOTIFICATIONS, MODERN_VERSIONS, Era
from gateway.request import Agent
from gateway.upstream.audience import Audience
from gateway.upstream.credentials import Credentials
from gateway.upstream.listing import Listing, LoginListing, login_tool
from gateway.upstream.own_subscriptions import OwnSubscriptions
from gateway.upstream.watch import ALL_LISTS

if TYPE_CHECKING:
    from gateway.upstream.session import Negotiated, UpstreamSession
    from gateway.upstream.upstream import Upstream

log = structlog.stdlib.get_logger("gateway.upstream")

MAX_TRIES: Final = 2
"""How often somebody who waits for their lists has them fetched."""
MAX_KNOWN: Final = 1000
"""Principals whose lists are kept; who was not here for longest is forgotten first, and asked for again."""


def label_of(root: str) -> str:
    """What the lists of a principal (the id of its root) are called: a label as in `variants`."""
    return f"{Era.MODERN.value} login:{blake2b(root.encode('utf-8', 'surrogatepass'), digest_size=12).hexdigest()}"


@dataclass(eq=False)
class _Known:
    """A principal that was here."""

    agent: Agent
    """What speaks for it; the latest."""
    credentials: Credentials
    is_in: bool = False
    """Whether it has a login, as far as was seen."""
    has_looked: bool = False
    listing: Listing | None = None
    is_shown: bool = False
    """Whether that has come where it is looked up."""
    fetched_at: float = float("-inf")
    is_back: bool = False
    """Whether it has logged in since its lists came: what comes then is judged as if it were another."""
    learns: bool = False
    learnt: anyio.Event = field(default_factory=anyio.Event)
    """Set, and replaced, whenever its lists were fetched, or could not be."""
    sources: "list[OwnSource]" = field(default_factory=list["OwnSource"])
    forget: Callable[[], None] = lambda: None


class OwnListings:
    """Those of one upstream."""

    def __init__(self, upstream: "Upstream") -> None:
        self._upstream = upstream
        self._known: dict[str, _Known] = {}
        """By the id of the root."""
        self.subscriptions = OwnSubscriptions(upstream)
        self.era: Era | None = None
        """What the server speaks with who tries the modern era first; None until somebody was connected."""
        self.listing = LoginListing(
            tools=(login_tool(upstream.name),),
            capabilities={"tools": {"listChanged": True}},
            version=MODERN_VERSIONS[-1],
            private=True,
        )
        """What everybody may see, and what each sees with their login; another object when that has changed."""

    def label(self, agent: Agent) -> str | None:
        """Under which label stands what an agent sees; None for who has no login."""
        return self.label_for(agent.opener.root_id)

    def last_label(self, agent: Agent) -> str | None:
        """The same with a login or without: what it saw last."""
        known = self._known.get(agent.opener.root_id)
        return label_of(agent.opener.root_id) if known is not None and known.listing is not None else None

    def label_for(self, root: str) -> str | None:
        """As `label`, for a principal (the id of its root)."""
        known = self._known.get(root)
        return label_of(root) if known is not None and known.listing is not None and known.credentials.headers else None

    def of(self, root: str) -> Listing | None:
        """What a principal (the id of its root) saw last."""
        known = self._known.get(root)
        return known.listing if known is not None else None

    def note(self, agent: Agent) -> None:
        """Somebody is there: find out meanwhile whether they have a login, and what they see with it."""
        known = self._meet(agent)
        if known is not None and not (known.has_looked and not known.credentials.headers):
            self._learn_soon(known)

    async def meet(self, agent: Agent, patience: float) -> bool:
        """Wait, for so many seconds, until it is known what somebody sees. Returns whether there was anything to wait
        for."""
        known = self._meet(agent)
        if known is None:
            return False
        if not known.has_looked:
            await known.credentials.look()
            known.has_looked = True
        if not known.credentials.headers or known.is_shown:
            return False
        with anyio.move_on_after(patience):
            for _ in range(MAX_TRIES):  # one may have begun before there was a login
                learnt = known.learnt
                self._learn_soon(known)
                await learnt.wait()
                if known.is_shown or not known.credentials.headers:
                    break
        return True

    # --- What connections say -----------------------------------------------------------------------------------------

    def attach(self, root: str, source: "OwnSource") -> bool:
        """A connection of a principal is up. Returns whether its lists are to be fetched over it."""
        known = self._known.get(root)
        if known is None:
            return False
        known.sources.append(source)
        return known.fetched_at + self._upstream.timing.own_lists_seconds <= time.monotonic()

    def detach(self, root: str, source: "OwnSource") -> None:
        known = self._known.get(root)
        if known is not None and source in known.sources:
            known.sources.remove(source)

    async def publish(self, root: str, listing: Listing) -> None:
        """A principal's lists were fetched."""
        known = self._known.get(root)
        if known is None:
            return
        known.fetched_at = time.monotonic()
        label = label_of(root)
        listing = replace(listing, private=True, label=label)
        if listing != known.listing or known.is_back:
            known.is_back = False
            known.listing = listing
            self.listing = replace(self.listing, own={**self.listing.own, label: listing})
            await self._upstream.observer.on_listing(self._upstream, ())
            known.is_shown = True
        self._learnt(known)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _meet(self, agent: Agent) -> _Known | None:
        root = agent.opener.root_id
        known = self._known.pop(root, None)
        if known is None:
            credentials = self._upstream.links.credentials_of(agent)
            if credentials is None:
                return None
            known = _Known(agent, credentials, bool(credentials.headers))
            known.forget = credentials.follow(lambda: self._on_credentials(known))
        self._known[root] = known  # the latest last
        known.agent = agent
        if len(self._known) > MAX_KNOWN:
            self._drop(next(iter(self._known)))
        return known

    def _drop(self, root: str) -> None:
        known = self._known.pop(root)
        known.forget()
        if known.listing is not None:
            own = {label: listing for label, listing in self.listing.own.items() if label != label_of(root)}
            self.listing = replace(self.listing, own=own)

    def _on_credentials(self, known: _Known) -> None:
        is_in = bool(known.credentials.headers)
        if is_in == known.is_in:
            return  # renewed
        known.is_in, known.has_looked = is_in, True
        if known.listing is not None:
            self._upstream.observer.on_sight()
        if is_in:
            known.is_back = True
            known.fetched_at = float("-inf")
            self._learn_soon(known)

    def _learn_soon(self, known: _Known) -> None:
        if not known.learns and known.fetched_at + self._upstream.timing.own_lists_seconds <= time.monotonic():
            tasks = self._upstream.tasks
            known.learns = tasks is not None
            if tasks is not None:
                tasks.start_soon(self._learn, known)

    async def _learn(self, known: _Known) -> None:
        """Have a principal's lists fetched, over a connection of theirs."""
        try:
            if not known.has_looked:
                await known.credentials.look()
                known.has_looked = True
            if known.credentials.headers:
                await self._fetch(known)
        except GatewayError as error:
            log.debug("lists not learnt", upstream=self._upstream.name, reason=error.message)
        finally:
            known.learns = False
            self._learnt(known)

    async def _fetch(self, known: _Known) -> None:
        learnt, seconds = known.learnt, self._upstream.config.connect_timeout
        async with self._upstream.own_session(known.agent, seconds):
            if known.fetched_at + self._upstream.timing.own_lists_seconds <= time.monotonic():
                for source in known.sources[:1]:
                    source.wake()
                with anyio.move_on_after(self._upstream.config.timeout):
                    await learnt.wait()

    def _learnt(self, known: _Known) -> None:
        known.learnt.set()
        known.learnt = anyio.Event()


class OwnSource:
    """The lists of one connection of a principal's. Is a `hearing.Listener`."""

    def __init__(self, upstream: "Upstream", listings: OwnListings, root: str) -> None:
        self._upstream = upstream
        self._listings = listings
        self._root = root
        self._wake = anyio.Event()

    def wake(self) -> None:
        self._wake.set()

    async def follow(self, session: "UpstreamSession", agreed: "Negotiated") -> None:
        """While the connection is up: keep what is known of its lists true."""
        from gateway.upstream.lister import fetch  # needs the SDK; see Link

        if self._listings.attach(self._root, self):
            self.wake()
        try:
            while True:
                await self._wake.wait()
                await anyio.sleep(self._upstream.timing.debounce_seconds)
                self._wake = anyio.Event()
                before = self._listings.of(self._root)
                fetched = await fetch(session, agreed, self._upstream.config.timeout, before)
                if session.connection.closed is None and len(fetched.failed) < len(ALL_LISTS):
                    await self._listings.publish(self._root, fetched.listing)
        finally:
            self._listings.detach(self._root, self)

    def on_message(self, method: str, params: dict[str, Any], audience: Audience) -> None:
        if method in CHANGE_NOTIFICATIONS.values():
            self.wake()
        else:
            self._upstream.on_message(method, params, audience)

    def on_noise(self, text: str) -> None:
        self._upstream.on_noise(text)
