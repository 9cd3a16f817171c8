"""The access log of a gateway that runs: what each line says, where it goes, and how its files are rotated."""

import hashlib
import json
import os
import signal
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.interaction._gateway import PATIENT, Gateway, child, config_file, http_gateway, stdio_command
from tests.interaction._http import fields
from tests.interaction._wire import piped, request
from tests.servers.peers import OPENING
from tests.servers.wire import encode
from tests.support import wait_until

pytestmark = pytest.mark.anyio

SECONDS: Final = 30.0
MODERN_CALL: Final = request("tools/call", {"name": "up__test_simple_text", "arguments": {}}, modern=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def served(folder: Path) -> Generator[Gateway]:
    logs = {"log_file": str(folder / "log"), "access_log": {"file": str(folder / "access")}, "log_level": "warning"}
    with http_gateway(folder, {"up": child("tests.servers.everything")}, **logs, **PATIENT) as gateway:
        yield gateway


@asynccontextmanager
async def client(gateway: Gateway) -> AsyncGenerator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=gateway.base, timeout=SECONDS) as made:
        yield made


async def call(http: httpx2.AsyncClient, id: str | bytes | None = None) -> httpx2.Response:
    headers: Any = {**fields(MODERN_CALL), **({"x-request-id": id} if id else {})}
    return await http.post("/mcp", json=MODERN_CALL, headers=headers)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def line_of(path: Path, id: str) -> dict[str, Any]:
    await wait_until(lambda: any(line.get("request_id") == id for line in lines(path)), SECONDS)
    (line,) = [line for line in lines(path) if line.get("request_id") == id]
    return line


async def test_a_line_says_what_a_call_was_and_what_it_took(folder: Path, served: Gateway) -> None:
    async with client(served) as http:
        answer = await call(http, "order-66")
    assert answer.headers["x-request-id"] == "order-66"
    line = await line_of(folder / "access", "order-66")
    assert line["method"], line["target"] == ("tools/call", "up__test_simple_text")
    assert (line["event"], line["outcome"], line["upstream"], line["era"]) == ("request", "ok", "up", "modern")
    assert line["bytes_in"] == len(answer.request.content)
    assert line["bytes_out"] == len(answer.content)
    assert 0 < line["upstream_ms"] <= line["ms"]
    assert 0 <= line["queue_ms"] < line["ms"]
    assert "session" not in line


@pytest.mark.parametrize("given", [None, "a b", "x" * 129, "caf\xe9".encode("latin-1"), '"}{'])
async def test_a_request_that_has_no_usable_id_is_given_one(
    folder: Path, served: Gateway, given: str | bytes | None
) -> None:
    async with client(served) as http:
        ids = [(await call(http, given)).headers["x-request-id"] for _ in range(2)]
    assert len({*ids, given}) == 3
    for id in ids:
        await line_of(folder / "access", id)


async def test_errors_before_a_call_have_an_id_as_well(served: Gateway) -> None:
    async with client(served) as http:
        answers = [
            await http.post("/mcp", content=b"{", headers={"content-type": "application/json"}),
            await http.get("/nothing"),
            await http.get("/health", headers={"x-request-id": "mine"}),
            await http.get("/mcp", headers={"host": "evil.example"}),
        ]
    assert [answer.status_code for answer in answers] == [400, 404, 200, 421]
    assert len({answer.headers["x-request-id"] for answer in answers}) == 4
    assert answers[2].headers["x-request-id"] == "mine"


async def test_a_session_is_named_by_what_does_not_open_it(folder: Path, served: Gateway) -> None:
    async with client(served) as http:
        opening = request("initialize", OPENING)
        opened = await http.post("/mcp", json=opening, headers={**fields(opening), "x-request-id": "opening"})
    id = opened.headers["mcp-session-id"]
    line = await line_of(folder / "access", "opening")
    assert line["session"] == hashlib.sha256(id.encode()).hexdigest()[:16]
    assert id not in (folder / "access").read_text()


@pytest.mark.parametrize("how", ["renamed", "renamed and told", "truncated"])
async def test_rotated_files_lose_nothing(folder: Path, served: Gateway, how: str) -> None:
    access, old = folder / "access", folder / f"access.{how}"
    async with client(served) as http:
        first = (await call(http)).headers["x-request-id"]
        await line_of(access, first)
        if how == "truncated":
            old.write_bytes(access.read_bytes())
            os.truncate(access, 0)
        else:
            access.rename(old)
        if how == "renamed and told":
            served.process.send_signal(signal.SIGHUP)

        async def arrives_in_the_new_one() -> bool:
            id = (await call(http)).headers["x-request-id"]
            await wait_until(lambda: id in access.read_text() + old.read_text() if access.exists() else True, SECONDS)
            return access.exists() and id in access.read_text()

        await wait_until(arrives_in_the_new_one, SECONDS)
    assert first in old.read_text()
    assert not access.read_bytes().startswith(b"\0"), "written to its end as it is now"
    assert lines(access)
    assert lines(old)


