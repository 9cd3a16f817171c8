"""HTTP/1.1 from the client's side: what counts as a response, what as a broken one, and which connections live on."""

import asyncio
from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from gateway.upstream.transport.pool import Origin, Pool
from gateway.upstream.transport.wire import MAX_OVERHEAD, Reply, WireError
from tests.support import wait_until
from tests.upstream.ends import DEADLINE, Got, byte_server, response

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """The gateway runs on uvloop where there is one, and on asyncio's own loop where not."""
    return "asyncio", {"use_uvloop": request.param}


class Collected(Reply):
    """A `Reply` that keeps what it gets."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: Mapping[bytes, bytes] = {}
        self.body = b""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        assert self.status == 0
        self.status, self.headers = status, dict(headers)

    def on_data(self, data: bytes) -> None:
        assert data
        self.body += data

    def on_end(self) -> None:
        self.ended.set_result(None)

    def on_lost(self, error: WireError) -> None:
        self.ended.set_exception(error)


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def exchange(pool: Pool) -> Collected:
    with anyio.fail_after(DEADLINE):
        reply = Collected()
        (await pool.acquire()).start(REQUEST, reply)
        await reply.ended
        return reply


def pool_to(url: str) -> Pool:
    return Pool(Origin.of(url), DEADLINE)


HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

WHOLE: dict[str, tuple[bytes, bytes, bool]] = {
    "length": (response(b"hello"), b"hello", True),
    "empty": (response(), b"", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "odd case": (b"HTTP/1.1 200 OK\r\ncOnTeNt-LeNgTh: 5\r\n\r\nhello", b"hello", True),
    "chunked": (CHUNKED + b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", b"hello", True),
    "chunk extensions": (CHUNKED + b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello", True),
    "trailers": (CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello", True),
    "early hints": (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + response(b"hello"), b"hello", True),
    "continue twice": (b"HTTP/1.1 100 Continue\r\n\r\n" * 2 + response(b"hello"), b"hello", True),
    "close": (response(b"hello", headers={"Connection": "close"}), b"hello", False),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
}
"""Response → its body, and whether the connection can be used again."""


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "split"])
async def test_a_response(kind: str, split: bool) -> None:
    sent, body, lives_on = WHOLE[kind]

    async def script(got: Got) -> None:
        await got.send(*(sent[at : at + 1] for at in range(len(sent))) if split else (sent,))

    async with byte_server(script) as server:
        pool = pool_to(server.url)
        for _ in range(2):
            reply = await exchange(pool)
            assert reply.body == body
            assert reply.status == int(sent.rpartition(b"HTTP/1.")[2][2:5])
            assert reply.headers.keys().isdisjoint({b"x-sum", b"link"})  # of a trailer, of early hints
        assert server.connections == (1 if lives_on else 2)
        pool.close()
        await wait_until(lambda: server.open == 0)


async def test_the_end_of_the_connection_can_be_the_end_of_the_body() -> None:
    async def script(got: Got) -> None:
        await got.send(HEAD + b"\r\n", b"hel", b"lo")
        await got.drop()

    async with byte_server(script) as server:
        assert (await exchange(pool_to(server.url))).body == b"hello"


BROKEN: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "closed the connection"),
    "half a head": (b"HTTP/1.1 200 OK\r\nContent-", "closed the connection"),
    "half a body": (HEAD + b"Content-Length: 10\r\n\r\nhello", "closed the connection"),
    "half a chunk": (CHUNKED + b"a\r\nhello", "closed the connection"),
    "no last chunk": (CHUNKED + b"5\r\nhello\r\n", "closed the connection"),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP"),
    "two lengths": (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "not HTTP"),
    "length and chunks": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", "not HTTP"),
    "bad chunk": (CHUNKED + b"zz\r\nhello\r\n", "not HTTP"),
    "upgrade": (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "upgrade"),
    "huge head": (HEAD + b"X: " + b"x" * 2 * MAX_OVERHEAD, "headers"),
    "endless early hints": (b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * (MAX_OVERHEAD // 20), "headers"),
    "endless trailers": (CHUNKED + b"0\r\n" + b"X: y\r\n" * (MAX_OVERHEAD // 3), "headers"),
    "endless extension": (CHUNKED + b"5;" + b"x" * 2 * MAX_OVERHEAD, "headers"),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_response(kind: str) -> None:
    sent, reason = BROKEN[kind]

    async def script(got: Got) -> None:
        await got.send(sent) if sent else None
        if reason == "closed the connection":
            await got.drop()

    async with byte_server(script) as server:
        with pytest.raises(WireError, match=reason) as caught:
            await exchange(pool_to(server.url))
        assert caught.value.delivered
        await wait_until(lambda: server.open == 0)


async def test_a_reset_is_not_the_end_of_a_body() -> None:
    async def script(got: Got) -> None:
        await got.send(HEAD + b"\r\nhel")
        sock = got.stream.extra(anyio.abc.SocketAttribute.raw_socket)
        sock.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER of nothing: close by RST
        await got.drop()

    async with byte_server(script) as server:
        with pytest.raises(WireError):
            await exchange(pool_to(server.url))


@pytest.mark.parametrize("surplus", [response(b"again"), b"\0\0\0", b"x"])
async def test_nothing_is_trusted_after_surplus_bytes(surplus: bytes) -> None:
    async def script(got: Got) -> None:
        await got.send(response(b"hello") + surplus)

    async with byte_server(script) as server:
        pool = pool_to(server.url)
        assert (await exchange(pool)).body == b"hello"
        assert (await exchange(pool)).body == b"hello"
        assert server.connections == 2


async def test_bytes_nobody_asked_for_close_the_connection() -> None:
    later = anyio.Event()

    async def script(got: Got) -> None:
        await got.send(response(b"hello"))
        if got.connection == 1:
            await later.wait()
            await got.send(response(b"poison"))

    async with byte_server(script) as server:
        pool = pool_to(server.url)
        await exchange(pool)
        later.set()
        await wait_until(lambda: server.open == 0)
        assert (await exchange(pool)).body == b"hello"


async def test_an_aborted_exchange_is_not_heard_of_again() -> None:
    async def script(got: Got) -> None:
        await got.send(HEAD + b"Content-Length: 10\r\n\r\nhello")

    async with byte_server(script) as server:
        reply = Collected()
        wire = await pool_to(server.url).acquire()
        wire.start(REQUEST, reply)
        await wait_until(lambda: reply.body == b"hello")
        wire.abort()
        await wait_until(lambda: server.open == 0)
        assert not reply.ended.done()
        assert not wire.usable


class Faulty(Collected):
    def on_data(self, data: bytes) -> None:
        raise LookupError("a bug of ours")


async def test_a_bug_in_a_reply_fails_that_reply_alone() -> None:
    async def script(got: Got) -> None:
        await got.send(response(b"hello"))

    async with byte_server(script) as server:
        pool = pool_to(server.url)
        reply = Faulty()
        (await pool.acquire()).start(REQUEST, reply)
        with pytest.raises(WireError, match="a bug of ours"):
            await reply.ended
        assert (await exchange(pool)).body == b"hello"
