"""What every endpoint has in common: bounded requests, errors in one shape, no defect shown."""

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.rest.shell import MAX_BODY
from gateway.upstream.upstream import Upstream
from tests.rest.house import BROKEN, House, house

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
DIGITS = b'{"agent_name":' + b"9" * 60_000 + b"}"
DEEP = b'{"agent_name":' + b"[" * 60_000


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "code"),
    [
        ("GET", "/nowhere", {}, b"", 404, "not_found"),
        ("GET", "/health/", {}, b"", 404, "not_found"),
        ("GET", "/docs/../../etc/passwd", {}, b"", 404, "not_found"),
        ("GET", "/docs/%2e%2e%2fpage.html", {}, b"", 404, "not_found"),
        ("POST", "/health", {}, b"", 405, "method_not_allowed"),
        ("GET", "/agents/register", {}, b"", 405, "method_not_allowed"),
        ("POST", "/agents/register", {"content-type": "text/plain"}, b"{}", 415, "unsupported_media_type"),
        ("POST", "/agents/register", {}, b"{}", 415, "unsupported_media_type"),
        ("POST", "/agents/register", JSON, b"{", 400, "invalid_params"),
        ("POST", "/agents/register", JSON, b"\xff{}", 400, "bad_request"),
        ("POST", "/agents/register", JSON, DEEP, 400, "bad_request"),
        ("POST", "/agents/register", JSON, DIGITS, 400, "bad_request"),
        ("POST", "/agents/register", JSON, b"[]", 400, "invalid_params"),
        ("POST", "/agents/register", JSON, b"", 400, "invalid_params"),
        ("POST", "/agents/register", JSON, b" " * (MAX_BODY + 1), 413, "payload_too_large"),
        ("DELETE", "/agents/sessions/none", {}, b"", 404, "not_found"),
    ],
)
async def test_errors_have_one_shape(
    home: House, method: str, path: str, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    answer = await home.ask("alice", method, path, headers, content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/json")
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/health", "GET, HEAD"),
        ("/agents/register", "POST"),
        ("/agents/sessions/x", "DELETE"),
        ("/upstreams/time", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(home: House, path: str, allowed: str) -> None:
    answer = await home.ask("alice", "PUT", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_what_is_wrong_is_said_field_by_field(home: House) -> None:
    wish = {"agent_name": "<script>", "requested_scopes": ["read", "root"], "more": 1}
    answer = await home.ask("alice", "POST", "/agents/register", json=wish)
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["error"]["fields"]] == [
        "agent_name",
        "requested_scopes.1",
        "more",
    ]
    assert "<script>" not in answer.text


async def test_a_body_without_a_length_is_bounded_too(home: House) -> None:
    async def endless() -> AsyncGenerator[bytes]:
        for _ in range(MAX_BODY // 1024 + 1):
            yield b" " * 1024

    answer = await home.ask("alice", "POST", "/agents/register", JSON, content=endless())
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/health", "/nowhere", "/docs", "/docs/swagger-ui.css", "/upstreams"])
async def test_browsers_are_told_to_be_careful(home: House, path: str) -> None:
    headers = (await home.ask("alice", "GET", path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == ("max-age=3600" if path.endswith(".css") else "no-store")


async def test_a_defect_is_not_shown(tmp_path: Path) -> None:
    def restart(upstream: Upstream) -> None:
        raise RuntimeError("the inside of the gateway")

    async with house(tmp_path, {"broken": BROKEN}, restart=restart) as home:
        with capture_logs() as logs:
            answer = await home.ask("alice", "POST", "/upstreams/broken/restart")
        assert answer.status_code == 500
        assert [each["path"] for each in logs if each["log_level"] == "error"] == ["/upstreams/broken/restart"]
        assert json.loads(answer.content) == {"error": {"code": "internal_error", "message": "Internal error"}}
        assert (await home.ask(None, "GET", "/health")).status_code == 200
