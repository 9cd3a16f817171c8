"""An MCP server that knows what time it is, anywhere: `python -m gateway.demo.time`, over stdio.

Needs no network and no credentials; the time zones are the operating system's.
"""

import datetime as dt
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Final

from mcp.server.caching import CacheHint
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
    ToolAnnotations,
)
from pydantic import BaseModel, ConfigDict, Field

from gateway import __version__
from gateway.demo.meeting import complete, plan_meeting
from gateway.demo.zones import NO_DATABASE, all_zones, find_zone, place, read_instant, read_time

Clock = Callable[[], dt.datetime]
"""Returns the present moment, with a time zone."""

FOREVER: Final = CacheHint(ttl_ms=3_600_000, scope="public")
"""For what cannot change while the process lives; an hour is long enough."""

Zone = Annotated[str, Field(description='IANA time zone, such as "Europe/Berlin" or "UTC"', max_length=64)]
Time = Annotated[
    str,
    Field(
        description='Local time: "14:30" (today in the source time zone) or "2026-03-30T14:30"',
        min_length=1,
        max_length=64,
    ),
]
Date = Annotated[
    str,
    Field(
        description='ISO 8601: "2026-03-30", "2026-03-30T14:30" (taken as UTC) or "2026-03-30T14:30+02:00"',
        min_length=1,
        max_length=64,
    ),
]


class Answer(BaseModel):
    """What a tool returns. The SDK derives the output schema from it, descriptions included."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Moment(Answer):
    """One instant, as the clocks of one place show it."""

    timezone: str
    time: str
    """ISO 8601, to the second, with the UTC offset."""
    weekday: str
    """In English."""
    utc_offset: str
    """Such as "+05:30"."""
    dst: bool
    """Whether daylight saving time is in force."""


class Conversion(Answer):
    """The same instant in two places."""

    source: Moment
    target: Moment
    difference: str
    """How far the target's clocks are ahead of the source's, such as "-03:30"."""
    note: str | None
    """Set when the source's clocks showed that time twice."""


class Span(Answer):
    """What lies between two instants."""

    seconds: float
    """Negative when the end is before the start."""
    text: str
    """For people, such as "2 days 3 h 5 min"."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The three tools. Every error they raise is one that the model can read and correct."""

    clock: Clock

    def now(self, timezone: Zone = "UTC") -> Moment:
        """Tell the current date and time in a time zone."""
        return show(self.clock().astimezone(find_zone(timezone)), timezone)

    def convert(self, time: Time, source_timezone: Zone, target_timezone: Zone) -> Conversion:
        """Convert a local time in one time zone to the local time in another, daylight saving time included."""
        source, target = find_zone(source_timezone), find_zone(target_timezone)
        there, note = place(read_time(time, self.clock().astimezone(source).date()), source, source_timezone)
        here = there.astimezone(target)
        ahead = (here.utcoffset() or dt.timedelta()) - (there.utcoffset() or dt.timedelta())
        return Conversion(
            source=show(there, source_timezone),
            target=show(here, target_timezone),
            difference=show_offset(ahead),
            note=note,
        )

    def difference(self, start: Date, end: Date) -> Span:
        """Measure the time between two dates or times."""
        first, last = (read_instant(text) for text in (start, end))
        seconds = (last - first).total_seconds()
        return Span(seconds=seconds, text=show_span(seconds))


# --- Writing what people read -------------------------------------------------------------------------------------


def show(moment: dt.datetime, timezone: str) -> Moment:
    offset = moment.utcoffset() or dt.timedelta()
    return Moment(
        timezone=timezone,
        time=moment.isoformat(timespec="seconds"),
        weekday=f"{moment:%A}",
        utc_offset=show_offset(offset),
        dst=bool(moment.dst()),
    )


def show_offset(offset: dt.timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def show_span(seconds: float) -> str:
    whole = round(seconds)
    days, rest = divmod(abs(whole), 86_400)
    parts = [(days, "day" if days == 1 else "days"), (rest // 3600, "h"), (rest // 60 % 60, "min"), (rest % 60, "s")]
    text = " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"
    return f"-{text}" if whole < 0 else text


# --- The server ---------------------------------------------------------------------------------------------------


def zones_resource() -> str:
    if not (zones := all_zones()):
        raise ResourceError(NO_DATABASE)
    return "\n".join(zones)


async def complete_argument(
    ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: CompletionContext | None
) -> Completion | None:
    del context  # no argument depends on another
    if isinstance(ref, PromptReference) and (ref.name, argument.name) == ("plan_meeting", "cities"):
        return complete(argument.value)
    return None


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def build(clock: Clock = utc_now) -> MCPServer:
    server = MCPServer(
        "time",
        title="Time",
        version=__version__,
        description="What time it is, anywhere.",
        instructions="Ask for the time instead of guessing it. Time zones are IANA names; time://zones lists them.",
        log_level="WARNING",
        subscriptions=False,
        cache_hints={
            "tools/list": FOREVER,
            "prompts/list": FOREVER,
            "resources/list": FOREVER,
            "resources/templates/list": FOREVER,
            "resources/read": FOREVER,
        },
    )
    tools = Tools(clock)
    hints = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
    server.add_tool(tools.now, title="Current time", annotations=hints, structured_output=True)
    server.add_tool(tools.convert, title="Convert between time zones", annotations=hints, structured_output=True)
    server.add_tool(tools.difference, title="Time between two dates", annotations=hints, structured_output=True)
    server.prompt(title="Plan a meeting across time zones")(plan_meeting)
    server.resource("time://zones", name="zones", title="Time zones", description="Every IANA time zone, one a line.")(
        zones_resource
    )
    server.completion()(complete_argument)
    return server


def main() -> None:
    with suppress(KeyboardInterrupt):
        build().run("stdio")


if __name__ == "__main__":
    main()
