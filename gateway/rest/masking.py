"""Shows a configuration without what is secret in it. Rather too much is masked than too little.

Masked are: every field that its model keeps out of its own `repr`; the arguments of programs, which often carry keys;
credentials, queries and telling paths of URLs; and, wherever it stands, whatever the configuration counts as a secret.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from gateway.config.models import Config
from gateway.config.reload import Current
from gateway.telemetry.logs import MASK, Redactor

MAX_SEGMENT: Final = 20
"""Characters. A longer part of a path is more often a key than a name: some hosted servers know their users by it."""

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_ARGUMENTS: Final = "args"

Redact = Callable[[str], str]


def redactor(current: Current) -> Redact:
    """Masks secrets of the configuration in any text, such as an upstream's error that quotes one."""
    made: tuple[Config, Redactor] | None = None

    def redact(text: str) -> str:
        nonlocal made
        if made is None or made[0] is not current.config:
            made = current.config, _redactor_for(current.config)
        return made[1](text)

    return redact


def _redactor_for(config: Config) -> Redactor:
    urls = (server.url for server in config.servers.values() if server.url)
    return Redactor(config.secrets.union(*map(_long_segments, urls)))


def safe_url(url: str) -> str:
    """A URL without user, password, query, fragment, and parts of its path that may be secret."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return MASK
    segments = (MASK if len(segment) > MAX_SEGMENT else segment for segment in parts.path.split("/"))
    return f"{parts.scheme}://{host}{port}{'/'.join(segments)}"


def shown(value: Any, redact: Redact) -> Any:
    """A model, or any part of one, as JSON that may be shown."""
    if isinstance(value, BaseModel):
        return dict(_fields(value, redact))
    if isinstance(value, dict):
        return {str(key): shown(each, redact) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(each, redact) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str | Path):
        text = str(value)
        return redact(safe_url(text) if _URL.match(text) else text)
    return value


def _fields(model: BaseModel, redact: Redact) -> Iterator[tuple[str, Any]]:
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        yield name, shown(value, redact) if field.repr and name != _ARGUMENTS else _masked(value)


def _masked(value: Any) -> Any:
    """How much is there, but not what."""
    if isinstance(value, dict):
        return {str(key): MASK for key in value}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple | set | frozenset):
        return [MASK for _ in value]  # pyright: ignore[reportUnknownVariableType]
    return None if value is None else MASK


def _long_segments(url: str) -> set[str]:
    try:
        return {segment for segment in urlsplit(url).path.split("/") if len(segment) > MAX_SEGMENT}
    except ValueError:
        return set()