async def test_the_level_can_be_changed_while_it_runs(folder: Path, served: Gateway) -> None:
    log = folder / "log"

    def chatter() -> int:
        return sum(line["level"] == "info" for line in lines(log))

    async with client(served) as http:
        assert (await http.get("/log-level")).json() == {
            "level": "warning",
            "configured": "warning",
            "seconds_left": None,
        }
        assert chatter() == 0
        answer = await http.put("/log-level", json={"level": "info", "seconds": 3600})
        assert answer.json()["level"] == "info"
        assert 3590 < answer.json()["seconds_left"] <= 3600
        await http.post("/upstreams/up/restart")
        await wait_until(lambda: chatter() > 0, SECONDS)
        assert (await http.put("/log-level", json={"level": None})).json()["level"] == "warning"
        await wait_until(lambda: lines(log)[-1]["event"] == "log level changed", SECONDS)
        said = chatter()
        await http.post("/upstreams/up/restart")
        assert (await http.put("/log-level", json={"level": "warning", "seconds": 0.01})).status_code == 200
        await wait_until(lambda: lines(log)[-1]["event"] == "log level as configured again", SECONDS)
        assert chatter() == said
        assert (await http.put("/log-level", json={"level": "loud"})).status_code == 400


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"host": "evil.example"}, "{}", (421, "forbidden")),
        ({}, "no JSON", (400, "malformed")),
        ({"mcp-session-id": "never was", "mcp-protocol-version": "2025-11-25"}, "ping", (404, "no_session")),
        ({**fields(MODERN_CALL), "Mcp-Name": "another"}, json.dumps(MODERN_CALL), (400, "malformed")),
        ({}, json.dumps(request("initialize", {"protocolVersion": 1})), (200, "invalid_params")),
    ],
)
async def test_a_request_that_is_refused_before_it_is_a_call_leaves_a_line_too(
    folder: Path, served: Gateway, headers: dict[str, str], body: str, expected: tuple[int, str]
) -> None:
    text = json.dumps(request("ping")) if body == "ping" else body
    sent = {"content-type": "application/json", "accept": "application/json, text/event-stream", **headers}
    async with client(served) as http:
        answer = await http.post("/mcp", content=text, headers=sent)
    line = await line_of(folder / "access", answer.headers["x-request-id"])
    assert (answer.status_code, line["outcome"]) == expected
    assert (line["http"], line["status"], line["address"]) == ("POST /mcp", expected[0], "127.0.0.1")
    assert line["bytes_in"] in (0, len(text))  # it need not be read
    assert line["bytes_out"] == len(answer.content)


async def test_a_connection_that_is_closed_because_of_what_arrives_leaves_a_line(folder: Path, served: Gateway) -> None:
    host, _, port = served.base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection:
        connection.sendall(b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * 100_000)
        with suppress(ConnectionError):
            while connection.recv(4096):
                pass

    async def is_said() -> bool:
        return any(line.get("status") == 431 and line["address"] == "127.0.0.1" for line in lines(folder / "access"))

    await wait_until(is_said, SECONDS)


async def test_what_is_no_business_of_mcp_leaves_none(folder: Path, served: Gateway) -> None:
    async with client(served) as http:
        answer = await http.get("/nothing", headers={"host": "evil.example"})
        await call(http, "the-next")
    await line_of(folder / "access", "the-next")
    assert answer.headers["x-request-id"] not in {line.get("request_id") for line in lines(folder / "access")}


def test_lines_of_an_agent_on_stdio_have_bytes(tmp_path: Path) -> None:
    access = tmp_path / "access"
    settings: dict[str, Any] = {"access_log": {"file": str(access)}, "log_level": "warning", **PATIENT}
    config = config_file(tmp_path, {"up": child("tests.servers.everything")}, **settings)
    asked = request("initialize", OPENING)
    with piped(stdio_command(config)) as pipe:
        pipe.send(asked)
        answer = pipe.line()
        pipe.stdin.close()
        assert pipe.process.wait(SECONDS) == 0
    (line,) = [line for line in lines(access) if line["method"] == "initialize"]
    assert (line["bytes_in"], line["bytes_out"]) == (len(encode(asked)), len(answer))
