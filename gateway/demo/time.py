"""An MCP server that knows what time it is, anywhere: `python -m gateway.demo.time`, over stdio.

Needs no network and no credentials; the time zones are the operating system's, or Python's own.
"""

import datetime as dt
import difflib
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from mcp.server.caching import CacheHint
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, ConfigDict, Field

from gateway import __version__

Clock = Callable[[], dt.datetime]
"""Returns the present moment, with a time zone."""

FOREVER: Final = CacheHint(ttl_ms=3_600_000, scope="public")
"""For what cannot change while the process lives; an hour is long enough."""
READS: Final = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)

Zone = Annotated[str, Field(description='IANA time zone, such as "Europe/Berlin" or "UTC"', max_length=64)]
Time = Annotated[
    str,
    Field(
        description='Local time: "14:30" (today in the source time zone) or "2026-03-30T14:30"',
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
    dst: bool
    """Whether daylight saving time is in force."""


class Conversion(Answer):
    """The same instant in two places."""

    source: Moment
    target: Moment
    difference: str
    """How far the target's clocks are ahead of the source's, such as "-03:30"."""


class TimeServer(MCPServer):
    def __init__(self, clock: Clock = lambda: dt.datetime.now(dt.UTC)) -> None:
        super().__init__(
            "time",
            title="Time",
            version=__version__,
            description="What time it is, anywhere.",
            instructions="Ask for the time instead of guessing it. Time zones are IANA names; time://zones lists them.",
            log_level="WARNING",
            subscriptions=False,
            cache_hints={"tools/list": FOREVER, "resources/list": FOREVER, "resources/read": FOREVER},
        )
        self._clock = clock
        self.add_tool(self.now, title="Current time", annotations=READS)
        self.add_tool(self.convert, title="Convert between time zones", annotations=READS)
        self.resource("time://zones", name="zones", title="Time zones")(self.zones)

    def now(self, timezone: Zone = "UTC") -> Moment:
        """Tell the current date and time in a time zone."""
        return moment(self._clock().astimezone(find_zone(timezone)), timezone)

    def convert(self, time: Time, source_timezone: Zone, target_timezone: Zone) -> Conversion:
        """Convert a local time in one time zone to the local time in another, daylight saving time included."""
        source, target = find_zone(source_timezone), find_zone(target_timezone)
        there = read_time(time, source, self._clock().astimezone(source).date())
        here = there.astimezone(target)
        return Conversion(
            source=moment(there, source_timezone),
            target=moment(here, target_timezone),
            difference=show_offset(offset_of(here) - offset_of(there)),
        )

    def zones(self) -> str:
        """Every IANA time zone, one a line."""
        return "\n".join(all_zones())


# --- Time zones and times the way people write them; what cannot be understood is an error with a way out ------------


def all_zones() -> list[str]:
    """Every IANA name there is, sorted."""
    return sorted(available_timezones() - {"localtime", "Factory"})  # which are files of it, and not places


def find_zone(name: str) -> dt.tzinfo:
    if name.upper() in ("UTC", "Z"):
        return dt.UTC
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "America" is a folder of the database
        return ZoneInfo(name)
    near = near_zones(name)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Read time://zones for the names there are."
    raise ToolError(f"Unknown time zone {name!r}. {hint}")


def near_zones(name: str) -> list[str]:
    """Those of which the name, or the city in it, is most like `name`."""
    zones = all_zones()
    spelled = {zone.rpartition("/")[2].casefold(): zone for zone in reversed(zones)}
    spelled |= {zone.casefold(): zone for zone in zones}
    wanted = name.strip().replace(" ", "_").casefold()
    close = [wanted] if wanted in spelled else difflib.get_close_matches(wanted, spelled, n=3, cutoff=0.7)
    return list(dict.fromkeys(spelled[each] for each in close))


def read_time(text: str, zone: dt.tzinfo, today: dt.date) -> dt.datetime:
    """A time of day, or a date and time, in that zone unless it has an offset of its own. One that the clocks show
    twice is the first."""
    local = None
    with suppress(ValueError):
        local = dt.datetime.fromisoformat(text)
    with suppress(ValueError):
        local = dt.datetime.combine(today, dt.time.fromisoformat(text))
    if local is None:
        raise ToolError(f'{text!r} is not a time. Write "14:30" or "2026-03-30T14:30" (ISO 8601).')
    if not dt.MINYEAR < local.year < dt.MAXYEAR:  # moving it to another time zone could leave the calendar
        raise ToolError(f"The year of {text!r} is out of range.")
    if local.tzinfo is not None:
        return local.astimezone(zone)
    there = local.replace(tzinfo=zone)
    if there.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise ToolError(f"{local.isoformat()} does not exist in {zone}: the clocks are put forward over it.")
    return there


def moment(time: dt.datetime, timezone: str) -> Moment:
    return Moment(
        timezone=timezone, time=time.isoformat(timespec="seconds"), weekday=f"{time:%A}", dst=bool(time.dst())
    )


def offset_of(time: dt.datetime) -> dt.timedelta:
    return time.utcoffset() or dt.timedelta()


def show_offset(offset: dt.timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def main() -> None:
    with suppress(KeyboardInterrupt):
        TimeServer().run("stdio")


if __name__ == "__main__":
    main()
