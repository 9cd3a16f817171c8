"""A protected MCP server and its authorization server, on one port, whose every answer a test may change."""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.servers.wire import encode
from tests.upstream.ends import ByteServer, Got, Mcp, Script, byte_server, response, service

Answer = tuple[str, Any]
"""`(status, what its JSON is)`."""


@dataclass
class Authority:
    """Both, as a script of a `byte_server`."""

    mcp: Mcp = field(default_factory=lambda: Mcp(service("modern")))
    lifetime: float | None = 3600
    """Of access tokens."""
    good: set[str] = field(default_factory=set[str])
    """Access tokens that are accepted."""
    needs: set[str] = field(default_factory=set[str])
    """Scopes that a tool call takes."""
    scopes: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    """Access token → what it grants."""
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    """What the token endpoint was asked; with `client` from HTTP Basic."""
    on: dict[str, Callable[[Got], Answer]] = field(default_factory=dict[str, Callable[[Got], Answer]])
    """Path → another answer than usual."""
    url: str = ""
    origin: str = ""
    before: dict[str, Script] = field(default_factory=dict[str, Script])
    """Path → what happens before it is answered."""
    is_silent: bool = False
    """Whether a refusal does not say what is wanted."""
    says: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the authorization server says of itself besides."""
    codes: dict[str, str] = field(default_factory=dict[str, str])
    """Code → the challenge that it was asked for with."""
    refresh: set[str] = field(default_factory=set[str])
    """Refresh tokens that are good."""
    registered: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    forgotten: set[str] = field(default_factory=set[str])
    """Clients (`client_id`) that the token endpoint does not know any more."""
    revoked: list[str] = field(default_factory=list[str])
    _numbers: Any = field(default_factory=lambda: count(1))

    async def __call__(self, got: Got) -> None:
        path = got.target.partition("?")[0]
        if path == "/mcp" and path not in self.on:
            await self._mcp(got)
            return
        answers = {
            "/.well-known/oauth-protected-resource/mcp": self.resource,
            "/.well-known/oauth-authorization-server": self.metadata,
            "/token": self.token,
            "/register": self.register,
            "/revocation": self.revoke,
        }
        if path in self.before:
            await self.before[path](got)
        answer = self.on.get(path) or answers.get(path)
        nothing: dict[str, Any] = {}
        status, content = answer(got) if answer is not None else ("404 Not Found", nothing)
        await got.send(response(encode(content), status=status))

    async def _mcp(self, got: Got) -> None:
        token = got.headers.get("authorization", "").removeprefix("Bearer ")
        place = f'resource_metadata="{self.origin}/.well-known/oauth-protected-resource/mcp"'
        if token not in self.good:
            challenge = {} if self.is_silent else {"WWW-Authenticate": f"Bearer {place}"}
            await got.send(response(b"{}", status="401 Unauthorized", headers=challenge))
        elif got.method == "POST" and got.json()["method"] == "tools/call" and not self.needs <= self.scopes[token]:
            scope = " ".join(sorted(self.needs))
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}", {place}'}
            await got.send(response(b"{}", status="403 Forbidden", headers=challenge))
        else:
            await self.mcp(got)

    def resource(self, got: Got) -> Answer:
        return "200 OK", {"resource": self.url, "authorization_servers": [self.origin]}

    def metadata(self, got: Got) -> Answer:
        names = {
            "authorization": "authorization",
            "token": "token",
            "registration": "register",
            "revocation": "revocation",
        }
        places = {f"{name}_endpoint": f"{self.origin}/{path}" for name, path in names.items()}
        fixed = {"issuer": self.origin, "code_challenge_methods_supported": ["S256"]}
        return "200 OK", {**fixed, **places, **self.says}

    def token(self, got: Got) -> Answer:
        form = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
        if "authorization" in got.headers:
            pair = b64decode(got.headers["authorization"].removeprefix("Basic ")).decode()
            form["client"] = unquote(pair)
        self.forms.append(form)
        if form.get("client_id") in self.forgotten:
            return "401 Unauthorized", {"error": "invalid_client", "error_description": "no such client"}
        match form["grant_type"]:
            case "authorization_code":
                digest = hashlib.sha256(form["code_verifier"].encode()).digest()
                if self.codes.pop(form["code"], None) != urlsafe_b64encode(digest).decode().rstrip("="):
                    return "400 Bad Request", {"error": "invalid_grant"}
                return "200 OK", self.issue("read", refresh_token=self.renewable())
            case "refresh_token":
                if form["refresh_token"] not in self.refresh:
                    return "400 Bad Request", {"error": "invalid_grant", "error_description": "used before"}
                self.refresh.remove(form["refresh_token"])
                return "200 OK", self.issue("read", refresh_token=self.renewable())
            case _:
                return "200 OK", self.issue(form.get("scope", ""))

    def register(self, got: Got) -> Answer:
        self.registered.append(got.json())
        return "201 Created", {**got.json(), "client_id": f"client-{len(self.registered)}"}

    def revoke(self, got: Got) -> Answer:
        self.revoked.append(parse_qs(got.body.decode())["token"][0])
        return "200 OK", {}

    def renewable(self) -> str:
        """A new refresh token, which is good once."""
        token = f"canary-refresh-{next(self._numbers)}"
        self.refresh.add(token)
        return token

    def approve(self, link: str) -> dict[str, str]:
        """What a browser brings back that opened the link."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
        code = f"canary-code-{next(self._numbers)}"
        self.codes[code] = query["code_challenge"]
        return {"code": code, "state": query["state"]}

    def issue(self, scope: str = "", **more: Any) -> dict[str, Any]:
        """A new access token."""
        token = f"canary-{next(self._numbers)}"
        self.good.add(token)
        self.scopes[token] = set(scope.split())
        lifetime = {"expires_in": self.lifetime} if self.lifetime is not None else {}
        granted = {"scope": scope} if scope else {}
        return {"access_token": token, "token_type": "bearer", **lifetime, **granted, **more}


@asynccontextmanager
async def authority(**settings: Any) -> AsyncGenerator[tuple[Authority, ByteServer]]:
    """One that runs until the block ends."""
    script = Authority(**settings)
    async with byte_server(script) as server:
        script.url, script.origin = server.url, server.url.removesuffix("/mcp")
        yield script, server
