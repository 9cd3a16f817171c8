"""Durations and sizes the way people write them: `30s`, `16MiB`."""

import math
import re
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

_UNITS: Final = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
_DURATION: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?) ?(ms|s|m|h|)")
_LONGEST: Final = 365 * 24 * 3600.0

_BYTES: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?([kmg]i?b|b|)", re.IGNORECASE)


def seconds(value: object) -> float:
    """A duration in seconds: from `500ms`, `30s`, `5m`, `1h`, or a bare number of seconds.

    Raises:
        ValueError: not a duration, negative, or longer than a year.
    """
    match = None if isinstance(value, bool) else _DURATION.fullmatch(str(value).strip())
    if isinstance(value, float) and not match:  # 1e-05 and the like, which nobody writes but code computes
        result = value
    elif match:
        result = float(match[1]) * _UNITS[match[2]]
    else:
        raise ValueError("must be a duration such as 500ms, 30s, 5m or 1h; a bare number is seconds")
    if not math.isfinite(result) or not 0 <= result <= _LONGEST:
        raise ValueError("must be between 0 and one year (8760h)")
    return result


def size(value: object) -> int:
    """A size in bytes: from `16MiB`, `500kB`, or a bare number of bytes.

    Raises:
        ValueError: not a size.
    """
    match = None if isinstance(value, bool) else _SIZE.fullmatch(str(value).strip())
    if not match:
        raise ValueError("must be a size such as 16MiB, 500kB or a number of bytes")
    return int(match[1]) * _BYTES[match[2].lower()]


Duration = Annotated[
    float,
    BeforeValidator(seconds),
    WithJsonSchema({"type": ["string", "number"], "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h)?$|\$\{", "minimum": 0}),
]
"""Seconds, zero included."""

PositiveDuration = Annotated[Duration, Field(gt=0)]
"""Seconds, more than zero."""

Size = Annotated[
    int,
    Field(ge=1024),
    BeforeValidator(size),
    WithJsonSchema(
        {"type": ["string", "integer"], "pattern": r"^[0-9]+ ?([kKmMgG]i?[bB]|[bB])?$|\$\{", "minimum": 1024}
    ),
]
"""Bytes, at least 1 KiB."""
