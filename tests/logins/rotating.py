"""An authorization server that gives a new refresh token with each answer, and knows those that were used."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from tests.logins.authority import Answer, Authority
from tests.upstream.ends import Got


@dataclass
class Rotating(Authority):
    """`Authority` that knows a refresh token that has been used."""

    reuse_interval: float = 0.0
    """Seconds for which it is taken again."""
    revokes_access: bool = False
    """Whether access tokens end with the login."""
    used: dict[str, float] = field(default_factory=dict[str, float])
    after: Callable[[Got], Awaitable[None]] | None = None
    """What happens once a refresh token was used, before the answer goes out."""

    async def __call__(self, got: Got) -> None:
        if got.target == "/token" and self.after is not None and b"refresh_token" in got.body.split(b"&")[0]:
            status, content = self.token(got)
            await self.after(got)
            self.on["/token"] = lambda got: (status, content)
            try:
                await super().__call__(got)
            finally:
                del self.on["/token"]
            return
        await super().__call__(got)

    def token(self, got: Got) -> Answer:
        form = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
        given = form.get("refresh_token", "")
        if given in self.used and time.monotonic() <= self.used[given] + self.reuse_interval:
            self.refresh.add(given)
        elif given in self.used:
            self.refresh.clear()
            if self.revokes_access:
                self.good.clear()
        self.used[given] = time.monotonic()
        return super().token(got)
