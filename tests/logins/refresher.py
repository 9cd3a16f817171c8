"""Renews a login once, in a process that can be killed in the middle of it.

python -m tests.logins.refresher FOLDER URL
"""

import sys
from pathlib import Path

import anyio

from gateway.config.models import AuthConfig
from gateway.logins.person import PersonGrant
from gateway.logins.record import SHARED, LoginKey
from gateway.logins.vault import FileVault

KEYS = ["k" * 32]


async def main(folder: str, url: str) -> None:
    vault = FileVault(Path(folder), KEYS)
    grant = PersonGrant(vault, LoginKey(SHARED, "up", url), AuthConfig(), is_wanted=True)
    tokens = await grant.obtain(await grant.known(), (), "")
    assert tokens is not None
    print("renewed", flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])
