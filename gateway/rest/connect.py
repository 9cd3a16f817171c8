"""The pages on which principals log in to servers for themselves: `/connect/{server}` and `/oauth/callback`.

Whoever opens a link is nobody until they have shown who they are, in a form that only our own page can post: to GET it
changes nothing, and shows no more than the name that stands in the link. There is no script, and nothing that a link
says decides where anybody is sent. Needs no FastAPI.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import structlog

from gateway.errors import GatewayError, InternalError
from gateway.frontend.http_head import Fields
from gateway.frontend.http_request import HttpRequest
from gateway.harmless import clipped, harmless
from gateway.logins import page
from gateway.logins.connecting import CannotConnect, Connecting
from gateway.logins.failures import AuthFailure
from gateway.logins.flow import PENDING_SECONDS
from gateway.logins.links import CONNECT_PATH, FOR, SCOPE, SIGNED_IN_PATH, ConnectLinks
from gateway.logins.sign_in import SignIn
from gateway.request import Principal
from gateway.rest.failures import status_of

log = structlog.stdlib.get_logger("gateway.rest")

MAX_BODY: Final = 16 * 1024
MAX_NAME: Final = 128
"""Characters of a server's name that are shown to anybody."""
MAX_BEGUN: Final = 4
"""Logins, and sign-ins, that one browser may be in the middle of: each is a cookie."""
MAX_QUERY: Final = 1000
"""Characters of a parameter that is kept in a cookie."""
_FORM: Final = "application/x-www-form-urlencoded"
_COOKIE_CHARACTERS: Final = 32


