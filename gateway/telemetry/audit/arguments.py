"""What the audit log says of a call's arguments: nothing, a hash, or all that nobody wants masked."""

import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, cast

import msgspec
import orjson

from gateway.config.models.telemetry import Arguments, AuditSettings

MASK: Final = "***"
MOST_SHOWN: Final = 16 * 1024
"""Bytes of arguments that are said; of larger ones there is the hash."""
MOST_OPENED: Final = 64 * 1024
"""Bytes of arguments that are looked into; larger ones are hashed as they came."""
_TELLING: Final = re.compile(r"key|token|secret|passw|pwd|credential|auth|cookie|(^|_)pat($|_)", re.IGNORECASE)
_DEEPEST: Final = 32
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9_*?.\[\]!]")
"""What names of arguments have `_` for where a model's API takes no others (`gateway.dialects`)."""


@dataclass(frozen=True, slots=True)
class _Rule:
    tools: Sequence[str]
    how: Arguments
    mask: Sequence[str]


class ArgumentRules:
    """
    Args:
        key: of the hash, so that nobody can find short arguments by trying.
    """

    def __init__(self, settings: AuditSettings, key: bytes) -> None:
        self._key = key
        self._rules = [
            _Rule(rule.tools, rule.arguments, _spelled([*settings.mask, *rule.mask])) for rule in settings.rules
        ]
        self._otherwise = _Rule((), settings.arguments, _spelled(settings.mask))
        self.says_nothing = settings.arguments == "off" and all(rule.how == "off" for rule in self._rules)

    def describe(self, tool: str, arguments: object, redact: Callable[[str], str]) -> dict[str, Any]:
        """The members of a record that say it; none if nothing is to be said.

        Args:
            arguments: as JSON, or its bytes.
        """
        rule = next((rule for rule in self._rules if _matches(tool, rule.tools)), self._otherwise)
        if rule.how == "off" or arguments is None:
            return {}
        if isinstance(arguments, msgspec.Raw):
            raw = bytes(arguments)
            if len(raw) > MOST_OPENED:
                return {"arguments_bytes": len(raw), "arguments_hash_as_sent": self._hash(raw)}
            arguments = orjson.loads(raw)
        canonical = orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS, default=str)
        if rule.how == "redact" and len(canonical) <= MOST_SHOWN:
            return {"arguments": masked(arguments, rule.mask, redact)}
        return {"arguments_bytes": len(canonical), "arguments_hash": self._hash(canonical)}

    def _hash(self, data: bytes) -> str:
        return hmac.digest(self._key, data, "sha256").hex()


def masked(value: object, mask: Sequence[str], redact: Callable[[str], str], path: str = "", depth: int = 0) -> Any:
    """A copy in which values are masked whose name is telling, or is in `mask`, by itself or as a dotted path. What is
    JSON in a text, as some models' APIs want objects, is looked into as if it were none."""
    if depth > _DEEPEST:
        return MASK
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, inner in cast("dict[str, object]", value).items():
            place = f"{path}.{name}" if path else name
            hidden = _TELLING.search(name) or _matches(name, mask) or _matches(place, mask)
            found[redact(name)] = MASK if hidden else masked(inner, mask, redact, place, depth + 1)
        return found
    if isinstance(value, list):
        return [masked(each, mask, redact, path, depth + 1) for each in cast("list[object]", value)]
    return _of_text(value, mask, redact, path, depth) if isinstance(value, str) else value


def _of_text(text: str, mask: Sequence[str], redact: Callable[[str], str], path: str, depth: int) -> str:
    if text.lstrip()[:1] not in ("{", "["):
        return redact(text)
    try:
        found: object = orjson.loads(text)
    except ValueError:  # meant to be, perhaps: nobody can tell what of it is whose
        is_telling = _TELLING.search(text) or any(glob.startswith(f"{path}.") for glob in mask)
        return MASK if is_telling else redact(text)
    shown = masked(found, mask, redact, path, depth + 1)
    return redact(text) if shown == found else orjson.dumps(shown).decode()


def _spelled(mask: Sequence[str]) -> list[str]:
    """The same, and with each name as it may be called for a model's API."""
    return list(dict.fromkeys([*mask, *(_NO_NAME.sub("_", glob) for glob in mask)]))


def _matches(text: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(text, glob) for glob in globs)
