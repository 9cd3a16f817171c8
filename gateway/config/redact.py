"""Says which values of a configuration are secret, so that logs can leave them out.

Rather too much than too little: everything a server is given through its environment or its headers counts, short of
the few names below, and whatever came from a variable with a telling name, or from a file, the keyring or a command,
wherever it was put.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from gateway.config.models.access import AuthSettings
from gateway.config.models.server import ServerConfig

SHORTEST: Final = 6
"""Characters; shorter values would blot out half of every log line."""

_HARMLESS: Final = frozenset(
    {
        *("accept", "content-type", "user-agent"),
        *("home", "lang", "lc_all", "log_level", "node_env", "path", "pythonpath", "pythonunbuffered", "tz"),
    }
)
_TELLING: Final = re.compile(r"key|token|secret|passw|pwd|credential|auth|(^|_)pat($|_)", re.IGNORECASE)


def secrets(
    servers: Iterable[ServerConfig],
    used: Mapping[str, str],
    store: str | None = None,
    read: Collection[str] = (),
    auth: AuthSettings | None = None,
) -> frozenset[str]:
    """Every secret value of at least `SHORTEST` characters.

    Args:
        used: the variables that were expanded.
        store: its URL.
        read: what was read where secrets are kept.
        auth: `gateway.auth`.
    """
    found = {*read, *(value for name, value in used.items() if _TELLING.search(name))}
    sign_in = auth.oauth.sign_in if auth is not None and auth.oauth is not None else None
    if sign_in is not None and sign_in.client_secret is not None:
        found.add(sign_in.client_secret)
    if store is not None:
        found.update(_in_url(store))
    for server in servers:
        found.update(_of(server))
    return frozenset(value for value in found if len(value) >= SHORTEST)


def _of(server: ServerConfig) -> Iterator[str]:
    yield from (value for name, value in server.env.items() if name.lower() not in _HARMLESS)
    for name, value in server.headers.items():
        if name.lower() not in _HARMLESS:
            yield value
            yield value.rpartition(" ")[2]  # the token without its scheme
    yield from server.auth.secrets
    if server.openapi is not None:
        yield from server.openapi.credentials.values()
        yield from (value.rpartition(":")[2] for value in server.openapi.credentials.values())
        yield from (value for name, value in server.openapi.query.items() if _TELLING.search(name))
        if not server.disabled:
            yield from _in_url(server.openapi.document)
    if server.url and not server.disabled:
        yield from _in_url(server.url)


def _in_url(url: str) -> Iterator[str]:
    parts = urlsplit(url)
    yield parts.password or ""
    yield unquote(parts.password or "")
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if _TELLING.search(name):
            yield value
            yield unquote(value)
