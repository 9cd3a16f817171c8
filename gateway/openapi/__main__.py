"""Compiles one document in a process of its own: options and document on stdin, a line for each operation on stdout.

Its memory and time are bounded, and it can do nothing else: what a document can bring about ends with it.
"""

import sys
from typing import Final

import msgspec

from gateway.openapi.compiling import compile_bytes
from gateway.openapi.faults import DocumentFault
from gateway.openapi.model import CompileOptions

MEMORY: Final = 2 * 1024**3
"""Bytes of address space."""
SECONDS: Final = 120
"""Of CPU time."""


def main() -> int:
    _bound()
    line, _, data = sys.stdin.buffer.read().partition(b"\n")
    options = msgspec.json.decode(line, type=CompileOptions)
    try:
        found = compile_bytes(data, options)
    except DocumentFault as fault:
        sys.stderr.write(str(fault))
        return 3
    except (MemoryError, RecursionError):
        sys.stderr.write("takes more memory than a document may")
        return 3
    for each in found:
        sys.stdout.buffer.write(msgspec.json.encode(each) + b"\n")
    return 0


def _bound() -> None:
    try:
        import resource
    except ImportError:  # Windows has none; time is bounded by who waits
        return
    for what, limit in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS)):
        try:
            resource.setrlimit(what, (limit, limit))
        except (ValueError, OSError):  # less is allowed already, or the system cannot
            continue


if __name__ == "__main__":
    sys.exit(main())
