"""What is written in one turn of the loop leaves together, in its order, and nothing waits for longer than that."""

import asyncio
import socket

import anyio
import pytest

from gateway.upstream.transport.coalescing import FEW, MOST, CoalescingWriter

pytestmark = pytest.mark.anyio

MAX_UNREAD = 1 << 20


class Counted(asyncio.WriteTransport):
    """Keeps each write apart."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.unread = 0
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unread

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True


async def test_messages_of_one_turn_leave_together_and_in_order() -> None:
    writer = CoalescingWriter(transport := Counted(), MAX_UNREAD)
    assert writer.write(b"a", FEW)
    assert writer.write(b"b")
    assert writer.write(b"c", FEW)
    assert transport.writes == []
    await asyncio.sleep(0)
    assert transport.writes == [b"abc"]
    writer.write(b"d", FEW)
    await asyncio.sleep(0)
    assert transport.writes == [b"abc", b"d"]


async def test_with_few_in_flight_each_leaves_at_once() -> None:
    writer = CoalescingWriter(transport := Counted(), MAX_UNREAD)
    for message in (b"a", b"b"):
        writer.write(message, FEW - 1)
    assert transport.writes == [b"a", b"b"]


async def test_what_is_large_waits_for_nothing_and_overtakes_nothing() -> None:
    writer = CoalescingWriter(transport := Counted(), MAX_UNREAD)
    large = b"x" * (MOST + 1)
    writer.write(large, FEW)
    assert transport.writes == [large]
    for message in (b"a", b"b", large, b"c", b"d" * MOST, b"e"):
        writer.write(message, FEW)
    at_once = [large, b"ab", large, b"c", b"d" * MOST]
    assert transport.writes == at_once
    await asyncio.sleep(0)
    assert transport.writes == [*at_once, b"e"]


async def test_a_side_that_does_not_read_or_has_gone_is_found_out() -> None:
    writer = CoalescingWriter(transport := Counted(), MAX_UNREAD)
    transport.unread = MAX_UNREAD + 1
    assert not writer.write(b"a", FEW)
    transport.unread = MAX_UNREAD
    assert writer.write(b"b", FEW)
    transport.closed = True
    await asyncio.sleep(0)  # what waited is lost with it
    assert transport.writes == []
    assert not writer.write(b"c", FEW)


async def test_what_waits_leaves_before_it_is_closed() -> None:
    writer = CoalescingWriter(transport := Counted(), MAX_UNREAD)
    writer.write(b"a", FEW)
    writer.close()
    assert transport.writes == [b"a"]
    assert transport.closed
    assert not writer.write(b"b", FEW)
    await asyncio.sleep(0)
    assert transport.writes == [b"a"]


async def test_over_a_real_pipe() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
        writer = CoalescingWriter(transport, MAX_UNREAD)
        sent = [b"%d\n" % number for number in range(20_000)]
        for message in sent:
            writer.write(message, FEW)
        writer.close()
        theirs.setblocking(False)
        got = b""
        with anyio.fail_after(10):
            while piece := await asyncio.get_running_loop().sock_recv(theirs, 1 << 16):
                got += piece
    assert got == b"".join(sent)
