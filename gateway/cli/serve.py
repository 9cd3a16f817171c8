"""`mcp-gateway serve`: the HTTP front."""

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from gateway.cli.common import Exit, configure_logs, fail, file_argument, import_structlog, or_fail, run, with_reader

if TYPE_CHECKING:
    from gateway.config.models import Config
    from gateway.config.reading.rereading import Reading

CPU_SHARE: Final = Path("/sys/fs/cgroup/cpu.max")
"""Microseconds of CPU in so many microseconds, of this control group."""


@click.command("serve")
@file_argument
@click.option("--host", help="Address to listen on; anything but loopback needs authentication.")
@click.option("-p", "--port", type=int, help="Port to listen on; 0 picks a free one.")
@click.option(
    "-w",
    "--workers",
    type=click.IntRange(0, 256),
    default=1,
    help="Processes to serve with; 0 is one for each core. More than one share a store: that of gateway.store, or one "
    "that is started for them (extra `store`).",
)
@with_reader
def command(read: "Reading", workers: int) -> None:
    """Serve agents over HTTP: /mcp for all upstreams, /mcp/NAME for one, /sse for old clients."""
    import_structlog()
    import structlog

    config = or_fail(read)
    configure_logs(config)
    log = structlog.stdlib.get_logger("gateway")
    for warning in config.warnings:
        log.warning("configuration", warning=warning)
    many = workers or cores()

    def on_listening(url: str) -> None:
        facts = {"workers": many} if many > 1 else {}
        log.info("listening", url=f"{url}/mcp", config=str(config.path), upstreams=len(config.enabled), **facts)
        paste = f"{url}/mcp, or what `mcp-gateway client-config CLIENT --http` prints"
        log.info("for people", docs=f"{url}/docs", paste_into_a_client=paste)

    async def serve() -> None:
        from gateway.app import Gateway
        from gateway.http_service import HttpService

        await HttpService(Gateway(config, reread=read)).serve(on_listening)

    if many == 1:
        run(serve)
    else:
        _supervise(read, config, many, on_listening)


def _supervise(read: "Reading", config: "Config", many: int, on_listening: Callable[[str], None]) -> None:
    if sys.platform == "win32":
        fail("--workers needs sockets that processes pass on, which Windows does not have.", Exit.USAGE)
    from gateway.workers.supervisor import NotStarted, Supervisor

    async def supervise() -> None:
        await Supervisor(read, config, many).run(on_listening)

    try:
        run(supervise)
    except NotStarted as error:
        sys.exit(error.code)


def cores() -> int:
    """Those that this process may use, also where a container has a share of them."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_SHARE.read_text().split()
        return max(1, min(usable, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # there is none, or it says `max`
        return usable
