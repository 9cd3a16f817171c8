"""What the connections of one principal to one server prove themselves with: tokens at hand, renewed in time.

One at a time renews, and whoever comes meanwhile has what that one got. A network that fails is no lost login: tokens
are used as long as they are good, and it is tried again.
"""

import time
from collections.abc import Callable, Mapping

import anyio
import structlog

from gateway.errors import GatewayError, LoginNeeded, UpstreamUnavailable
from gateway.logins.challenge import wanted
from gateway.logins.failures import AuthFailure, NoLogin, Unreachable
from gateway.logins.grants import TokenGrant, Tokens
from gateway.logins.timing import USUAL, LoginTiming
from gateway.upstream.credentials import Challenge

log = structlog.stdlib.get_logger("gateway.logins")


class Held:
    """`upstream.credentials.Credentials`.

    Args:
        upstream: the server's name.
        grant: obtains tokens.
        needs: makes the error for those who have to wait until somebody has logged in.
        is_optional: whether a connection may be opened without tokens: it is the server that knows if it wants any.
    """

    def __init__(
        self,
        upstream: str,
        grant: TokenGrant,
        needs: Callable[[NoLogin], LoginNeeded],
        timing: LoginTiming = USUAL,
        *,
        is_optional: bool = False,
    ) -> None:
        self._upstream = upstream
        self._grant = grant
        self._needs = needs
        self._timing = timing
        self._is_optional = is_optional
        self.is_on_behalf = False
        """Whether it is good only as long as the token that its principal came with."""
        self.is_kept = False
        """Whether what it is had by is in the vault, where others may change it."""
        self._tokens: Tokens | None = None
        self._turn = anyio.Lock()
        self._followers: dict[object, Callable[[], None]] = {}
        self._retry_at = 0.0
        self._missing: tuple[NoLogin, float] | None = None
        """Why somebody has to log in first, and since when that is known."""

    # --- Credentials --------------------------------------------------------------------------------------------------

    @property
    def headers(self) -> Mapping[str, str]:
        return self._tokens.headers if self._tokens is not None else {}

    async def prepare(self) -> None:
        async with self._turn:
            if self._tokens is None or not self._tokens.is_good(time.time()):
                self._take(await self._known())
            if self._tokens is None and self._is_optional:
                if self._missing is not None and time.time() < self._missing[1] + self._timing.missing_seconds:
                    raise self._needs(self._missing[0])
                return
            if self._tokens is None or not self._tokens.is_good(time.time()):
                await self._renew((), "")

    async def refused(self, challenge: Challenge) -> bool:
        asks = wanted(challenge.header)
        if challenge.status == 403 and asks.error != "insufficient_scope":
            return False
        async with self._turn:
            if challenge.sent != self.headers and self.headers:
                return True  # somebody has renewed them meanwhile
            known = await self._known()
            if known is not None and known != self._tokens and known.is_good(time.time()):
                self._take(known)
                return True
            return await self._renew(asks.scopes, challenge.header)

    async def look(self) -> None:
        await self.reread()

    def follow(self, on_change: Callable[[], None]) -> Callable[[], None]:
        key = object()
        self._followers[key] = on_change
        return lambda: self._followers.pop(key, None) and None

    # --- Ahead of time ------------------------------------------------------------------------------------------------

    @property
    def is_missing(self) -> bool:
        """Whether somebody has to log in first, as far as is known."""
        return self._missing is not None

    @property
    def is_followed(self) -> bool:
        """Whether a connection uses it."""
        return bool(self._followers)

    def claim(self, now: float) -> bool:
        """Whether somebody is to renew it now; nobody else is, for a while."""
        if self._tokens is None or now < max(self._retry_at, self._tokens.renew_at):
            return False
        self._retry_at = now + self._timing.renew_seconds
        return True

    async def renew_ahead(self) -> None:
        """Renew tokens that are about to end; what comes of it is seen by whoever uses them."""
        before = self._tokens
        async with self._turn:
            if self._tokens is not before:
                return
            try:
                await self._renew((), "", is_ahead=True)
            except GatewayError as error:
                log.warning("login not renewed", upstream=self._upstream, reason=error.message)

    async def reread(self) -> None:
        """What is known of the login may be another: somebody logged in, or out."""
        async with self._turn:
            try:
                known = await self._known()
            except GatewayError:
                return
            if known != self._tokens:
                self._take(known)

    def drop(self) -> None:
        """What there is is good no more: whoever had it is no longer let in."""
        self._take(None)

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _known(self) -> Tokens | None:
        try:
            return await self._grant.known()
        except AuthFailure as failure:
            raise self._mapped(failure) from None

    async def _renew(self, scopes: tuple[str, ...], header: str, *, is_ahead: bool = False) -> bool:
        """Returns whether there are others now."""
        try:
            tokens = await self._grant.obtain(self._tokens, scopes, header)
        except AuthFailure as failure:
            if isinstance(failure, NoLogin) and not failure.scopes and not (is_ahead and failure.is_usable):
                self._take(None)
            raise self._mapped(failure) from None
        if tokens is not None:
            self._take(tokens)
        return tokens is not None

    def _mapped(self, failure: AuthFailure) -> GatewayError:
        if isinstance(failure, NoLogin):
            if self._tokens is None:
                self._missing = failure, time.time()
            return self._needs(failure)
        state = "unauthorized" if not isinstance(failure, Unreachable) else "without authorization"
        return UpstreamUnavailable(self._upstream, state, str(failure))

    def _take(self, tokens: Tokens | None) -> None:
        if tokens == self._tokens:
            return
        self._tokens = tokens
        self._retry_at = 0.0
        if tokens is not None:
            self._missing = None
        for told in list(self._followers.values()):
            told()
