"""What `mcp-gateway status` and `top` draw of what a gateway says of itself. Imports rich."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.harmless import harmless

Status = dict[str, Any]
"""As `/status` gives it."""

TROUBLED: Final = frozenset({"backing off", "degraded", "login needed"})
"""States in which something is wrong."""
_STATES: Final = {
    "ready": ("●", "green"),
    "stopped": ("○", "dim"),
    "starting": ("◐", "cyan"),
    "degraded": ("●", "yellow"),
}
_BARS: Final = "▁▂▃▄▅▆▇█"
_SLOW_MS: Final = (250.0, 2000.0)
"""From when on a latency is shown as a concern, and as a problem."""
LONGEST: Final = 60
"""Characters of a name."""


def is_troubled(status: Status) -> bool:
    """Whether something is not as it should be. That whoever asks has not logged in is nothing of the kind."""
    upstreams = status["upstreams"]
    return status["configuration"] == "refused" or any(
        (each["state"] in TROUBLED and not each.get("connect")) or each["breaker"] != "closed" for each in upstreams
    )


def dashboard(
    status: Status, url: str, *, rows: int | None = None, history: Sequence[float] = (), note: str = ""
) -> RenderableType:
    """All of it.

    Args:
        rows: how many lines there are; None for as many as it takes.
        history: requests a second, oldest first.
        note: a line at the end.
    """
    upstreams, calls, callers = status["upstreams"], status["calls"], status["callers"]
    if rows is not None:
        room = max(6, rows - 14)  # for all that is no line of a table
        shown = min(len(upstreams), max(3, room // 3))
        each = max(2, (room - shown) // 2)
        upstreams, calls, callers = upstreams[:shown], calls[:each], callers[:each]
    parts: list[RenderableType] = [_head(status, url, history), _upstreams(upstreams)]
    parts += [_login(each) for each in upstreams if each.get("connect")]
    if calls:
        parts.append(_calls(sorted(calls, key=lambda call: -call["p95_ms"])))
    if callers:
        parts.append(_callers(callers))
    if note:
        parts.append(Text(note, "dim"))
    return Group(*parts)


def _head(status: Status, url: str, history: Sequence[float]) -> RenderableType:
    line = Text.assemble(
        ("mcp-gateway ", "bold"),
        (f"{status['version']}  ", "dim"),
        (url, "cyan"),
        ("  ", ""),
        (status["environment"], "magenta"),
        (f"  up {_span(status['uptime'])}", "dim"),
    )
    if status["draining"]:
        line.append("  stopping", "bold yellow")
    if status["configuration"] == "refused":
        line.append("  configuration refused", "bold red")
    failed = status["failed"] / status["requests"] if status["requests"] else 0.0
    numbers = Text.assemble(
        (f"{status['per_second_now']:,.1f}", "bold"),
        (" req/s   ", "dim"),
        (f"{failed:.1%}", _concern(failed, 0.01, 0.1)),
        (" failed   p95 ", "dim"),
        _ms(status["p95_ms"]),
    )
    if status["sessions"] is not None:
        numbers.append(f"   {status['sessions']:,} sessions   {status['in_flight']:,} in flight", "dim")
    if status["scope"] == "own":
        numbers.append("   your own requests", "dim italic")
    if history:
        numbers.append("   ")
        numbers.append(sparkline(history), "green")
    return Panel(Group(line, numbers), box=box.ROUNDED, border_style="dim")


def _upstreams(upstreams: Sequence[Status]) -> Table:
    table = _table("upstream", "state", *_NUMBERS, "busy", title="Upstreams")
    for each in upstreams:
        sign, style = _STATES.get(each["state"], ("●", "red"))
        state = Text.assemble((f"{sign} ", style), (each["state"], style))
        if each["breaker"] != "closed":
            state.append(f"  breaker {each['breaker']}", "red")
        if each["reason"]:
            state.append(f"  {_clean(each['reason'])}", "dim")
        busy = f"{each['in_flight']}" + (f"+{each['queued']}" if each["queued"] else "")
        table.add_row(
            Text(_clean(each["name"]), "bold"), state, *_numbers(each), Text(busy, "" if busy != "0" else "dim")
        )
    return table


def _login(upstream: Status) -> RenderableType:
    """On lines of its own, whole: it is there to be opened."""
    text = Text.assemble(
        "Log in to ", (_clean(upstream["name"]), "bold"), ": ", (harmless(upstream["connect"]), "cyan")
    )
    text.no_wrap, text.overflow = False, "fold"
    return text


def _calls(calls: Sequence[Status]) -> Table:
    table = _table("tool", "upstream", *_NUMBERS, "max", title="Slowest")
    for each in calls:
        upstream = Text(_clean(each["upstream"] or "the gateway itself"), "dim")
        table.add_row(Text(_clean(each["target"]), "bold"), upstream, *_numbers(each), _ms(each["max_ms"]))
    return table


def _callers(callers: Sequence[Status]) -> Table:
    table = _table("caller", "credential", *_NUMBERS, "mostly", title="Callers")
    table.columns[-1].justify = "left"
    for each in callers:
        name = " / ".join(_clean(part) for part in (each["owner"], each["agent_name"]) if part)
        table.add_row(
            Text(name, "bold"), Text(_clean(each["principal"]), "dim"), *_numbers(each), Text(_clean(each["most"]))
        )
    return table


_NUMBERS: Final = ("req/s", "requests", "failed", "p50", "p95")


def _table(*columns: str, title: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, expand=True, title=title, title_style="bold", title_justify="left", pad_edge=False
    )
    for number, name in enumerate(columns):
        table.add_column(name, header_style="dim", justify="left" if number < 2 else "right", no_wrap=True, ratio=None)
    table.columns[1].overflow = "ellipsis"
    table.columns[1].ratio = 1
    return table


def _numbers(each: Status) -> Iterator[Text]:
    quiet = "dim" if not each["requests"] else ""
    yield Text(f"{each['per_second_now']:,.1f}", quiet)
    yield Text(f"{each['requests']:,}", quiet)
    share = each["failed"] / each["requests"] if each["requests"] else 0.0
    yield Text(f"{each['failed']:,}", _concern(share, 0.01, 0.1) if each["failed"] else "dim")
    for name in ("p50_ms", "p95_ms"):
        yield _ms(each[name]) if each["requests"] else Text("–", "dim")


def _ms(value: float) -> Text:
    shown = f"{value / 1000:,.1f} s" if value >= 1000 else f"{value:,.0f} ms" if value >= 10 else f"{value:,.1f} ms"
    return Text(shown, _concern(value, *_SLOW_MS))


def _concern(value: float, some: float, much: float) -> str:
    return "bold red" if value >= much else "yellow" if value >= some else ""


def sparkline(values: Sequence[float]) -> str:
    """A bar a value, the highest one full."""
    top = max([*values, 1e-9])
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in values)


def _span(seconds: float) -> str:
    """`3 d 4 h`, `12 min`, `8 s`."""
    whole = int(seconds)
    days, hours, minutes = whole // 86_400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{whole} s"


def _clean(text: str) -> str:
    """What a server or a client calls itself, on one line."""
    shown = harmless(text).replace("\n", " ").replace("\t", " ")
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
