"""The response to a request that proves who asks: a refusal of that proof may be answered with another.

Source: 2026-07-28, basic/authorization; RFC 6750, 3. Servers that need no proof have `CallReply`, which knows nothing
of this.
"""

from collections.abc import Mapping
from typing import Final

from gateway.errors import GatewayError, LoginNeeded
from gateway.upstream.credentials import REFUSALS, Challenge, Credentials, challenge_of
from gateway.upstream.transport.reply import CallReply

MAX_REFUSALS: Final = 2
"""How often one request may be refused and sent once more: the proof was too old, and then it granted too little."""


SHORTEST_SECRET: Final = 8
_MASK: Final = "…".encode()


class ProvedReply(CallReply):
    """A `CallReply` of a connection that has credentials."""

    _challenge = ""
    _refusals = 0

    def _on_failure(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        if status in REFUSALS:
            self._challenge = challenge_of(headers)

    def _on_status(self, body: bytes) -> None:
        if self._status in REFUSALS and self._refusals < MAX_REFUSALS:
            self._refusals += 1
            self._dispatcher.spawn(self._prove, Challenge(self._status, self._challenge, self._proof), body)
        else:
            super()._on_status(self._masked(body))

    def _masked(self, body: bytes) -> bytes:
        """What a failure says, without the proof that was shown: some servers repeat what they refuse, and the agent
        need not be the one whose proof it is."""
        for value in self._proof.values():
            if len(secret := value.rpartition(" ")[2].encode()) >= SHORTEST_SECRET:
                body = body.replace(secret, _MASK)
        return body

    def _credentials(self) -> Credentials:
        assert self._dispatcher.credentials is not None
        return self._dispatcher.credentials

    async def _prove(self, challenge: Challenge, body: bytes) -> None:
        """Send the request once more, if there is another proof; it was refused, so nobody acted on it."""
        with self._dispatcher.being_refused():
            try:
                again = await self._credentials().refused(challenge)
            except GatewayError as error:
                self._call.fail(error)
                if isinstance(error, LoginNeeded) and challenge.status == 401:
                    self._dispatcher.lost_login()
                return
        if self._aborted or self._call.future.done():
            return
        if again:
            self.sent = False
            self.send()
        else:
            super()._on_status(self._masked(body))
