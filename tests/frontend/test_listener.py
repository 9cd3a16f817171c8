"""The end of a socket: nobody new, a last answer for those who are there, and then it is closed."""

import errno
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Final

import anyio
import anyio.to_thread
import pytest

from gateway.config.models import GatewaySettings
from gateway.errors import ConfigError
from gateway.frontend.addresses import bind, listen, shut
from gateway.frontend.arrivals import OwnAddress
from gateway.frontend.connections import bounds_of
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.listener import HttpListener
from gateway.frontend.timing import USUAL, FrontTiming
from tests.servers.peers import SECONDS
from tests.support import wait_until

pytestmark = pytest.mark.anyio

BOUNDS: Final = bounds_of(GatewaySettings())
GET: Final = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def handle(request: HttpRequest) -> None:
    request.reply(200, b"ok")


@asynccontextmanager
async def serving(timing: FrontTiming = USUAL) -> AsyncGenerator[HttpListener]:
    listener = HttpListener("127.0.0.1", 0, BOUNDS, timing=timing)
    async with anyio.create_task_group() as tg:
        await tg.start(listener.serve, handle)
        yield listener
        await listener.close_idle()
        await listener.close(1)


class Caller:
    """One connection. The system completes it, whether or not the loop has a turn to accept it."""

    def __init__(self, url: str, until: ExitStack) -> None:
        self.socket = until.enter_context(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), SECONDS))

    async def ask(self) -> bytes:
        def ask() -> bytes:
            self.socket.sendall(GET)
            answer = b""
            while not answer.endswith(b"ok") and (more := self.socket.recv(4096)):
                answer += more
            return answer

        return await anyio.to_thread.run_sync(ask)

    async def at_end(self) -> bool:
        return await anyio.to_thread.run_sync(lambda: self.socket.recv(1)) == b""


def test_an_address_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Cannot listen on 127.0.0.1 port {port}: Address already in use"):
            HttpListener("127.0.0.1", port, BOUNDS)


async def test_a_request_on_its_way_over_an_idle_connection_is_answered() -> None:
    hushed = anyio.Event()

    async def close_idle() -> None:
        await listener.close_idle()
        hushed.set()

    with ExitStack() as until:
        async with serving(FrontTiming(last_request_seconds=3600.0)) as listener, anyio.create_task_group() as tg:
            url = listener.url
            caller, other = Caller(url, until), Caller(url, until)
            assert b"connection" not in (await caller.ask()).lower()
            await other.ask()
            await listener.refuse()
            with pytest.raises(ConnectionRefusedError):
                Caller(url, until)
            tg.start_soon(close_idle)
            assert b"connection: close" in await caller.ask()
            assert await caller.at_end()
            assert not hushed.is_set()
            assert b"connection: close" in await other.ask()
            await hushed.wait()  # with the last connection


async def test_after_that_no_request_begins() -> None:
    with ExitStack() as until:
        async with serving(FrontTiming(last_request_seconds=0.0)) as listener:
            caller = Caller(listener.url, until)
            await caller.ask()
            await listener.refuse()
            await listener.close_idle()
            with suppress(ConnectionError):
                assert await caller.ask() == b""


async def test_who_has_just_connected_may_say_what_for() -> None:
    with ExitStack() as until:
        timing = FrontTiming(last_request_seconds=0.0, first_request_seconds=3600.0)
        async with serving(timing) as listener, anyio.create_task_group() as tg:
            idle, new = Caller(listener.url, until), Caller(listener.url, until)
            await idle.ask()
            await listener.refuse()
            tg.start_soon(listener.close_idle)
            await anyio.sleep(0.1)
            assert b"connection: close" in await new.ask()
            assert await idle.at_end()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can")
def test_an_address_that_is_about_to_be_closed_lets_nobody_come_and_keeps_who_has() -> None:
    with ExitStack() as until:
        taken = until.enter_context(bind("127.0.0.1", 0))
        listen(taken, "127.0.0.1")
        first, second = (until.enter_context(socket.socket()) for _ in range(2))
        first.connect(taken.getsockname())
        shut(taken)
        second.setblocking(False)
        assert second.connect_ex(taken.getsockname()) == errno.EINPROGRESS
        accepted = until.enter_context(taken.accept()[0])
        with pytest.raises(BlockingIOError):
            taken.accept()
        first.sendall(b"x")
        assert accepted.recv(1) == b"x"


async def test_what_waits_to_be_accepted_is_answered() -> None:
    """More connections than the loop accepts in one turn."""
    with ExitStack() as until:
        async with serving() as listener:
            callers = [Caller(listener.url, until) for _ in range(100)]
            await listener.refuse()
            async with anyio.create_task_group() as tg:
                for caller in callers:
                    tg.start_soon(answered, caller)


async def answered(caller: Caller) -> None:
    assert b"connection: close" in await caller.ask()


async def test_a_client_that_ended_its_side_is_answered_and_one_that_left_is_noticed() -> None:
    """To us both look alike, until we have written something."""
    asked, left, answer = list[HttpRequest](), anyio.Event(), anyio.Event()

    async def handle(request: HttpRequest) -> None:
        request.on_gone = left.set
        asked.append(request)
        await answer.wait()
        request.reply(200, b"ok")

    listener = HttpListener("127.0.0.1", 0, BOUNDS)
    with ExitStack() as until:
        async with anyio.create_task_group() as tg:
            await tg.start(listener.serve, handle)
            stays, leaves = Caller(listener.url, until), Caller(listener.url, until)
            for caller in (stays, leaves):
                caller.socket.sendall(GET)
            await wait_until(lambda: len(asked) == 2, SECONDS)
            stays.socket.shutdown(socket.SHUT_WR)
            leaves.socket.close()
            with anyio.fail_after(SECONDS):
                await left.wait()
            assert sorted(request.gone for request in asked) == [False, True]
            answer.set()
            heard = await anyio.to_thread.run_sync(lambda: b"".join(iter(lambda: stays.socket.recv(4096), b"")))
            assert heard.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert heard.endswith(b"connection: close\r\n\r\nok")
            await listener.close(1)


def test_an_address_is_taken_but_nobody_is_let_in_before_there_is_somebody_to_serve_them() -> None:
    address = OwnAddress("127.0.0.1", 0, None)
    listener = HttpListener("127.0.0.1", 0, BOUNDS, arrivals=address)
    with ExitStack() as until:
        until.enter_context(address.socket)
        with pytest.raises(ConnectionRefusedError):
            Caller(listener.url, until)


def test_of_two_that_start_at_once_only_one_gets_the_address() -> None:
    """Before either listens, too: that would only be noticed once everything else runs."""
    first = OwnAddress("127.0.0.1", 0, None)
    with first.socket:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"Cannot listen on 127.0.0.1 port {port}: Address already in use"):
            HttpListener("127.0.0.1", port, BOUNDS)
