"""`mcp-gateway top`: what goes on in a gateway that runs, live."""

import sys
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click

from gateway.cli.common import Exit
from gateway.cli.remote import GatewayAway, RemoteGateway, with_gateway

if TYPE_CHECKING:
    from rich.console import Console

HISTORY: Final = 40
"""Bars of the rate's past."""


@click.command("top")
@click.option("-i", "--interval", type=click.FloatRange(min=0.2), default=1.0, show_default=True, help="In seconds.")
@click.option("-n", "--count", type=click.IntRange(min=1), help="End after that many looks.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line each time, for programs.")
@with_gateway
def command(gateway: RemoteGateway, interval: float, count: int | None, as_json: bool) -> None:
    """Watch upstreams, rates, latencies, the slowest tools, and who calls what. `q` or Ctrl-C ends it.

    Asks as `mcp-gateway status` does. A gateway that does not answer is asked again.
    """
    try:
        if as_json:
            _print(gateway, interval, count)
        else:
            _show(gateway, interval, count)
    except KeyboardInterrupt:
        sys.exit(Exit.FINE)


def _print(gateway: RemoteGateway, interval: float, count: int | None) -> None:
    from gateway import jsonrpc

    number = 0
    while count is None or number < count:
        if number:
            time.sleep(interval)
        click.echo(jsonrpc.dumps(gateway.get("/status")))
        sys.stdout.flush()
        number += 1


def _show(gateway: RemoteGateway, interval: float, count: int | None) -> None:
    from rich.console import Console
    from rich.live import Live

    from gateway.cli.ui.dashboard import dashboard

    console = Console(highlight=False)
    history: deque[float] = deque(maxlen=HISTORY)
    status: dict[str, Any] = gateway.get("/status")  # no screen is taken for what ends at once
    if not console.is_terminal:
        for number in range(count or 1):
            if number:
                time.sleep(interval)
                status = gateway.get("/status")
            console.print(dashboard(status, gateway.url))
        return
    note, number = "", 1
    with Live(console=console, screen=True, auto_refresh=False) as live, _keys() as pressed:
        while True:
            history.append(status["per_second_now"])
            ends = f"{note}   q ends" if note else "q ends"
            live.update(dashboard(status, gateway.url, rows=_rows(console), history=history, note=ends), refresh=True)
            if (count is not None and number >= count) or pressed(interval) in ("q", "Q", "\x1b"):
                return
            number += 1
            try:
                status, note = gateway.get("/status"), ""
            except GatewayAway as error:
                note = f"{error}; asked again"


def _rows(console: "Console") -> int:
    return console.size.height


@contextmanager
def _keys() -> Generator[Callable[[float], str]]:
    """What waits so many seconds for a key, and returns it, or nothing."""
    if sys.platform == "win32" or not sys.stdin.isatty():
        yield _sleep
        return
    import select
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def pressed(seconds: float) -> str:
        readable, _, _ = select.select([descriptor], [], [], seconds)
        return sys.stdin.read(1) if readable else ""

    try:
        tty.setcbreak(descriptor)
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def _sleep(seconds: float) -> str:
    time.sleep(seconds)
    return ""
