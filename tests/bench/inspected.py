"""This gateway, with somebody in its process who looks at it from within, and tells on stdout.

    python -m tests.bench.inspected ARGUMENTS of mcp-gateway

Asked over stdin, a word a line; each answer is a line of JSON:

    mark        what is there from now on is not counted; the garbage collector is off
    garbage     what is left since then that only the collector would find: type → how many
    profile     from now on every function's time is taken
    functions   how often each was called since, and its own seconds: [[where, name, calls, seconds], …]
"""

import cProfile
import gc
import json
import os
import signal
import sys
import threading
from collections import Counter
from typing import Any, Final

from gateway.cli import main

CODE: Final = ("__code__", "cr_code", "gi_code", "ag_code", "f_code")
"""Where functions, coroutines, generators and frames keep it."""

profiler: Final = cProfile.Profile()


def mark() -> dict[str, int]:
    gc.set_debug(gc.DEBUG_SAVEALL)  # what somebody collects meanwhile is counted, too
    gc.collect()
    gc.garbage.clear()
    gc.freeze()
    gc.disable()
    return {}


def garbage() -> dict[str, int]:
    gc.collect()
    found = Counter(f"{type(each).__module__}.{_name(each)}" for each in gc.garbage)
    gc.garbage.clear()
    return dict(found.most_common())


def _name(thing: object) -> str:
    """Its type's; what functions, coroutines and frames are called says more."""
    thing = getattr(thing, "tb_frame", thing)
    code: Any = next((found for each in CODE if (found := getattr(thing, each, None)) is not None), None)
    kind = type(thing).__qualname__
    return f"{kind} {code.co_qualname}" if code is not None else kind


def switch(signum: int, frame: object) -> None:
    """Only its own thread can be profiled, so that the event loop's has to switch it on."""
    if signum == signal.SIGUSR1:
        profiler.enable()
    else:
        profiler.disable()
        switched.set()


switched: Final = threading.Event()


def profile() -> dict[str, int]:
    os.kill(os.getpid(), signal.SIGUSR1)
    return {}


def functions() -> list[tuple[str, str, int, float]]:
    os.kill(os.getpid(), signal.SIGUSR2)
    switched.wait()
    profiler.create_stats()
    stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = vars(profiler)["stats"]
    return [(f"{file}:{line}", name, calls, own) for (file, line, name), (_, calls, own, _, _) in stats.items()]


def answer() -> None:
    known: dict[str, Any] = {"mark": mark, "garbage": garbage, "profile": profile, "functions": functions}
    for word in sys.stdin:
        print(json.dumps(known[word.strip()]()), flush=True)


if __name__ == "__main__":
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, switch)
    threading.Thread(target=answer, daemon=True).start()
    main()
