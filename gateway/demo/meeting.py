"""The time server's prompt: an hour that suits people in several cities, and completion of its argument."""

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from mcp import MCPError
from mcp_types import INVALID_PARAMS, Completion
from pydantic import Field

from gateway.demo.zones import NO_DATABASE, all_zones, city_of, find_city, fold

WORKING_HOURS: Final = (dt.time(9), dt.time(17))
MAX_CITIES: Final = 50
MAX_COMPLETIONS: Final = 100
"""The protocol's own limit on `completion/complete`."""


def plan_meeting(
    cities: Annotated[str, Field(description='Separated by commas, such as "Berlin, New York, Asia/Tokyo"')],
    day: Annotated[str, Field(description='Such as "2026-03-30"')],
) -> str:
    """Find an hour that suits people in several cities, with everyone's working hours worked out."""
    date = read_day(day)
    if not (zones := all_zones()):
        raise MCPError(INVALID_PARAMS, NO_DATABASE)
    names = [city.strip() for city in cities.split(",") if city.strip()]
    if len(names) > MAX_CITIES:
        raise MCPError(INVALID_PARAMS, f"{len(names)} cities are too many; {MAX_CITIES} is the limit.")
    found = {name: find_city(name, zones) for name in names}
    hours = {name: working_hours(ZoneInfo(zone), date) for name, zone in found.items() if zone}
    lines = [f"Propose a one-hour meeting on {date:%A}, {date.isoformat()}, for people in {', '.join(names)}.", ""]
    lines += [
        f"- {name} ({found[name]}): 09:00–17:00 there is {utc(start, end)}" for name, (start, end) in hours.items()
    ]
    lines += [f"- {name}: time zone unknown; ask which one it is." for name, zone in found.items() if not zone]
    return "\n".join([*lines, "", overlap(list(hours.values()))])


def read_day(text: str) -> dt.date:
    with suppress(ValueError):
        day = dt.date.fromisoformat(text.strip())
        if dt.MINYEAR < day.year < dt.MAXYEAR:  # elsewhere it could be a day outside the calendar
            return day
    raise MCPError(INVALID_PARAMS, f'{text!r} is not a day. Write it like "2026-03-30".')


def working_hours(zone: dt.tzinfo, date: dt.date) -> tuple[dt.datetime, dt.datetime]:
    start, end = (dt.datetime.combine(date, time, zone).astimezone(dt.UTC) for time in WORKING_HOURS)
    return start, end


def overlap(hours: Sequence[tuple[dt.datetime, dt.datetime]]) -> str:
    if not hours:
        return "Ask where the people are."
    start, end = max(start for start, _ in hours), min(end for _, end in hours)
    if end - start >= dt.timedelta(hours=1):
        return f"Everyone is at work at {utc(start, end)}. Give the hour you choose in every local time."
    return "No hour is within everyone's working hours. Propose the least unfair one, in every local time, and say why."


def utc(start: dt.datetime, end: dt.datetime) -> str:
    return f"{start:%Y-%m-%d %H:%M}–{end:%H:%M} UTC"


def complete(typed: str) -> Completion:
    """Completes the last of several zones separated by commas: "UTC, europe/be" → "UTC, Europe/Berlin"."""
    before, comma, last = typed.rpartition(",")
    wanted = fold(last)
    zones = [zone for zone in all_zones() if zone.casefold().startswith(wanted) or city_of(zone).startswith(wanted)]
    values = [f"{before}{comma} {zone}".strip() for zone in zones[:MAX_COMPLETIONS]]
    return Completion(values=values, total=len(zones), has_more=len(zones) > MAX_COMPLETIONS)
