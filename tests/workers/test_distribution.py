"""Connections on their way to workers: none is lost with a worker that dies, hangs or ends."""

import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager

import pytest

from gateway.frontend.addresses import bind
from gateway.frontend.handed import REFUSAL, REPORT
from gateway.workers.distribution import MAX_UNTAKEN, Distribution, Recipient
from tests.support import wait_until

pytestmark = pytest.mark.anyio


class Worker:
    """The other end of a recipient: takes what it is handed when it is told to."""

    def __init__(self) -> None:
        end, self.door = socket.socketpair()
        self.recipient = Recipient(end)
        self.taken: list[socket.socket] = []
        self.door.setblocking(False)

    def take(self) -> bool:
        """Whatever there is; False at the end."""
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.door, 1, 1)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.taken += [socket.socket(fileno=each) for each in descriptors]

    def report(self, open: int | None = None) -> None:
        self.door.send(REPORT.pack(len(self.taken), len(self.taken) if open is None else open))


class House:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        taken = bind("127.0.0.1", 0)
        self._address = taken.getsockname()
        self.distribution = Distribution([(taken, "127.0.0.1")])
        self.clients: list[socket.socket] = []
        self.workers: list[Worker] = []

    def worker(self) -> Worker:
        worker = Worker()
        self._stack.callback(lambda: [each.close() for each in (worker.door, *worker.taken)])
        self.workers.append(worker)
        self.distribution.add(worker.recipient)
        return worker

    def connect(self, times: int = 1) -> None:
        for _ in range(times):
            self.clients.append(self._stack.enter_context(socket.create_connection(self._address, timeout=10)))


@asynccontextmanager
async def house() -> AsyncGenerator[House]:
    with ExitStack() as stack:
        it = House(stack)
        try:
            yield it
        finally:
            for worker in it.workers:
                it.distribution.remove(worker.recipient)
            it.distribution.close()


def is_alive(client: socket.socket, taken: list[socket.socket]) -> bool:
    """Whether somebody of these serves it."""
    return client.getsockname() in {each.getpeername() for each in taken}


async def test_who_has_fewer_is_handed_the_next() -> None:
    async with house() as it:
        one, other = it.worker(), it.worker()
        it.connect(10)
        await wait_until(lambda: one.take() and other.take() and len(one.taken) + len(other.taken) == 10)
        assert len(one.taken) == len(other.taken)


async def test_what_a_worker_that_dies_had_not_taken_goes_to_another() -> None:
    async with house() as it:
        dead = it.worker()
        it.connect(3)
        await wait_until(lambda: dead.recipient.load == 3)
        dead.door.close()
        other = it.worker()
        it.distribution.remove(dead.recipient)
        await wait_until(lambda: other.take() and len(other.taken) == 3)
        assert all(is_alive(client, other.taken) for client in it.clients)


async def test_a_worker_that_hangs_gets_so_many_and_no_more() -> None:
    async with house() as it:
        hangs = it.worker()
        it.connect(MAX_UNTAKEN + 8)
        await wait_until(lambda: hangs.recipient.load == MAX_UNTAKEN)
        other = it.worker()
        await wait_until(lambda: other.take() and len(other.taken) == 8)


async def test_what_was_taken_is_the_workers_alone() -> None:
    async with house() as it:
        worker = it.worker()
        it.connect()
        await wait_until(lambda: worker.take() and bool(worker.taken))
        worker.report()
        await wait_until(lambda: not worker.recipient.untaken)
        worker.taken[0].close()
        assert it.clients[0].recv(1) == b""  # nobody else keeps it open


async def test_one_that_wants_no_more_is_told_when_that_is_so_and_another_gets_the_next() -> None:
    async with house() as it:
        ends, stays = it.worker(), it.worker()
        ends.report(REFUSAL)
        await wait_until(lambda: not ends.take())
        it.connect(4)
        await wait_until(lambda: stays.take() and len(stays.taken) == 4)


async def test_the_last_that_ends_gets_everybody_who_has_come_before() -> None:
    async with house() as it:
        last = it.worker()
        last.report(REFUSAL)
        it.distribution.finish()
        it.connect(50)  # nothing has been accepted: no turn of the loop since
        await wait_until(lambda: not last.take())
        assert len(last.taken) == 50
        with pytest.raises(OSError, match="refused"):
            it.connect()
