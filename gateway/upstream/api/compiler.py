"""Compiles documents in a process of its own, whose memory and time are bounded (`gateway.openapi.__main__`)."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import anyio
import msgspec

import gateway
from gateway.openapi.model import ApiInfo, Compiled, CompileOptions, Elsewhere, LeftOut, Operation
from gateway.pause import Pause

SECONDS: Final = 60.0
"""How long a document may take."""
_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "SYSTEMROOT", "LD_LIBRARY_PATH")
_HOME: Final = str(Path(gateway.__file__).parent.parent)
"""Where this package is, so that it is this one that is found."""
_MAX_WORDS: Final = 500
_Line = ApiInfo | Operation | LeftOut | Elsewhere


class CompileFailed(Exception):
    """The document is of no use; the message says why, in words that may follow its name."""


async def compile_apart(
    data: bytes, options: CompileOptions, seconds: float = SECONDS, others: Mapping[str, bytes] | None = None
) -> list[Compiled]:
    """What a document has to offer; or `Elsewhere`, alone, if others are to be had first.

    Args:
        others: the documents that it refers to, by the names that it calls them.

    Raises:
        CompileFailed: it cannot be used.
    """
    if others is None:
        return await _apart(options, None, [data], seconds)
    documents = {options.name: data, **others}
    return await _apart(options, {name: len(each) for name, each in documents.items()}, documents.values(), seconds)


async def look_apart(documents: Mapping[str, bytes]) -> Elsewhere:
    """To which others some documents refer.

    Raises:
        CompileFailed: it cannot be found out.
    """
    lengths = {name: len(each) for name, each in documents.items()}
    (found,) = await _apart(CompileOptions("", looks=True), lengths, documents.values(), SECONDS)
    assert isinstance(found, Elsewhere)
    return found


async def _apart(
    options: CompileOptions, lengths: dict[str, int] | None, documents: Iterable[bytes], seconds: float
) -> list[Compiled]:
    environment = {name: value for name in _ENVIRONMENT if (value := os.environ.get(name)) is not None}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [_HOME, environment.get("PYTHONPATH")]))
    try:
        with anyio.fail_after(seconds):
            done = await anyio.run_process(
                [sys.executable, "-P", "-m", "gateway.openapi"],
                input=b"".join([msgspec.json.encode((options, lengths)), b"\n", *documents]),
                env=environment,
                check=False,
            )
    except TimeoutError:
        raise CompileFailed(f"takes more than {seconds:g} s to be understood") from None
    except OSError as error:
        raise CompileFailed(f"could not be compiled: no process can be started ({error.strerror})") from None
    if done.returncode == 3:
        raise CompileFailed(done.stderr.decode("utf-8", "replace")[:_MAX_WORDS])
    if done.returncode != 0:
        raise CompileFailed("takes more memory or time than a document may, or is written in an unforeseen way")
    decoder, pause, found = msgspec.json.Decoder(_Line), Pause(), list[Compiled]()
    for line in done.stdout.splitlines():
        found.append(decoder.decode(line))
        await pause.if_due()
    return found
