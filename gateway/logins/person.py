"""Tokens from a login that somebody made: those in the vault, renewed with its refresh token.

Whoever renews has the login's turn, and reads first what another process may have got meanwhile. A refresh token is
often good once. So it is written down that it is about to be used (`Login.renewing`): what could not be kept is not
asked for, and after a crash it is known that the same token has to be shown again, soon, for many authorization servers
take it once more for a while. What comes back is written before anybody hears of it, and neither is interrupted.
"""

import time
from collections.abc import Collection

import anyio
import msgspec
import structlog

from gateway.config.models.auth import AuthConfig
from gateway.errors import StoreUnavailable
from gateway.logins import flow, kept_client, token_request
from gateway.logins.challenge import wanted
from gateway.logins.client_origin import REFUSED, UNPROVEN, current, explained, origin_of
from gateway.logins.failures import Denied, NoLogin, Unreachable
from gateway.logins.grants import Tokens
from gateway.logins.record import Login, LoginKey
from gateway.logins.timing import USUAL, LoginTiming
from gateway.logins.token_request import Granted
from gateway.logins.vault import Vault

log = structlog.stdlib.get_logger("gateway.logins")

LOST: "frozenset[str]" = REFUSED | {"invalid_grant"}
"""What an authorization server says of a refresh token that is good no more."""
_CUT_OFF = "; an earlier renewal was cut off before its answer was kept, and a refresh token may be good only once"


