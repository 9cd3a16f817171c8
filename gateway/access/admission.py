"""May this call be served? Whether its principal has the scope for it, and whether it is within its limits.

Plain calls that raise. Nothing here waits, but for limits that nodes share, and only if it takes asking their store.
"""

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from gateway.access.in_flight import InFlight
from gateway.access.limits import Limits
from gateway.access.scopes import SCOPES
from gateway.access.shared_slots import SharedSlots
from gateway.call import Call
from gateway.errors import GatewayError
from gateway.request import WRITE

FREE: Final = frozenset({"ping"})
"""Methods that cost nothing."""
LASTING_METHODS: Final = frozenset({"subscriptions/listen"})
"""Methods whose calls last, and have places of their own."""


class Admission:
    """
    Args:
        lacks_scope: makes the error for who lacks scopes.
        audit_gate: raises where what happens must be audited, and cannot be.
        slots: counts requests in flight on all nodes, where there are several.
    """

    def __init__(
        self,
        in_flight: InFlight,
        limits: Limits,
        lacks_scope: Callable[[Call, Collection[str]], GatewayError],
        audit_gate: Callable[[Call], None] | None = None,
        slots: SharedSlots | None = None,
    ) -> None:
        self._in_flight = in_flight
        self._limits = limits
        self._lacks_scope = lacks_scope
        self._audit_gate = audit_gate
        self._slots = slots

    def enter(self, call: Call) -> Awaitable[None] | None:
        """What the principal may use is the catalogue's matter: what it may not is not there.

        Returns:
            What is to be awaited before it is served, if anything is; that may raise the same.

        Raises:
            InsufficientScope, TooManyRequests, Overloaded, RateLimited: it is not served.
        """
        method, principal = call.method, call.principal
        needed = SCOPES.get(method, WRITE)
        if needed is not None and needed not in principal.scopes:
            raise self._lacks_scope(call, {needed})
        if method not in LASTING_METHODS:
            self._in_flight.take(principal)
            call.counted = True
            if self._slots is not None and not self._slots.take_now(call):
                return self._count_once_there_is_a_slot(self._slots, call)
        return self._count(call)

    async def _count_once_there_is_a_slot(self, slots: SharedSlots, call: Call) -> None:
        await slots.take(call)
        if (waiting := self._count(call)) is not None:
            await waiting

    def _count(self, call: Call) -> Awaitable[None] | None:
        if self._audit_gate is not None:
            self._audit_gate(call)
        if call.method in FREE:
            return None
        left = self._limits.count_now(call.principal)
        if left is None:
            return self._count_later(call)
        if (http := call.http) is not None:
            http.rate_limit = left
        return None

    async def _count_later(self, call: Call) -> None:
        left = await self._limits.count_later(call.principal)
        if call.http is not None:
            call.http.rate_limit = left

    def leave(self, call: Call) -> None:
        """It is over. What `enter` did not take is not given back."""
        if call.counted:
            call.counted = False
            self._in_flight.give(call.principal)
            if self._slots is not None:
                self._slots.give(call)