class ConnectPages:
    """
    Args:
        authenticate: who sent a request, by its headers and the address it came from; raises `GatewayError`.
        count: counts what somebody does against their limit; raises `RateLimited`.
        sign_in: where people sign in who need not show a key; None if nowhere.
        attempt: around what shows whether somebody is who they say, by their address and what they came with.
    """

    def __init__(
        self,
        connecting: Connecting,
        links: ConnectLinks,
        authenticate: Callable[[Mapping[str, str], str], Awaitable[Principal]],
        count: Callable[[Principal], Awaitable[object]],
        sign_in: SignIn | None = None,
        attempt: Callable[[str, str], AbstractAsyncContextManager[None]] = lambda address, what: nullcontext(),
    ) -> None:
        self._connecting = connecting
        self._links = links
        self._authenticate = authenticate
        self._count = count
        self._sign_in = sign_in
        self._attempt = attempt

    @property
    def _is_secure(self) -> bool:
        return (self._links.address or "").startswith("https://")

    @property
    def _prefix(self) -> str:
        """With it, a browser takes such a cookie from nobody but this very host."""
        return "__Host-mcp-gateway" if self._is_secure else "mcp-gateway"

    @property
    def _attributes(self) -> str:
        return f"; Path=/; HttpOnly; SameSite=Lax{'; Secure' if self._is_secure else ''}"

    async def __call__(self, request: HttpRequest, address: str) -> None:
        """
        Args:
            address: where it came from.
        """
        try:
            await self._serve(request, address)
        except CannotConnect as refusal:
            self._end(request, refusal.status, "That did not work", str(refusal))
        except GatewayError as error:
            self._end(request, status_of(error), "That did not work", error.message, error.headers.items())
        except Exception:
            log.exception("page failed", path=request.path)
            error = InternalError()
            self._end(request, error.status, "That did not work", error.message)

    async def _serve(self, request: HttpRequest, address: str) -> None:
        method, path = request.method, request.path.rstrip("/")
        if path == self._connecting.callback:
            if method != "GET":  # HEAD must not end a login
                raise _NoSuchMethod("GET")
            await self._finish(request)
            return
        if path == SIGNED_IN_PATH and self._sign_in is not None:
            if method != "GET":
                raise _NoSuchMethod("GET")
            await self._signed_in(request, address, self._sign_in)
            return
        name = path[len(CONNECT_PATH) :]
        if not 0 < len(name) <= MAX_NAME:
            raise CannotConnect("There is nothing here.", 404)
        if method in ("GET", "HEAD"):
            self._ask(request, name)
        elif method == "POST":
            await self._begin(request, name, address)
        else:
            raise _NoSuchMethod("GET, HEAD, POST")

    # --- Who is it? ---------------------------------------------------------------------------------------------------

    def _ask(self, request: HttpRequest, name: str, status: int = 200, wrong: str = "", also: Fields = ()) -> None:
        """Show the form, to whomever. It says nothing of what there is behind the gateway."""
        cookie = self._cookie(request, "form")
        fields = list(also)
        if len(cookie) < _COOKIE_CHARACTERS:
            cookie = secrets.token_urlsafe(_COOKIE_CHARACTERS)
            fields.append(("set-cookie", f"{self._prefix}-form={cookie}{self._attributes}"))
        host = urlsplit(self._links.address or "").netloc
        text = f"You are about to let the gateway at {host} use {name!r} in your name."
        if self._connecting.asks_key:
            text += " First show that it is you."
        body = page.form(
            f"Log in to {_shown(name)}",
            text,
            self._links.form_token(cookie),
            asks_key=self._connecting.asks_key,
            sign_in=self._sign_in.name if self._sign_in is not None else "",
            wrong=wrong,
        )
        _reply(request, status, body, page.FORM_HEADERS, fields)

    async def _begin(self, request: HttpRequest, name: str, address: str) -> None:
        """Who posted the form goes on to where they log in, if they have shown who they are."""
        form = await _posted(request)
        cookie = self._cookie(request, "form")
        if request.headers.get("sec-fetch-site", "same-origin") != "same-origin" or not self._is_own(request):
            raise CannotConnect("Another page has sent you here. Nothing was done.", 403)
        if len(cookie) < _COOKIE_CHARACTERS or not self._links.is_form_token(form.get("token", ""), cookie):
            self._ask(request, name, 403, "The page was too old, or its cookie is missing. Try again.")
            return
        query = _query(request)
        mark, scope = query.get(FOR, ""), query.get(SCOPE, "")
        if self._sign_in is not None and "sign_in" in form:
            await self._to_sign_in(request, self._sign_in, name, mark, scope)
            return
        try:
            principal = await self._authenticate({"authorization": f"Bearer {form.get('key', '').strip()}"}, address)
        except GatewayError as error:
            self._ask(request, name, status_of(error), error.message, tuple(error.headers.items()))
            return
        await self._go_on(request, principal, name, mark, scope)

    async def _go_on(
        self, request: HttpRequest, principal: Principal, name: str, mark: str, scope: str, also: Fields = ()
    ) -> None:
        """It is known who they are: on to where they log in."""
        request.user = principal
        await self._count(principal)
        onward = await self._connecting.begin(name, principal, mark, scope)
        kept = f"{self._prefix}-login-{onward.id}={onward.secret}; Max-Age={PENDING_SECONDS:.0f}{self._attributes}"
        host = urlsplit(onward.link).netloc
        body = page.onward(f"On to {_shown(host)}", f"There you log in to {name!r}.", onward.link, "Continue")
        _reply(request, 200, body, page.HEADERS, [("set-cookie", kept), *also, *self._outworn(request, "login")])

    # --- Signing in elsewhere -----------------------------------------------------------------------------------------

    @property
    def _back(self) -> str:
        return f"{self._links.address}{SIGNED_IN_PATH}"

    async def _to_sign_in(self, request: HttpRequest, sign_in: SignIn, name: str, mark: str, scope: str) -> None:
        if max(len(mark), len(scope)) > MAX_QUERY:
            raise CannotConnect("The link is too long.")
        try:
            outward = await sign_in.begin(self._back, name, mark, scope)
        except AuthFailure as failure:
            raise CannotConnect(f"Nobody can sign in now: {failure}.", 502) from None
        cookie = f"{self._prefix}-sign-in-{outward.id}={outward.cookie}"
        kept = f"{cookie}; Max-Age={PENDING_SECONDS:.0f}{self._attributes}"
        body = page.onward(f"On to {_shown(sign_in.name)}", "There you show who you are.", outward.link, "Continue")
        _reply(request, 200, body, page.HEADERS, [("set-cookie", kept), *self._outworn(request, "sign-in")])

    async def _signed_in(self, request: HttpRequest, address: str, sign_in: SignIn) -> None:
        query = _query(request)
        id = sign_in.id(query.get("state", ""))
        cookie = self._cookie(request, f"sign-in-{id}")
        gone = ("set-cookie", f"{self._prefix}-sign-in-{id}=; Max-Age=0{self._attributes}")
        try:
            async with self._attempt(address, f"code: {query.get('code', '')}"):
                found = await sign_in.finish(self._back, query, cookie)
        except AuthFailure as failure:
            raise CannotConnect(f"It cannot be known now who you are: {failure}.", 502) from None
        await self._go_on(request, found.principal, found.server, found.mark, found.scope, [gone])

    # --- And back -----------------------------------------------------------------------------------------------------

    async def _finish(self, request: HttpRequest) -> None:
        query = _query(request)
        id = self._connecting.begun(query.get("state", ""))
        gone = ("set-cookie", f"{self._prefix}-login-{id}=; Max-Age=0{self._attributes}")
        login = await self._connecting.finish(query, self._cookie(request, f"login-{id}"))
        text = "You can close this window, and go back to where you came from."
        body = page.page(f"You are logged in to {_shown(login.server)}", text, good=True)
        _reply(request, 200, body, page.HEADERS, [gone])

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _is_own(self, request: HttpRequest) -> bool:
        """Whether a form comes from a page of this address, as far as the browser says."""
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        return origin in (None, self._links.address, *(f"{scheme}://{host}" for scheme in ("http", "https")))

    def _cookie(self, request: HttpRequest, name: str) -> str:
        morsel = _cookies(request).get(f"{self._prefix}-{name}")
        return morsel.value if morsel is not None else ""

    def _outworn(self, request: HttpRequest, kind: str) -> Fields:
        """Takes away all but the latest of what a browser began and did not end: who tries again and again must not
        come to send more than is taken."""
        begun = [name for name in _cookies(request) if name.startswith(f"{self._prefix}-{kind}-")]
        return [("set-cookie", f"{name}=; Max-Age=0{self._attributes}") for name in begun[: -MAX_BEGUN + 1]]

    def _end(self, request: HttpRequest, status: int, title: str, text: str, also: Fields = ()) -> None:
        if not request.started:
            _reply(request, status, page.page(title, _shown(text), good=False), page.HEADERS, also)


