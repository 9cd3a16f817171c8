"""A protected MCP server and its authorization server, on one port, whose every answer a test may change."""

from base64 import b64decode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.servers.wire import encode
from tests.upstream.ends import ByteServer, Got, Mcp, byte_server, response, service

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
        }
        answer = self.on.get(path) or answers.get(path)
        nothing: dict[str, Any] = {}
        status, content = answer(got) if answer is not None else ("404 Not Found", nothing)
        await got.send(response(encode(content), status=status))

    async def _mcp(self, got: Got) -> None:
        token = got.headers.get("authorization", "").removeprefix("Bearer ")
        place = f'resource_metadata="{self.origin}/.well-known/oauth-protected-resource/mcp"'
        if token not in self.good:
            challenge = {"WWW-Authenticate": f"Bearer {place}"}
            await got.send(response(b"{}", status="401 Unauthorized", headers=challenge))
        elif got.json()["method"] == "tools/call" and not self.needs <= self.scopes[token]:
            scope = " ".join(sorted(self.needs))
            challenge = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}", {place}'}
            await got.send(response(b"{}", status="403 Forbidden", headers=challenge))
        else:
            await self.mcp(got)

    def resource(self, got: Got) -> Answer:
        return "200 OK", {"resource": self.url, "authorization_servers": [self.origin]}

    def metadata(self, got: Got) -> Answer:
        places = {f"{name}_endpoint": f"{self.origin}/{name}" for name in ("authorization", "token")}
        return "200 OK", {"issuer": self.origin, **places, "code_challenge_methods_supported": ["S256"]}

    def token(self, got: Got) -> Answer:
        form = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
        if "authorization" in got.headers:
            pair = b64decode(got.headers["authorization"].removeprefix("Basic ")).decode()
            form["client"] = unquote(pair)
        self.forms.append(form)
        return "200 OK", self.issue(form.get("scope", ""))

    def issue(self, scope: str = "", **more: Any) -> dict[str, Any]:
        """A new access token."""
        token = f"canary-{next(self._numbers)}"
        self.good.add(token)
        self.scopes[token] = set(scope.split())
        lifetime = {"expires_in": self.lifetime} if self.lifetime is not None else {}
        return {"access_token": token, "token_type": "bearer", **lifetime, **more}


@asynccontextmanager
async def authority(**settings: Any) -> AsyncGenerator[tuple[Authority, ByteServer]]:
    """One that runs until the block ends."""
    script = Authority(**settings)
    async with byte_server(script) as server:
        script.url, script.origin = server.url, server.url.removesuffix("/mcp")
        yield script, server
