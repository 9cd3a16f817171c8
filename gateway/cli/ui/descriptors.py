"""Descriptors 0 to 2, which whoever starts us may have left closed."""

import os
import sys


def complete() -> None:
    """Open those that are closed on the null device: the next files and sockets would take their numbers otherwise, and
    be written to by whoever means stdout or stderr. To be called before anything else is opened."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != number:
                os.dup2(opened, number)
                os.close(opened)
            os.set_inheritable(number, True)  # children expect the three as well
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            stream = open(number, mode, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - for good
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
