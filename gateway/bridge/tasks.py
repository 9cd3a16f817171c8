"""Task handles (of the extension `io.modelcontextprotocol/tasks`, and of 2025-11-25): sealed with their owner, so that
they find back to it.

A client may keep a handle for days and come back after a restart, or at another node, so nothing is remembered here:
the public handle is the upstream and its own handle, sealed for one principal. The same handle is sealed the same way
every time (AES-SIV, RFC 5297), because clients compare them.
"""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from gateway import jsonrpc
from gateway.errors import UnknownTask, UpstreamProtocolError

METHODS: Final = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
"""All that the extension has."""
HANDSHAKE_METHODS: Final = frozenset({"tasks/get", "tasks/result", "tasks/cancel"})
"""Those of 2025-11-25 that name a task. (`tasks/list` names none.)"""
FAMILY: Final = "tasks"
"""What the methods that concern tasks begin with, in any era."""

_PREFIX: Final = "task-"
_LONGEST: Final = 1_500
"""Bytes of what is sealed. Handles are kept, for each session and principal; the public one has some 2,000 at most."""


class TaskHandles:
    """
    Args:
        keys: secrets. The first seals, all open.
    """

    def __init__(self, keys: Sequence[bytes | str]) -> None:
        self._ciphers = [AESSIV(_derived(key)) for key in keys]

    def public(self, upstream: str, handle: str, principal: str, tool: str | None = None) -> str:
        """The handle as a principal gets it.

        Args:
            tool: whose task it is, where that is needed later: see `tool`.

        Raises:
            UpstreamProtocolError: the handle is too long.
        """
        named = jsonrpc.dumps([upstream, handle] if tool is None else [upstream, handle, tool])
        if len(named) > _LONGEST:
            raise UpstreamProtocolError(upstream, f"a task whose id has {len(handle)} characters, which is too long")
        sealed = self._ciphers[0].encrypt(named, [principal.encode()])
        return _PREFIX + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, public: str, principal: str) -> tuple[str, str]:
        """`(upstream, its own handle)`.

        Raises:
            UnknownTask: it was not made here, or for somebody else.
        """
        upstream, handle, *_ = self._opened(public, principal)
        return upstream, handle

    def tool(self, public: str, principal: str) -> str | None:
        """The tool that was named when the handle was made, by its upstream's name.

        Raises:
            UnknownTask: as `open`.
        """
        return next(iter(self._opened(public, principal)[2:]), None)

    def _opened(self, public: str, principal: str) -> list[str]:
        text = public.removeprefix(_PREFIX)
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except ValueError:
            raise UnknownTask(public) from None
        for cipher in self._ciphers:
            try:
                return jsonrpc.loads(cipher.decrypt(sealed, [principal.encode()]))
            except (InvalidTag, ValueError):
                continue
        raise UnknownTask(public)

    def publish(self, result: dict[str, Any], upstream: str, principal: str, tool: str | None = None) -> None:
        """Put the public handle into what an upstream answered. Changes `result` in place.

        Raises:
            UpstreamProtocolError: as `public`.
        """
        if isinstance(result.get("taskId"), str):
            result["taskId"] = self.public(upstream, result["taskId"], principal, tool)


def _derived(key: bytes | str) -> bytes:
    return hashlib.sha512(b"mcp-gateway task handles\0" + (key.encode() if isinstance(key, str) else key)).digest()