def _cookies(request: HttpRequest) -> SimpleCookie:
    try:
        return SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return SimpleCookie()


class _NoSuchMethod(CannotConnect):
    def __init__(self, allowed: str) -> None:
        super().__init__(f"This page is there for {allowed}.", 405)


def _reply(request: HttpRequest, status: int, body: bytes, headers: Mapping[str, str], also: Fields = ()) -> None:
    kind = headers["content-type"]
    fields = [(name, value) for name, value in headers.items() if name != "content-type"]
    request.reply(status, body, [*fields, *also], kind)


async def _posted(request: HttpRequest) -> dict[str, str]:
    """The fields of a form.

    Raises:
        CannotConnect: it is no form.
        GatewayError: it is too large, or did not come.
    """
    body = await request.read(MAX_BODY)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise CannotConnect(f"Content-Type must be {_FORM}.", 415)
    return _pairs(body.decode("utf-8", "replace"))


def _query(request: HttpRequest) -> dict[str, str]:
    return _pairs(request.query.decode("latin-1"))


def _pairs(text: str) -> dict[str, str]:
    """Of a name that is there twice, the first: nothing is read in two ways."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=50)
    except ValueError:
        raise CannotConnect("There are too many fields.") from None
    return dict(reversed(pairs))


def _shown(text: str) -> str:
    return clipped(harmless(text), 2000)
