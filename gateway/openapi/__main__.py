"""Compiles one document in a process of its own: a line for each operation on stdout. On stdin, a line of options and
the lengths of all documents by their names, and then these.

Its memory and time are bounded, and it can do nothing else: what a document can bring about ends with it.
"""

import sys
from typing import Final

import msgspec

from gateway.openapi.compiling import compile_bytes, look
from gateway.openapi.faults import DocumentFault
from gateway.openapi.model import Compiled, CompileOptions

MEMORY: Final = 2 * 1024**3
"""Bytes of address space."""
SECONDS: Final = 120
"""Of CPU time."""


def main() -> int:
    _bound()
    line, _, data = sys.stdin.buffer.read().partition(b"\n")
    options, lengths = msgspec.json.decode(line, type=tuple[CompileOptions, dict[str, int] | None])
    try:
        found = _compiled(data, options, lengths)
    except DocumentFault as fault:
        sys.stderr.write(str(fault))
        return 3
    except (MemoryError, RecursionError):
        sys.stderr.write("takes more memory than a document may")
        return 3
    for each in found:
        sys.stdout.buffer.write(msgspec.json.encode(each) + b"\n")
    return 0


def _compiled(data: bytes, options: CompileOptions, lengths: dict[str, int] | None) -> list[Compiled]:
    if lengths is None:
        return compile_bytes(data, options)
    documents: dict[str, bytes] = {}
    at = 0
    for name, length in lengths.items():
        documents[name] = data[at : at + length]
        at += length
    if options.looks:
        return [look(documents)]
    return compile_bytes(documents.pop(options.name), options, documents)


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
