"""What was opened with a credential that expires ends when it does, and nothing else."""

import json
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from http.client import HTTPResponse
from itertools import islice
from typing import Final

import anyio.from_thread
import pytest

from gateway.access.expiry import until_expiry
from gateway.request import Principal
from tests.access.door import Door, http
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import events, post, posted, sent
from tests.interaction._wire import INITIALIZED, request
from tests.oauth.local_issuer import LocalIssuer, claims_of, local_issuer
from tests.servers.peers import OPENING
from tests.support import free_port, wait_until

SECONDS: Final = 4
"""How long a token is good here: long enough to open something with it on a busy machine."""
STREAM: Final = {"Accept": "text/event-stream"}
LISTEN: Final = request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, id=5, modern=True)
ADD: Final = {"name": "all__add_tool", "arguments": {"name": "added"}}


@pytest.fixture(scope="module")
def issuer() -> Generator[LocalIssuer]:
    """It listens in a thread of its own."""
    with (
        anyio.from_thread.start_blocking_portal() as portal,
        portal.wrap_async_context_manager(local_issuer()) as issuer,
    ):
        yield issuer


@pytest.fixture(scope="module")
def door(issuer: LocalIssuer, tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    folder = tmp_path_factory.mktemp("expiry")
    port, keys = free_port(), folder / "keys.json"
    keys.write_text(json.dumps([{"id": "alice", "key": "key-alice", "owner": "alice"}]))
    oauth = {"issuer": issuer.url, "resource": f"http://127.0.0.1:{port}/mcp", "allow_private": True, "leeway": "2s"}
    auth = {"enabled": True, "oauth": oauth, "api_keys_file": str(keys), "agent_tokens": {"lifetime": f"{SECONDS}s"}}
    servers = {"all": child("tests.servers.everything")}
    with http_gateway(folder, servers, port=port, auth=auth, keepalive=0.2, **PATIENT) as gateway:
        assert post(f"{gateway.base}/mcp", request("tools/list", id=1), {"X-Api-Key": "key-alice"})[0] == 200
        yield Door(gateway.base, folder)


@pytest.fixture
def bearer(issuer: LocalIssuer, door: Door) -> Callable[[float], dict[str, str]]:
    """A new token of the same person, by the seconds until it expires."""

    def make(seconds: float) -> dict[str, str]:
        now = time.time()
        times = {"iat": int(now) - 60, "nbf": int(now) - 60, "exp": now + seconds}
        return {"Authorization": f"Bearer {issuer.key.sign(claims_of(issuer.url, aud=f'{door.base}/mcp', **times))}"}

    return make


def open_session(door: Door, credential: dict[str, str]) -> dict[str, str]:
    url = f"{door.base}/mcp"
    with posted(url, request("initialize", OPENING), credential) as response:
        session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
    assert post(url, INITIALIZED, credential | session) == (202, None)
    return session


def open_all(stack: ExitStack, door: Door, credential: dict[str, str]) -> list[HTTPResponse]:
    """Everything that stays open: a listen stream, an old event stream, a session's standing one."""
    opened = [
        stack.enter_context(posted(f"{door.base}/mcp", LISTEN, credential)),
        stack.enter_context(sent("GET", f"{door.base}/sse", headers=credential | STREAM)),
        stack.enter_context(
            sent("GET", f"{door.base}/mcp", headers=credential | open_session(door, credential) | STREAM)
        ),
    ]
    assert [each.status for each in opened] == [200] * len(opened)
    return opened


def all_of(stream: HTTPResponse) -> list[bytes]:
    """Its lines, to the last."""
    lines = list(islice(stream, 200))
    assert len(lines) < 200, "it does not end"
    return lines


def agent_token(door: Door) -> dict[str, str]:
    made = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers={"X-Api-Key": "key-alice"})
    return {"X-Agent-Token": made.json()["token"]}


@pytest.mark.parametrize("kind", ["bearer", "agent token"])
def test_streams_end_with_the_token_they_were_opened_with(
    door: Door, bearer: Callable[[float], dict[str, str]], kind: str
) -> None:
    lasting = {"X-Api-Key": "key-alice"}
    with ExitStack() as stack:
        kept = open_all(stack, door, lasting)
        listening, *others = open_all(stack, door, bearer(SECONDS) if kind == "bearer" else agent_token(door))
        (*_, final) = [json.loads(line[6:]) for line in all_of(listening) if line.startswith(b"data: ")]
        assert (final["id"], "result" in final) == (5, True), "it ends gracefully"
        for stream in others:
            all_of(stream)
        for stream in kept:
            assert all(stream.readline() for _ in range(10))


def test_a_stream_lasts_as_long_as_its_token_is_accepted(door: Door, bearer: Callable[[float], dict[str, str]]) -> None:
    """Else a client that opened it anew with the same token would lose it again at once, and so on."""
    expired = bearer(-0.5)
    with posted(f"{door.base}/mcp", LISTEN, expired) as listening:
        all_of(listening)
    assert post(f"{door.base}/mcp", request("tools/list", id=1), expired)[0] == 401


def test_a_session_goes_on_with_a_fresh_token_and_nothing_is_lost_between_two_streams(
    door: Door, bearer: Callable[[float], dict[str, str]]
) -> None:
    url, old = f"{door.base}/mcp", bearer(SECONDS)
    session = open_session(door, old)
    with sent("GET", url, headers=old | session | STREAM) as standing:
        fresh = bearer(3600)
        assert post(url, request("tools/list", id=1), fresh | session)[0] == 200
        all_of(standing)
    assert post(url, request("tools/list", id=2), old | session)[0] == 401
    assert post(url, request("tools/call", ADD, id=3), fresh | session)[0] == 200
    with sent("GET", url, headers=fresh | session | STREAM) as standing:
        assert standing.status == 200
        said = next(data for event, data in events(standing) if event == "message")
        assert json.loads(said)["method"] == "notifications/tools/list_changed"


@pytest.mark.anyio
async def test_what_never_expires_or_is_over_is_left_alone() -> None:
    ended: list[str] = []
    with until_expiry(Principal("over", expires=time.time() + 0.05), lambda: ended.append("over")):
        pass
    with until_expiry(Principal("never"), lambda: ended.append("never")):
        with until_expiry(Principal("now", expires=time.time() - 1), lambda: ended.append("now")):
            await wait_until(lambda: ended)
        with until_expiry(Principal("soon", expires=time.time() + 0.2), lambda: ended.append("soon")):
            await wait_until(lambda: len(ended) == 2)
    assert ended == ["now", "soon"]
