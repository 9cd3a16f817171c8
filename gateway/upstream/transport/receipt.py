"""A response of which only the arrival matters: to what is owed no answer, or is answered elsewhere."""

import asyncio
from typing import Final

from gateway.upstream.credentials import REFUSALS, challenge_of
from gateway.upstream.transport.wire import HttpConnection, Reply, ResponseHeaders, WireError

MAX_BODY: Final = 64 * 1024
"""Most of a body that is waited for to use the connection again. What is longer is not read to its end."""
MAX_TEXT: Final = 1024
"""How much of it is kept, to say why it was refused."""


class Receipt(Reply):
    """Of a response that may be anything."""

    def __init__(self) -> None:
        self.status = 0
        self.challenge = ""
        """What it wants to see, if it refused us for what it did not."""
        self.text = b""
        """How the body begins."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wire: HttpConnection | None = None
        self._size = 0

    @property
    def sent(self) -> bool:
        return self._wire is not None

    def start(self, wire: HttpConnection, request: bytes) -> None:
        """Send the request."""
        self._wire = wire
        wire.start(request, self)

    def abort(self) -> None:
        """Close the connection; nothing more will be heard."""
        if self._wire is not None:
            self._wire.abort()

    def on_head(self, status: int, headers: ResponseHeaders) -> None:
        self.status = status
        if status in REFUSALS:
            self.challenge = challenge_of(headers)

    def on_data(self, data: bytes) -> None:
        self._size += len(data)
        if len(self.text) < MAX_TEXT:
            self.text += data[: MAX_TEXT - len(self.text)]
        if self._size > MAX_BODY:
            self.abort()
            self.on_end()

    def on_end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def on_lost(self, error: WireError) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)
