"""An upstream that has much to say does not keep the loop to itself."""

from unittest.mock import Mock

import pytest
from anyio.lowlevel import checkpoint

from gateway.telemetry.cells import Traffic
from gateway.upstream.transport.wire import MUCH, HttpConnection

pytestmark = pytest.mark.anyio


async def test_after_much_others_have_their_turn_before_more_is_read() -> None:
    transport = Mock(**{"is_closing.return_value": False})
    wire = HttpConnection(Mock(traffic=Traffic()))
    wire.connection_made(transport)
    wire.start(b"", Mock())
    wire.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    transport.pause_reading.assert_not_called()
    wire.data_received(b"%x\r\n" % MUCH + b"x" * MUCH)
    transport.pause_reading.assert_called_once()
    transport.resume_reading.assert_not_called()
    await checkpoint()
    transport.resume_reading.assert_called_once()
