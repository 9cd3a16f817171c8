"""Accepts connections and hands each to the worker that has the fewest, so that no queue is any one worker's.

A connection is kept here until its worker has said that it has it: of a worker that dies or hangs, others get what it
had not taken. A worker that is to end is handed no more, and told when that is so; while there is none, connections
wait in the system's queue.
"""

import asyncio
import errno
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from gateway.frontend.addresses import listen, shut
from gateway.frontend.handed import REFUSAL, REPORT

MAX_UNTAKEN: Final = 32
"""Connections that a worker has been handed and has not taken. One that hangs gets no more."""
_AT_ONCE: Final = 16
"""Connections that are accepted in one turn of the loop."""
_RETRY_SECONDS: Final = 0.05
"""When to try again, where there were no files left or no worker had room."""
_NOBODY: Final = 0xFFFFFFFF


class Recipient:
    """A worker, as the one who hands out connections sees it.

    Args:
        end: of the socket to the worker's `Door`.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self.untaken: deque[tuple[int, socket.socket]] = deque()
        """(number of the listener, connection)"""
        self.has_refused = False
        self._handed = 0
        self._open = 0
        self._heard = bytearray()

    @property
    def load(self) -> int:
        """How many connections it has, or is about to."""
        return self._open + len(self.untaken)

    @property
    def has_room(self) -> bool:
        return len(self.untaken) < MAX_UNTAKEN

    def hand(self, number: int, connection: socket.socket) -> bool:
        """False when it cannot be handed anything now."""
        try:
            socket.send_fds(self.end, [bytes([number])], [connection.fileno()])
        except OSError:  # it does not read, or is gone
            return False
        self.untaken.append((number, connection))
        self._handed += 1
        return True

    def hear(self) -> bool:
        """Take note of what it has reported; False when it is gone."""
        try:
            data = self.end.recv(4096)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self._heard += data
        while len(self._heard) >= REPORT.size:
            taken, open = REPORT.unpack_from(self._heard)
            del self._heard[: REPORT.size]
            self._on_report(taken, open)
        return bool(data)

    def _on_report(self, taken: int, open: int) -> None:
        left = (self._handed - taken) & _NOBODY
        while len(self.untaken) > left:
            self.untaken.popleft()[1].close()
        if open == REFUSAL:
            self.has_refused = True
        else:
            self._open = open


class Distribution:
    """
    Args:
        addresses: bound sockets, and what they are called (`addresses.bind`); their place is the listener's number.
    """

    def __init__(self, addresses: Sequence[tuple[socket.socket, str]]) -> None:
        self._addresses = addresses
        self._recipients: dict[Recipient, Callable[[], None]] = {}
        self._waiting: deque[tuple[int, socket.socket]] = deque()
        """Connections that no worker could be handed."""
        self._listens = self._accepts = self._is_last = False

    def add(self, recipient: Recipient, on_refused: Callable[[], None] = lambda: None) -> None:
        """Hand it connections from now on; begins to listen with the first.

        Args:
            on_refused: called when it is handed no more because it wanted that.

        Raises:
            ConfigError: somebody else listens at an address after all.
        """
        self._recipients[recipient] = on_refused
        asyncio.get_running_loop().add_reader(recipient.end, self._hear, recipient)
        if not self._listens:
            self._listens = True
            for taken, host in self._addresses:
                listen(taken, host)
        self._go_on()

    def remove(self, recipient: Recipient) -> None:
        """It is gone, or about to be ended: what it had not taken goes to others."""
        if recipient.end.fileno() < 0:
            return
        self._let_go(recipient)
        while recipient.untaken:
            self._waiting.appendleft(recipient.untaken.pop())
        recipient.end.close()
        self._go_on()

    def finish(self) -> None:
        """Workers are about to refuse: with the last that does, no more connections are accepted."""
        self._is_last = True
        if self._listens and not self._recipients:
            self.close()

    def close(self) -> None:
        """Accept no more, whoever waits."""
        self._pause()
        for taken, _ in self._addresses:
            taken.close()
        while self._waiting:
            self._waiting.popleft()[1].close()
        self._listens = False

    # --- Inside -------------------------------------------------------------------------------------------------------

    def _hear(self, recipient: Recipient) -> None:
        if not recipient.hear():
            asyncio.get_running_loop().remove_reader(recipient.end)  # whoever waits for its end will remove it
        elif recipient.has_refused and recipient in self._recipients:
            self._on_refused(recipient)
        self._go_on()

    def _on_refused(self, recipient: Recipient) -> None:
        is_last = self._is_last and self._listens and len(self._recipients) == 1
        if is_last and not self._hand_the_rest(recipient):
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._on_refused, recipient)
        elif recipient in self._recipients:
            on_refused = self._let_go(recipient)
            recipient.end.shutdown(socket.SHUT_WR)
            asyncio.get_running_loop().add_reader(recipient.end, self._hear_last, recipient)
            on_refused()

    def _hear_last(self, recipient: Recipient) -> None:
        if not recipient.hear():
            asyncio.get_running_loop().remove_reader(recipient.end)

    def _let_go(self, recipient: Recipient) -> Callable[[], None]:
        asyncio.get_running_loop().remove_reader(recipient.end)
        return self._recipients.pop(recipient, lambda: None)

    def _hand_the_rest(self, recipient: Recipient) -> bool:
        """Whoever has come as far as the system's queue would be reset with the socket. False when there are more than
        can be handed over now."""
        self._pause()
        for number, (taken, _) in enumerate(self._addresses):
            with suppress(OSError):
                shut(taken)
                while (connection := _accepted(taken)) is not None:
                    self._waiting.append((number, connection))
        while self._waiting and recipient in self._recipients:
            if not recipient.hand(*self._waiting[0]):
                return False
            self._waiting.popleft()
        self.close()
        return True

    def _pause(self) -> None:
        if self._accepts:
            self._accepts = False
            for taken, _ in self._addresses:
                asyncio.get_running_loop().remove_reader(taken)

    def _go_on(self) -> None:
        """Hand out what waits, and accept if there is somebody to hand it to."""
        while self._waiting and (recipient := self._freest()) is not None:
            if not self._hand(recipient, *self._waiting[0]):
                break
            self._waiting.popleft()
        if self._waiting or self._freest() is None:
            self._pause()
        elif self._listens and not self._accepts:
            self._accepts = True
            for number, (taken, _) in enumerate(self._addresses):
                asyncio.get_running_loop().add_reader(taken, self._accept, number, taken)

    def _hand(self, recipient: Recipient, number: int, connection: socket.socket) -> bool:
        if not recipient.hand(number, connection):
            return False
        self._recipients[recipient] = self._recipients.pop(recipient)  # of equals, the other is next
        return True

    def _freest(self) -> Recipient | None:
        able = [each for each in self._recipients if each.has_room and not each.has_refused]
        return min(able, key=lambda each: each.load, default=None)

    def _accept(self, number: int, taken: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection = _accepted(taken)
            except OSError:  # no files are left
                self._pause()
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._go_on)
                return
            if connection is None:
                return
            recipient = self._freest()
            if recipient is None or not self._hand(recipient, number, connection):
                self._waiting.append((number, connection))
                self._pause()
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._go_on)
                return


def _accepted(taken: socket.socket) -> socket.socket | None:
    """The next that waits; None if there is none.

    Raises:
        OSError: there are no files left.
    """
    while True:
        try:
            return taken.accept()[0]
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            if error.errno in (errno.EBADF, errno.EINVAL):  # it is closed
                return None
