"""A gateway that runs elsewhere, asked through its REST side with a key."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from gateway.cli.common import Exit, config_option, fail
from gateway.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

KEY_VARIABLE: Final = "MCP_GATEWAY_KEY"
URL_VARIABLE: Final = "MCP_GATEWAY_URL"
DEFAULT_URL: Final = "http://127.0.0.1:8080"
ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - where it listens, not we
SECONDS: Final = 10.0
"""How long an answer may take."""


class RemoteGateway:
    """Where it is, and who asks. Closed by whoever made it."""

    def __init__(self, url: str, key: str) -> None:
        import httpx2

        self.url = url.rstrip("/")
        headers = {"x-api-key": key} if key else {}
        self._client = httpx2.Client(base_url=self.url, headers=headers, timeout=SECONDS, trust_env=False)

    def get(self, path: str) -> Any:
        """
        Raises:
            GatewayAway: it cannot be asked, for now.
        """
        import httpx2

        try:
            answer = self._client.get(path)
        except httpx2.TransportError as error:
            raise GatewayAway(f"{self.url} does not answer ({error or type(error).__name__})") from None
        if answer.status_code in (401, 403):
            fail(f"{self.url}: {_message(answer)} Give a key in {KEY_VARIABLE}, or with --key-file", Exit.USAGE)
        if answer.status_code == 404:
            fail(f"{self.url} is no gateway, or an older one: it has no {path}", Exit.USAGE)
        if answer.status_code != 200:
            raise GatewayAway(f"{self.url} answered {answer.status_code}: {_message(answer)}")
        return answer.json()

    def close(self) -> None:
        self._client.close()


class GatewayAway(Exception):
    """It cannot be asked; the message says why."""


def with_gateway(verb: F) -> F:
    """Give a verb `--url`, `--key-file` and `-c/--config`, and the gateway that these lead to as its first argument."""

    @click.option("--url", envvar=URL_VARIABLE, help=f"The gateway; else ${URL_VARIABLE}, else as configured.")
    @click.option(
        "--key-file", type=click.Path(path_type=Path), help=f"File with an API key; else ${KEY_VARIABLE} has it."
    )
    @config_option
    @wraps(verb)
    def wrapper(path: Path | None, url: str | None, key_file: Path | None, **options: Any) -> Any:
        gateway = RemoteGateway(url or _configured(path), _key(key_file))
        try:
            return verb(gateway, **options)
        except GatewayAway as error:
            fail(f"{error}. `mcp-gateway serve` starts one; --url says where it is", Exit.NOT_STARTED)
        finally:
            gateway.close()

    return wrapper  # pyright: ignore[reportReturnType]


def _key(file: Path | None) -> str:
    if file is None:
        return os.environ.get(KEY_VARIABLE, "")
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{file}: {getattr(error, 'strerror', None) or 'is not text'}", Exit.USAGE)


def _configured(path: Path | None) -> str:
    """Where the gateway of a configuration listens; without one, where one does by default."""
    from gateway.cli.common import reader

    try:
        settings = reader(path, {}, strict=False)().gateway
    except ConfigError as error:
        if path is not None:
            fail(error.message, Exit.USAGE)
        return DEFAULT_URL
    host = ANY_ADDRESS.get(settings.host, settings.host)
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls is not None else 'http'}://{host}:{settings.port}"


def _message(answer: Any) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return "no reason is given."
