"""Time zones and times the way people write them; what cannot be understood is a ToolError with a way out.

Pure but for the time zone database, which is the operating system's.
"""

import datetime as dt
import difflib
from collections.abc import Iterable
from contextlib import suppress
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from mcp.server.mcpserver.exceptions import ToolError

NO_DATABASE: Final = (
    "This machine has no time zone database. Install the operating system's `tzdata` package, "
    "or Python's `tzdata` next to the gateway; until then only UTC is known."
)


def find_zone(name: str) -> dt.tzinfo:
    """Raises ToolError, with near names, when there is no such time zone."""
    if name.upper() in ("UTC", "Z"):
        return dt.UTC
    # OSError: some names are folders of the database, such as "America".
    with suppress(ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(name)
    if not (zones := all_zones()):
        raise ToolError(NO_DATABASE)
    near = near_zones(name, zones)
    hint = f"Did you mean {' or '.join(near)}?" if near else "Read time://zones for the names there are."
    raise ToolError(f"Unknown time zone {name!r}. {hint}")


def all_zones() -> list[str]:
    """Every IANA name this machine knows, sorted; empty without a time zone database."""
    # Both are files of some systems' database, not places.
    return sorted(available_timezones() - {"localtime", "Factory"})


def near_zones(name: str, zones: Iterable[str], limit: int = 3) -> list[str]:
    """The zones whose name, or whose city, is most like `name`."""
    spelled: dict[str, list[str]] = {}
    for zone in zones:
        for spelling in {zone.casefold(), city_of(zone)}:
            spelled.setdefault(spelling, []).append(zone)
    wanted = fold(name)
    close = [wanted] if wanted in spelled else difflib.get_close_matches(wanted, spelled, n=limit, cutoff=0.7)
    return list(dict.fromkeys(zone for spelling in close for zone in by_preference(spelled[spelling])))[:limit]


def find_city(city: str, zones: Iterable[str]) -> str | None:
    """The zone that is, or is named after, this city."""
    wanted = fold(city)
    matches = by_preference(zone for zone in zones if wanted in (zone.casefold(), city_of(zone)))
    return matches[0] if matches else None


def fold(name: str) -> str:
    return name.strip().replace(" ", "_").casefold()


def city_of(zone: str) -> str:
    return zone.rpartition("/")[2].casefold()


def by_preference(zones: Iterable[str]) -> list[str]:
    """Area/City first: the bare names (`Singapore`) are old aliases, and the longest ones are suburbs."""
    return sorted(zones, key=lambda zone: (abs(zone.count("/") - 1), zone))


def read_time(text: str, today: dt.date) -> dt.datetime:
    """A time of day, or a date and time; with a time zone only if `text` has one."""
    with suppress(ValueError):
        return dt.datetime.combine(today, dt.time.fromisoformat(text))
    return read_date(text)


def read_date(text: str) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ToolError(f'{text!r} is not a time. Write "14:30" or "2026-03-30T14:30" (ISO 8601).') from None
    if not dt.MINYEAR < moment.year < dt.MAXYEAR:  # moving it to another time zone could leave the calendar
        raise ToolError(f"The year of {text!r} is out of range.")
    return moment


def place(local: dt.datetime, zone: dt.tzinfo, name: str) -> tuple[dt.datetime, str | None]:
    """Put a local time into its zone; the second value says so when the clocks showed that time twice."""
    if local.tzinfo is not None:
        moment = local.astimezone(zone)
        if moment.utcoffset() != local.utcoffset():
            raise ToolError(f"{local.isoformat()} has an offset that {name} does not have then. Leave the offset out.")
        return moment, None
    moment = local.replace(tzinfo=zone)
    if moment.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None) != local:
        raise ToolError(f"{local.isoformat()} does not exist in {name}: the clocks are put forward over it.")
    if moment.utcoffset() != moment.replace(fold=1).utcoffset():
        return moment, f"The clocks of {name} show this time twice, as they are put back; this is the first."
    return moment, None


def read_instant(text: str) -> dt.datetime:
    """A date, or a date and time, in UTC unless it says otherwise."""
    moment = read_date(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
