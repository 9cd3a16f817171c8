"""An API as an upstream, at a server whose every byte a test writes: proof, redirects, bounds, and odd answers."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from gateway.config.models import Config, ServerConfig
from gateway.errors import GatewayError, UpstreamError, UpstreamOversized, UpstreamProtocolError
from gateway.logins.logins import Logins
from gateway.logins.vault import Vault
from gateway.openapi.model import Compiled, CompileOptions
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent
from gateway.telemetry.trace_context import FIELDS
from gateway.upstream.api import source, web
from gateway.upstream.api.compiler import compile_apart
from gateway.upstream.credentials import Challenge, Credentials
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.upstream import Upstream
from tests.logins.authority import Authority, authority
from tests.openapi.documents import Node, document
from tests.support import wait_until
from tests.upstream.ends import ByteServer, Got, Hears, ask, byte_server, nobody, response, supervised

pytestmark = pytest.mark.anyio

Answers = dict[str, Callable[[Got], bytes]]
"""Path → the response."""


@pytest.fixture
async def guardian(anyio_backend: object) -> AsyncGenerator[Guardian]:
    guardian = Guardian()
    yield guardian
    await guardian.aclose()


def no_vault() -> Vault:
    raise AssertionError("a machine has no login to keep")


OPERATIONS: Node = {
    "/a": {"get": {"operationId": "get"}, "post": {"operationId": "post"}, "head": {"operationId": "head"}},
    "/a/{id}": {"get": {"operationId": "one"}},
}


@asynccontextmanager
async def api(
    answers: Answers, guardian: Guardian, tmp_path: Path, **more: Any
) -> AsyncGenerator[tuple[Upstream, ByteServer]]:
    """An API, and the upstream that it is."""
    path = tmp_path / "api.json"
    path.write_text(json.dumps(document(OPERATIONS)))

    async def answer(got: Got) -> None:
        await got.send(answers[got.target.partition("?")[0]](got))

    async with byte_server(answer) as server:
        own = {"openapi": {"document": str(path), "resources": ["*"]}, "url": server.url.removesuffix("/mcp"), **more}
        upstream = Upstream("api", ServerConfig.model_validate(own), Hears(), guardian)
        async with supervised(upstream):
            yield upstream, server


async def call(upstream: Upstream, tool: str = "get", **arguments: Any) -> dict[str, Any]:
    return await ask(upstream, "tools/call", {"name": tool, "arguments": arguments})


def text(result: dict[str, Any]) -> str:
    return result["content"][0]["text"]


def say(words: str, status: str = "200 OK", **headers: str) -> Callable[[Got], bytes]:
    return lambda got: response(words.encode(), status, headers, "text/plain")


# --- Requests ---------------------------------------------------------------------------------------------------------


async def test_a_request_has_what_http_needs_and_nothing_of_mcp(guardian: Guardian, tmp_path: Path) -> None:
    async with api({"/a": say("ok")}, guardian, tmp_path, headers={"X-Own": "v"}) as (upstream, server):
        await call(upstream)
        await call(upstream, "post")
        get, post = server.got
        assert get.headers == {
            "host": server.url.removesuffix("/mcp").removeprefix("http://"),
            "user-agent": ANY,
            "accept-encoding": "identity",
            "x-own": "v",
            "accept": "*/*",
        }
        assert post.headers["content-length"] == "0"
        assert {each.connection for each in server.got} == {1}, "over the pool"


async def test_a_call_that_is_traced_says_so(guardian: Guardian, tmp_path: Path) -> None:
    from gateway.openapi.requests import ApiRequest
    from gateway.upstream.transport.api import ApiDispatcher
    from gateway.upstream.transport.pending import Pending

    async with api({"/a": say("ok")}, guardian, tmp_path) as (upstream, _):
        await call(upstream)
        link = upstream.links.link_now(nobody())
        assert link is not None
        assert link.session is not None
        dispatcher = link.session.connection
        assert isinstance(dispatcher, ApiDispatcher)
        pending = Pending("api", 1, "tools/call", asyncio.get_running_loop().create_future())
        pending.headers = {**dict.fromkeys(FIELDS, "v"), "mcp-method": "tools/call"}
        sent = dispatcher.encoded(ApiRequest("GET", "/a"), pending).decode()
        assert all(f"\r\n{field}: v\r\n" in sent for field in FIELDS)
        assert "mcp-" not in sent.partition("\r\n\r\n")[0].replace("mcp-gateway/", "")


# --- Answers ----------------------------------------------------------------------------------------------------------


async def test_head_has_no_body_to_wait_for(guardian: Guardian, tmp_path: Path) -> None:
    def head(got: Got) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"

    async with api({"/a": head}, guardian, tmp_path) as (upstream, _):
        assert text(await call(upstream, "head")) == "HTTP 200 OK"


async def test_what_is_too_large_or_compressed_is_an_error(guardian: Guardian, tmp_path: Path) -> None:
    answers: Answers = {"/a": say("x" * 2000), "/a/1": say("x", **{"Content-Encoding": "gzip"})}
    async with api(answers, guardian, tmp_path, max_response_bytes=1024) as (upstream, _):
        with pytest.raises(UpstreamOversized):
            await call(upstream)
        with pytest.raises(UpstreamProtocolError, match="compressed"):
            await call(upstream, "one", id="1")


async def test_an_endless_error_is_cut(guardian: Guardian, tmp_path: Path) -> None:
    async with api({"/a": say("x" * 1_000_000, "500 Oops")}, guardian, tmp_path) as (upstream, _):
        result = await call(upstream)
        assert result["isError"] is True
        assert len(text(result)) < 20_000


async def test_resources_are_read_again_and_errors_are_errors(guardian: Guardian, tmp_path: Path) -> None:
    tries: list[Got] = []

    def sometimes(got: Got) -> bytes:
        tries.append(got)
        return response(b"later", "503 Later") if len(tries) == 1 else response(b"{}")

    answers: Answers = {"/a": sometimes, "/a/1": say("gone", "404 Not Found"), "/a/2": say("no", "403 Forbidden")}
    async with api(answers, guardian, tmp_path) as (upstream, _):
        read = await ask(upstream, "resources/read", {"uri": "openapi://api/a"})
        assert read["contents"][0]["text"] == "{}"
        assert len(tries) == 2
        for uri, code, words in (("1", -32002, "gone"), ("2", -32603, "no"), ("/", -32002, "not found")):
            with pytest.raises(UpstreamError, match=words) as caught:
                await ask(upstream, "resources/read", {"uri": f"openapi://api/a/{uri}"})
            assert caught.value.code == code


# --- Redirects --------------------------------------------------------------------------------------------------------


async def test_redirects(guardian: Guardian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    async def elsewhere(url: str, headers: Any, *args: Any, **more: Any) -> web.WebAnswer:
        asked.append((url, headers))
        return web.WebAnswer(url, 200, {b"content-type": b"text/plain"}, b"from elsewhere")

    monkeypatch.setattr(web, "get", elsewhere)
    location = ""

    def redirect(got: Got) -> bytes:
        status = "303 See Other" if got.method == "POST" else "302 Found"
        return response(status=status, headers={"Location": location})

    answers: Answers = {"/a": redirect, "/a/1": say("here")}
    async with api(answers, guardian, tmp_path, headers={"Authorization": "canary", "Cookie": "c"}) as (
        upstream,
        server,
    ):
        location = "/a/1"
        assert text(await call(upstream)) == "here"
        assert text(await call(upstream, "post")) == "here"
        assert [got.method for got in server.got] == ["GET", "GET", "POST", "GET"]
        location = "https://files.example/x?signature=1"
        assert text(await call(upstream)) == "from elsewhere"
        assert asked == [("https://files.example/x?signature=1", {"accept": "*/*"})]
        location = "/a"
        assert "HTTP 302" in text(await call(upstream)), "in a circle"


@pytest.mark.parametrize("status", ["301 Moved", "307 Temporary", "308 Permanent"])
async def test_what_changes_something_is_not_sent_elsewhere(
    guardian: Guardian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr(web, "get", None)
    away = response(status=status, headers={"Location": "https://evil.example/"})
    async with api({"/a": lambda got: away}, guardian, tmp_path) as (upstream, _):
        result = await call(upstream, "post")
        assert result["isError"] is True
        assert "Location: https://evil.example/" in text(result)


async def test_credentials_for_a_document_stay_at_its_origin() -> None:
    seen: list[dict[str, str]] = []

    async def target(got: Got) -> None:
        seen.append(got.headers)
        await got.send(response(b"{}"))

    async with byte_server(target) as other:

        async def first(got: Got) -> None:
            seen.append(got.headers)
            location = "/there" if got.target == "/near" else other.url
            await got.send(response(status="302 Found", headers={"Location": location}))

        async with byte_server(first) as server:
            near = server.url.removesuffix("/mcp") + "/near"
            hosts = ["127.0.0.1"]
            answer = await web.get(near, {}, 1000, 5, private_hosts=hosts, credentials={"authorization": "canary"})
            assert answer.body == b"{}"
            assert answer.url == other.url
            assert ["authorization" in headers for headers in seen] == [True, True, False]
            with pytest.raises(web.FetchFailed, match="out of bounds"):
                await web.get(near, {}, 1000, 5)
            with pytest.raises(web.FetchFailed, match="more than 1 bytes"):
                await web.get(other.url, {}, 1, 5, private_hosts=hosts)


# --- Proof ------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def protected(server: Authority, guardian: Guardian, tmp_path: Path) -> AsyncGenerator[Upstream]:
    """An API that wants a token of an authorization server."""

    def guard(got: Got) -> tuple[str, Any]:
        token = got.headers.get("authorization", "").removeprefix("Bearer ")
        return ("200 OK", {"token": token}) if token in server.good else ("401 Unauthorized", {"error": "who?"})

    server.on["/a"] = guard
    path = tmp_path / "api.json"
    path.write_text(json.dumps(document(OPERATIONS)))
    own = {"client_id": "gw", "client_secret": "secret of ours", "token_endpoint": f"{server.origin}/token"}
    entry = ServerConfig.model_validate(
        {"openapi": str(path), "url": server.origin, "auth": {"client_credentials": own}}
    )
    logins = Logins(Config(servers={"api": entry}, path=Path("servers.yaml")), no_vault)
    upstream = Upstream("api", entry, Hears(), guardian, credentials=logins.source("api", entry))
    async with supervised(upstream) as tasks:
        tasks.start_soon(logins.run)
        yield upstream


async def test_auth_proves_who_asks_and_is_renewed(guardian: Guardian, tmp_path: Path) -> None:
    async with authority() as (server, _), protected(server, guardian, tmp_path) as upstream:
        assert (await call(upstream))["structuredContent"] == {"token": "canary-1"}
        server.good.clear()
        assert (await call(upstream, "post"))["structuredContent"] == {"token": "canary-2"}, "it was refused, not done"
        server.good.clear()
        server.on["/token"] = lambda got: ("503 Service Unavailable", {})
        with pytest.raises(GatewayError, match="HTTP 503"):
            await call(upstream)


async def test_without_auth_a_401_is_the_apis_answer(guardian: Guardian, tmp_path: Path) -> None:
    told: list[str] = []
    refusal = response(b'{"error":"who?"}', "401 Unauthorized", {"WWW-Authenticate": "Bearer"})
    async with api({"/a": lambda got: refusal}, guardian, tmp_path) as (upstream, _):
        upstream.on_unauthorized = told.append
        result = await call(upstream)
        assert result["isError"] is True
        assert text(result) == 'HTTP 401 Unauthorized\n{"error":"who?"}'
        assert told == ["api"], "so that secrets are read again"
        assert upstream.status.state is State.READY


class Each:
    """Whose proof is whose."""

    is_personal = True
    has_own_lists = False

    def of(self, principal: Principal | None) -> Credentials:
        return Own(principal.id if principal is not None else "")


class Own:
    """One principal's proof."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": self._name}

    async def prepare(self) -> None: ...

    async def look(self) -> None: ...

    async def refused(self, challenge: Challenge) -> bool:
        return False

    def follow(self, on_change: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


async def test_each_principal_has_a_proof_of_their_own_and_the_document_is_one(
    guardian: Guardian, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[bytes] = []

    async def counted(data: bytes, options: CompileOptions) -> list[Compiled]:
        compiled.append(data)
        return await compile_apart(data, options)

    monkeypatch.setattr(source, "compile_apart", counted)

    async def answer(got: Got) -> None:
        await got.send(response(got.headers.get("authorization", "").encode(), type="text/plain"))

    path = tmp_path / "api.json"
    path.write_text(json.dumps(document(OPERATIONS)))
    async with byte_server(answer) as server:
        entry = ServerConfig.model_validate({"openapi": str(path), "url": server.url, "auth": {"login": "each"}})
        upstream = Upstream("api", entry, Hears(), guardian, credentials=Each())
        async with supervised(upstream):
            await wait_until(lambda: upstream.status.state is State.READY, 20)
            for name in ("ada", "bob", "ada"):
                agent = ConnectedAgent(Principal(name), None, "2026-07-28")
                params: dict[str, Any] = {"name": "get", "arguments": {}}
                assert text(await ask(upstream, "tools/call", params, agent=agent)) == name
    assert len(compiled) == 1


# --- Where it is ------------------------------------------------------------------------------------------------------


async def test_a_document_of_the_network_may_not_choose_a_server_of_ours(guardian: Guardian) -> None:
    async def answer(got: Got) -> None:
        port = got.headers["host"].rpartition(":")[2]
        servers = [{"url": f"http://localhost:{port}"}]
        await got.send(response(json.dumps(document(OPERATIONS, servers=servers)).encode()))

    async with byte_server(answer) as server:
        entry = ServerConfig.model_validate({"openapi": {"document": server.url, "use_servers": True}})
        upstream = Upstream("api", entry, Hears(), guardian)
        async with supervised(upstream):
            with pytest.raises(GatewayError, match="an address of this machine"):
                await call(upstream)
            assert [got.target for got in server.got] == ["/mcp"], "its document, and no more"


async def test_a_lazy_api_is_there_when_it_is_called(guardian: Guardian, tmp_path: Path) -> None:
    async with api({"/a": say("ok")}, guardian, tmp_path, lazy=True) as (upstream, _):
        await wait_until(lambda: upstream.status.state is State.STOPPED and upstream.listing is not None, 20)
        assert text(await call(upstream)) == "ok"


async def test_etags(guardian: Guardian) -> None:
    conditions: list[str | None] = []

    async def answer(got: Got) -> None:
        conditions.append(got.headers.get("if-none-match"))
        if got.headers.get("if-none-match") == '"1"':
            await got.send(response(status="304 Not Modified", headers={"ETag": '"1"'}))
        else:
            await got.send(response(json.dumps(document(OPERATIONS)).encode(), headers={"ETag": '"1"'}))

    async with byte_server(answer) as server:
        own = {"openapi": {"document": server.url, "refresh": "20ms"}, "url": "http://127.0.0.1:9"}
        upstream = Upstream("api", ServerConfig.model_validate(own), Hears(), guardian)
        async with supervised(upstream):
            await wait_until(lambda: len(conditions) >= 3, 20)
            assert conditions[:3] == [None, '"1"', '"1"']
            assert upstream.api is not None
            known = upstream.api.definition
            await wait_until(lambda: len(conditions) >= 5, 20)
            assert upstream.api.definition is known
