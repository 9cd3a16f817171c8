"""Stdio as a client: one JSON-RPC message a line, to and from a child process.

What the SDK's transport gets wrong for a gateway, and this does not: the reader is linear and bounded (32 MB took it
9 s), and a line that is not UTF-8 or not JSON fails the call it answers at once instead of hanging it and the next
(python-sdk#2454, #2456). Lines that are no messages at all are noted and skipped: many servers print to stdout.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway import jsonrpc
from gateway.errors import GatewayError, UpstreamLost, UpstreamOversized, UpstreamProtocolError
from gateway.jsonrpc import Message
from gateway.telemetry.cells import Traffic
from gateway.upstream.guardian import Guardian
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport.lines import KEPT_OF_OVERLONG, LineSplitter, Overlong
from gateway.upstream.transport.pending import MessageHandler, Pending
from gateway.upstream.transport.process import Child, Program, spawn
from gateway.upstream.transport.stderr import StderrLog
from gateway.upstream.transport.table import MAX_NOTIFICATION, CallTable

if TYPE_CHECKING:
    from mcp.shared.dispatcher import CallOptions as SdkCallOptions

    from gateway.upstream.hosting.hosted import HostedChild


_ID_FIRST: Final = re.compile(
    rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*"?(\d{1,18})(?:\.0)?"?\s*[,}]'
)
_ID_LAST: Final = re.compile(rb'"id"\s*:\s*"?(\d{1,18})(?:\.0)?"?\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$')
"""Where servers put the id of an answer. Looked for only there: deeper in, it is the id of something else."""


class StdioDispatcher(CallTable):
    """A `Dispatcher` over a child process's stdin and stdout."""

    def __init__(
        self,
        upstream: str,
        peer: MessageHandler,
        stderr: StderrLog,
        max_response_bytes: int,
        timing: UpstreamTiming = USUAL,
    ) -> None:
        super().__init__(upstream, peer)
        self._cap = max_response_bytes
        self._lines = LineSplitter(max_response_bytes)
        self._stderr = stderr
        self._timing = timing
        self._child: Child | HostedChild | None = None
        self.traffic = Traffic()
        """Counts its bytes."""

    async def start(self, program: Program, guardian: Guardian) -> None:
        """Start the program.

        Raises:
            SpawnError: it could not be started.
        """
        self._child = await spawn(program, self, guardian, self._timing)

    async def attach(self, host: Path, program: Program, session: str) -> None:
        """Use the program that a host runs for all workers; see `hosting.hosted.attach`.

        Raises:
            SpawnError: it cannot be had.
        """
        from gateway.upstream.hosting.hosted import attach

        child = await attach(host, program, session, self._cap, self)
        self._next_id = child.first_id
        self._child = child

    def restart(self) -> None:
        if self._child is not None:
            self._child.restart()

    async def aclose(self) -> None:
        """End the child, in order and within bounds."""
        if self._child is not None:
            await self._child.end()
        self._stderr.finish()

    # --- CallTable ------------------------------------------------------------------------------------------------

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: "SdkCallOptions | None" = None) -> None:
        self._write(jsonrpc.notification(method, dict(params) if params is not None else None))

    def _transmit(self, message: Message, pending: Pending) -> None:
        if not self._write(message, len(self.pending)):
            pending.fail(UpstreamLost(self.upstream, "it has gone, or has stopped reading its stdin", delivered=False))

    def _withdraw(self, pending: Pending, *, tell: bool) -> None:
        if tell:  # on a pipe, this notification is the way of both eras
            params = {"requestId": pending.id, "reason": "no longer awaited"}
            self._write(jsonrpc.notification("notifications/cancelled", params))

    async def _answer(self, message: Message) -> None:
        self._write(message)

    def _write(self, message: Message, in_flight: int = 0) -> bool:
        data = jsonrpc.dumps_spliced(message) + b"\n"
        self.traffic.sent += len(data)
        return self._child is not None and self._child.write(data, in_flight)

    # --- Output -----------------------------------------------------------------------------------------------------

    def on_stdout(self, data: bytes) -> None:
        self.traffic.received += len(data)
        for line in self._lines.feed(data):
            if isinstance(line, Overlong):
                self.on_overlong(line.head, line.tail)
            elif line and not line.isspace():
                self._on_line(line)

    def on_overlong(self, head: bytes, tail: bytes) -> None:
        self._broken(head, tail, UpstreamOversized(self.upstream, self._cap))

    def on_stderr(self, data: bytes) -> None:
        self._stderr.feed(data)

    def on_exit(self, reason: str) -> None:
        self.close(UpstreamLost(self.upstream, reason))

    def _on_line(self, line: bytes) -> None:
        if len(line) > MAX_NOTIFICATION and self.drops(line):
            return
        usual = jsonrpc.usual_answer(line)
        if usual is not None and type(usual[0]) is int:
            pending = self.pending.get(usual[0])
            if pending is not None and pending.call is not None:
                pending.answered(usual[1], len(line))
                return
        try:
            message = jsonrpc.unusual_answer(line)
        except ValueError as error:
            self._on_unreadable(line, error)
            return
        if isinstance(message, dict):
            self.receive(message, size=len(line))
        else:
            self._noise(line)

    def _on_unreadable(self, line: bytes, error: ValueError) -> None:
        failure: GatewayError = UpstreamProtocolError(self.upstream, "a line that is not JSON")
        if isinstance(error, jsonrpc.TooManyValues):
            failure = UpstreamOversized(self.upstream, jsonrpc.MAX_VALUES, "values")
        self._broken(line[:KEPT_OF_OVERLONG], line[-KEPT_OF_OVERLONG:], failure)

    def _broken(self, head: bytes, tail: bytes, error: GatewayError) -> None:
        """Fail the call the line was meant to answer, if it still says so; else it is noise, and deadlines answer."""
        match = _ID_FIRST.match(head) or (
            _ID_LAST.search(tail) if head.removeprefix(jsonrpc.BOM).lstrip().startswith(b"{") else None
        )
        pending = self.pending.get(int(match.group(1))) if match else None
        if pending is not None:
            pending.fail(error)
        else:
            self._noise(head)

    def _noise(self, line: bytes) -> None:
        text = line[:KEPT_OF_OVERLONG].decode("utf-8", "replace")
        self._peer.on_noise(f"a line on stdout that is no message: {text}")
