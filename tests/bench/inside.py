"""A gateway whose process can be asked about itself (`tests.bench.inspected`), with everything on."""

import json
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from tests.bench.processes import TESTED_CPU, on_cpu
from tests.bench.systems import Program, System, gateway
from tests.interaction._gateway import Entry
from tests.support import listens, run_process

INSPECTED: Final = Program("inspected", (sys.executable, "-m", "tests.bench.inspected"))


@dataclass(frozen=True)
class Inspected:
    system: System
    process: Popen[bytes]

    def ask(self, word: str) -> Any:
        """What `tests.bench.inspected` answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(word.encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@contextmanager
def inspected(folder: Path, servers: Mapping[str, Entry], **settings: Any) -> Generator[Inspected]:
    """Run it on the CPU of what is tested, until the block ends."""
    system = gateway(INSPECTED, folder, servers, **settings)
    argv = [str(each) for each in system.argv]
    with on_cpu(TESTED_CPU):
        starting = run_process(argv, ready=lambda: listens(system.address.port), piped=True)
        with starting as process:
            yield Inspected(system, process)
