"""The system's keyring, through the library `keyring`. All of it blocks: somebody may have to unlock it."""

import threading
from collections.abc import Callable
from typing import Final

SECONDS: Final = 30.0
"""How long it may take."""
INSTALL: Final = "install mcp-gateway[keyring]"


class KeyringUnavailable(Exception):
    """There is no answer. The message says why, what to do about it, and nothing of what is in the keyring."""


def read(service: str, name: str, seconds: float = SECONDS, *, otherwise: str) -> str | None:
    """What is kept under that service and name; None if nothing is.

    Args:
        otherwise: what to do where there is no keyring.

    Raises:
        KeyringUnavailable: it cannot be asked.
    """

    def ask() -> str | None:
        import keyring

        return keyring.get_password(service, name)

    return _within(seconds, ask, otherwise)


def write(service: str, name: str, value: str, seconds: float = SECONDS, *, otherwise: str) -> None:
    """Keep something under that service and name. The arguments are as for `read`.

    Raises:
        KeyringUnavailable: it does not keep it.
    """

    def keep() -> str | None:
        import keyring

        keyring.set_password(service, name, value)
        return keyring.get_password(service, name)

    if _within(seconds, keep, otherwise) != value:
        raise KeyringUnavailable("the keyring does not keep what it is given; see `keyring diagnose`")


def _within(seconds: float, ask: Callable[[], str | None], otherwise: str) -> str | None:
    """What `ask` returns; a thread that is still asking then is left behind."""
    outcome: list[str | KeyringUnavailable | None] = []

    def work() -> None:
        try:
            outcome.append(ask())
        except Exception as error:  # also a backend's own, which may quote what it found
            outcome.append(_what(error, otherwise))

    thread = threading.Thread(target=work, name="keyring", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise KeyringUnavailable(f"the keyring did not answer within {seconds:g} s; unlock it, and try again")
    if isinstance(outcome[0], KeyringUnavailable):
        raise outcome[0]
    return outcome[0]


def _what(error: Exception, otherwise: str) -> KeyringUnavailable:
    if isinstance(error, ImportError) and error.name == "keyring":
        return KeyringUnavailable("the keyring needs the library `keyring`; " + INSTALL)
    from keyring.errors import KeyringError, KeyringLocked, NoKeyringError

    if isinstance(error, NoKeyringError):
        return KeyringUnavailable(f"there is no keyring on this machine; {otherwise}")
    if isinstance(error, KeyringLocked):
        return KeyringUnavailable("the keyring is locked; unlock it, and try again")
    failed = "cannot be used" if isinstance(error, KeyringError) else "failed"
    return KeyringUnavailable(f"the keyring {failed} ({type(error).__name__}); see `keyring diagnose`")