class PersonGrant:
    """`Grant`.

    Args:
        is_wanted: whether the file says that somebody logs in. If not, it depends on whether the server wants it.
    """

    def __init__(
        self, vault: Vault, key: LoginKey, auth: AuthConfig, timing: LoginTiming = USUAL, *, is_wanted: bool
    ) -> None:
        self._vault = vault
        self._key = key
        self._auth = auth
        self._timing = timing
        self._is_wanted = is_wanted
        self._fresh: tuple[str, float] = ("", 0.0)
        self._mistaken: tuple[Denied, float] | None = None
        """What the authorization server said of the client in the file, and when."""
        self._unkept: tuple[Login, Login] | None = None
        """A login before and after it was renewed, if that could not be written yet."""

    async def known(self) -> Tokens | None:
        login = await self._login()
        return login.tokens if login is not None else None

    async def obtain(self, refused: Tokens | None, scopes: Collection[str], header: str) -> Tokens | None:
        login = await self._login()
        if login is None or login.tokens is None:
            if not await self._wants_login(header):
                return None
            raise NoLogin(login.lost if login is not None and login.lost else "nobody has logged in yet")
        if wanted(header).error == "insufficient_scope":
            return self._more(login, scopes)
        return await self._with_turn(refused)

    async def finish(self) -> None:
        """Renew at once what was being renewed when a process died, or a connection broke.

        Raises:
            AuthFailure: as `obtain`.
        """
        await self._with_turn(None, only_cut_off=True)

    async def _with_turn(self, refused: Tokens | None, *, only_cut_off: bool = False) -> Tokens | None:
        with anyio.CancelScope(shield=True):
            try:
                async with self._vault.turn(self._key.name):
                    if only_cut_off and ((login := await self._login()) is None or not login.renewing):
                        return None  # somebody else has done it
                    return await self._renew(refused, is_cut_off=only_cut_off)
            except TimeoutError:
                raise Unreachable("somebody else has been renewing its login for too long") from None
            except OSError as error:
                raise Unreachable(f"its login cannot be kept ({error.strerror})") from None
            except StoreUnavailable as error:
                raise Unreachable(f"its login cannot be kept ({error})") from None

    async def _login(self) -> Login | None:
        try:
            login = await self._vault.get(self._key)
            if self._unkept is None:
                return login
            before, after = self._unkept
            if login == before:
                await self._vault.put(after)
                login = after
        except (OSError, StoreUnavailable) as error:
            raise Unreachable(f"its login cannot be read ({error})") from None
        self._unkept = None
        return login

    async def _wants_login(self, header: str) -> bool:
        """Whether there is anything to log in to, where the file leaves that to the server."""
        if self._is_wanted:
            return True
        if not header:
            return False
        web = flow.web_for(self._key.url, self._auth)
        try:
            place = await flow.look(web, self._key.url, self._auth.issuer, header)
        except Unreachable:
            return wanted(header).resource_metadata is not None
        return not place.server.is_assumed or wanted(header).resource_metadata is not None

    def _more(self, login: Login, scopes: Collection[str]) -> None:
        """It takes scopes that were not granted. If they were asked for, to ask again would change nothing: the refusal
        is passed on."""
        if set(scopes) <= set(login.asked):
            return
        missing = [scope for scope in scopes if scope not in login.scopes]
        raise NoLogin(f"this takes more than was granted: {' '.join(missing)}", tuple(missing))

    async def _renew(self, refused: Tokens | None, *, is_cut_off: bool) -> Tokens:
        """With the turn: a token that is not the one refused."""
        login = await self._login()
        tokens = login.tokens if login is not None else None
        if login is None or tokens is None:
            raise NoLogin(login.lost if login is not None and login.lost else "somebody has logged out")
        now = time.time()
        if refused is not None and tokens.access != refused.access and tokens.is_good(now):
            return tokens
        access, renewed = self._fresh
        is_refused = tokens.is_good(now) and now < tokens.renew_at and not is_cut_off  # or else it is its time
        if is_refused and access == tokens.access and now - renewed < self._timing.fresh_seconds:
            raise NoLogin("the server refuses the token that was given for it a moment ago")
        if login.refresh is None:
            raise await self._lose(login, login.ending or "the login has ended")
        if self._mistaken is not None and now < self._mistaken[1] + self._timing.mistaken_seconds:
            raise Denied(str(self._mistaken[0]), self._mistaken[0].code)
        begun = login.renewed_since(now)
        await self._vault.put(begun)
        try:
            granted = await self._ask(begun, login.refresh)
        except Denied as refusal:
            denial = explained(refusal, login.registered, login.server, self._auth)
            if denial.code not in LOST:
                raise
            if denial.code in UNPROVEN and origin_of(login.registered, self._auth) == "file":
                self._mistaken = denial, now
                await self._vault.put(login)  # it is as good as before, once the file is right
                raise denial from None
            if denial.code in REFUSED:
                await kept_client.forget(self._vault, login.issuer, login.redirect_uri, login.registered)
            reason = f"the login has ended: {denial}{_CUT_OFF if login.renewing else ''}"
            if is_refused or not tokens.is_good(now):
                raise await self._lose(begun, reason) from None
            await self._vault.put(begun.without_refresh(reason))
            raise NoLogin(reason, is_usable=True) from None
        self._fresh = granted.tokens.access, now
        return await self._keep(begun, granted)

    async def _ask(self, login: Login, refresh: str) -> Granted:
        form = {"grant_type": "refresh_token", "refresh_token": refresh}
        if login.resource:
            form["resource"] = login.resource
        web = flow.web_for(login.url, self._auth)
        client, before = current(login.registered, self._auth).client, " ".join(login.scopes)
        return await token_request.request(web, login.token_endpoint, login.issuer, form, client, before)

    async def _keep(self, before: Login, granted: Granted) -> Tokens:
        """Write what came back. Where that fails it stays at hand, and is written as soon as it can be."""
        after = before.with_tokens(granted.tokens, granted.refresh)
        self._unkept = before, after
        try:
            await self._vault.put(after)
        except (OSError, StoreUnavailable) as error:
            log.warning("a renewed login could not be kept yet", upstream=before.server, reason=str(error))
            return msgspec.structs.replace(after, renew_at=time.time()).tokens or granted.tokens
        self._unkept = None
        return granted.tokens

    async def _lose(self, login: Login, reason: str) -> NoLogin:
        await self._vault.put(login.without_tokens(reason))
        return NoLogin(reason)
