"""How many of the requests that clients want sampled are: a share of each tenant's. Pure.

Who says `sampled` in a `traceparent` has spans made and kept at somebody else's expense. So each tenant has credit: the
share of what he asks, paid in as he asks. The first request of each is granted, for whoever looks into something by
hand.
"""

from collections import OrderedDict
from typing import Final

MAX_TENANTS: Final = 10_000
"""Most that are remembered. Who has asked nothing for longest is forgotten first, and starts over."""
_ROUNDING: Final = 1e-9


class ClientShare:
    """
    Args:
        share: between 0 and 1.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._credit: OrderedDict[str, float] = OrderedDict()

    def grants(self, tenant: str) -> bool:
        """Whether this request of the tenant's, which is to be sampled, is."""
        if self._share >= 1.0:
            return True
        first = 1.0 - self._share if self._share > 0 else 0.0
        credit = self._credit.pop(tenant, first) + self._share
        granted = credit >= 1.0 - _ROUNDING
        self._credit[tenant] = credit - 1.0 if granted else credit
        if len(self._credit) > MAX_TENANTS:
            self._credit.popitem(last=False)
        return granted
