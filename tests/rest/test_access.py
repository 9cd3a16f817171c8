"""Who may ask for what."""

import pytest

from tests.rest.house import House

pytestmark = pytest.mark.anyio

WHO = (None, "dora", "carol", "alice")
"""Nobody; somebody without any scope; with `read`; with all."""

TABLE = [
    ("GET", "/health", (200, 200, 200, 200)),
    ("GET", "/readyz", (200, 200, 200, 200)),
    ("GET", "/metrics", (200, 200, 200, 200)),
    ("GET", "/docs", (200, 200, 200, 200)),
    ("GET", "/docs/start.js", (200, 200, 200, 200)),
    ("GET", "/openapi.json", (200, 200, 200, 200)),
    ("GET", "/nowhere", (401, 404, 404, 404)),
    ("POST", "/agents/register", (401, 400, 400, 400)),
    ("GET", "/agents/sessions", (401, 200, 200, 200)),
    ("DELETE", "/agents/sessions/none", (401, 404, 404, 404)),
    ("GET", "/upstreams", (401, 403, 200, 200)),
    ("GET", "/upstreams/time", (401, 403, 200, 200)),
    ("POST", "/upstreams/none/restart", (401, 403, 403, 404)),
    ("GET", "/connections", (401, 200, 200, 200)),
    ("DELETE", "/connections/none", (401, 404, 404, 404)),
    ("GET", "/config/info", (401, 200, 200, 200)),
    ("GET", "/status", (401, 403, 200, 200)),
    ("GET", "/log-level", (401, 403, 403, 200)),
    ("PUT", "/log-level", (401, 403, 403, 400)),
]


@pytest.mark.parametrize(("method", "path", "statuses"), TABLE, ids=lambda each: str(each))
async def test_who_may(home: House, method: str, path: str, statuses: tuple[int, ...]) -> None:
    assert tuple([(await home.ask(who, method, path)).status_code for who in WHO]) == statuses


async def test_every_endpoint_is_in_the_table(home: House) -> None:
    described = (await home.ask(None, "GET", "/openapi.json")).json()["paths"]
    tried = {(method.lower(), path.split("/")[1], path.count("/")) for method, path, _ in TABLE}
    for path, operations in described.items():
        for method in operations:
            assert (method, path.split("/")[1], path.count("/")) in tried, f"{method} {path}"


async def test_a_missing_scope_is_named(home: House) -> None:
    answer = await home.ask("carol", "POST", "/upstreams/time/restart")
    assert answer.json()["error"]["code"] == "insufficient_scope"
    assert "admin" in answer.json()["error"]["message"]
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="admin"'


@pytest.mark.parametrize("path", ["/agents/sessions", "/upstreams", "/config/info"])
async def test_a_bad_credential_is_refused(home: House, path: str) -> None:
    for credential in ({"x-api-key": "mallory"}, {"x-agent-token": "a.b.c"}):
        answer = await home.ask(None, "GET", path, credential)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")
