"""Renews a login once, in a process that can be killed in the middle of it.

python -m tests.logins.refresher FOLDER URL [before|after NUMBER]

It says `renewed`, or why not. With a point, it stops before or after it has written that often, says `here`, and waits.
"""

import sys
from pathlib import Path
from typing import Any

import anyio

from gateway.config.models import AuthConfig
from gateway.logins.failures import AuthFailure
from gateway.logins.person import PersonGrant
from gateway.logins.record import SHARED, Login, LoginKey
from gateway.logins.vault import FileVault

KEYS = ["k" * 32]


class StoppingVault(FileVault):
    """A vault that waits for the end at a point."""

    def __init__(self, *args: Any, point: tuple[str, int]) -> None:
        super().__init__(*args)
        self._point = point
        self._written = 0

    async def put(self, login: Login) -> None:
        self._written += 1
        await self._stop("before")
        await super().put(login)
        await self._stop("after")

    async def _stop(self, when: str) -> None:
        if self._point == (when, self._written):
            print("here", flush=True)
            await anyio.sleep_forever()


async def main(folder: str, url: str, when: str = "", number: str = "0") -> None:
    vault = StoppingVault(Path(folder), KEYS, point=(when, int(number)))
    grant = PersonGrant(vault, LoginKey(SHARED, "up", url), AuthConfig(), is_wanted=True)
    try:
        tokens = await grant.obtain(await grant.known(), (), "")
    except AuthFailure as failure:
        print(failure, flush=True)
        return
    assert tokens is not None
    print("renewed", flush=True)


if __name__ == "__main__":
    anyio.run(lambda: main(*sys.argv[1:]))
