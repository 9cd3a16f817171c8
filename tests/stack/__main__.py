"""The stack on this machine, with something going on in it.

    scripts/stack [--port 8080] [--seconds 60] [--quiet] [--picture FILE]

nginx, two gateways, Valkey, Prometheus and what takes traces, as processes. They end with this one: after so many
seconds or, with 0 (the default), when it is interrupted. Agents call, and an upstream fails now and then, unless
`--quiet`. With `--picture` the dashboard is drawn at the end from what Prometheus knows.
"""

import argparse
import math
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio

from tests.stack import traffic
from tests.stack.drawing import draw
from tests.stack.topology import Programs, running

WINDOW = "15s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8080, help="where agents go; 0 for a free port")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    programs = Programs(_program("nginx"), _program("prometheus"))
    with (
        tempfile.TemporaryDirectory(prefix="mcp-gateway-stack.") as folder,
        running(Path(folder), programs, port=args.port) as stack,
    ):
        print(f"agents go to   {stack.url}/mcp   (X-Api-Key: {stack.key})")
        for number, node in enumerate(stack.nodes, 1):
            print(f"gateway {number}      {node.url}, metrics at http://{node.metrics}/metrics")
        print(f"Prometheus     {stack.prometheus}\nValkey         {stack.valkey}", flush=True)
        with suppress(KeyboardInterrupt):
            anyio.run(anyio.sleep if args.quiet else partial(traffic.run, stack), args.seconds or math.inf)
        if args.picture is not None:
            draw(stack.prometheus, args.picture, stack.started, time.time(), WINDOW)
        print(f"{len(stack.collector.spans)} spans were received")


def _program(name: str) -> str:
    path = shutil.which(name) or shutil.which(f"/usr/sbin/{name}")
    if path is None:
        sys.exit(f"{name} is not here; install Debian's package {name}")
    return path


if __name__ == "__main__":
    main()
