"""Addresses to listen on: taken first, and listened on once somebody is there to serve whoever comes."""

import ctypes
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from gateway.errors import ConfigError

BACKLOG: Final = 2048
"""Connections that wait to be accepted."""

_SO_ATTACH_FILTER: Final = 26
_NO_SYN: Final = struct.pack(
    "HBBI" * 4,  # of a segment that comes in: load its flags; with SYN among them drop it, else take all of it
    *(0x30, 0, 0, 13),
    *(0x45, 0, 1, 0x02),
    *(0x06, 0, 0, 0),
    *(0x06, 0, 0, 0xFFFFFFFF),
)
"""A classic packet filter, linux/filter.h."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that is bound, and does not listen yet: whoever can connect is to be served."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family)
    taken.setblocking(False)
    try:
        if family is socket.AF_INET6:
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # `::` is not everywhere else as well
        if sys.platform != "win32":  # where it would let two have the same address
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        if sys.platform != "win32":  # of two that are bound and do not listen yet, both would have the address else
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        return taken
    except OSError as error:
        taken.close()
        raise _unavailable(host, port, error) from None


def listen(taken: socket.socket, host: str) -> None:
    """Let connections come; from now on nobody else can have the address anyway."""
    try:
        if sys.platform != "win32":  # what connections leave behind must not keep our successor from the address
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.listen(BACKLOG)
    except OSError as error:
        raise _unavailable(host, taken.getsockname()[1], error) from None


def shut(listening: socket.socket) -> None:
    """Let nobody come any more, before it is closed: whoever came between the last that was accepted and the closing
    would be reset. Who tries it meanwhile is asked to try again by TCP, in a second, when somebody else may be there.
    What is on its way already still arrives. Does nothing but on Linux."""
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_NO_SYN)
    with suppress(OSError):
        filter = struct.pack("HP", 4, ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter)


def url_of(taken: socket.socket, host: str, *, tls: bool) -> str:
    """The base URL of what is served there."""
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{host}:{taken.getsockname()[1]}"


def _unavailable(host: str, port: int, error: OSError) -> ConfigError:
    reason = error.strerror or str(error)
    return ConfigError(
        f"Cannot listen on {host} port {port}: {reason}. Stop what uses it, or choose another with --port."
    )
