"""One upstream's entry: how to reach it, what of it is offered, and how patient to be with it."""

import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from gateway import spelling
from gateway.config.models.access import UpstreamRateLimit
from gateway.config.models.auth import AuthConfig, Kind, spelled
from gateway.config.models.fields import (
    Argument,
    Count,
    FilePath,
    HeaderName,
    HeaderValue,
    Line,
    Model,
    Text,
    VariableName,
)
from gateway.config.models.openapi import OpenApiConfig, openapi_spelled
from gateway.config.models.quantities import Duration, PositiveDuration, Size
from gateway.config.models.results import ResultsConfig, results_spelled

Transport = Literal["stdio", "http", "sse", "openapi"]

TRANSPORTS: Final[Mapping[str, Transport]] = {
    "stdio": "stdio",
    "local": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamableHttp": "http",
    "sse": "sse",
    "openapi": "openapi",
}
"""Every accepted spelling of `type`. Case does not matter."""

_FOLDED: Final = {spelling.lower(): transport for spelling, transport in TRANSPORTS.items()}


def _distinct_names(headers: dict[str, str]) -> dict[str, str]:
    if len({name.lower() for name in headers}) < len(headers):
        raise ValueError("names a header twice (upper and lower case are the same here); keep one")
    return headers


def _has_authorization(headers: Mapping[str, str]) -> bool:
    return any(name.lower() == "authorization" for name in headers)


class ToolRules(Model):
    """Which of an upstream's tools are offered, and under which words. Names are the upstream's own."""

    allow: list[Text] = Field(default=["*"])
    """Globs of the tools to offer. An empty list offers none."""
    deny: list[Text] = Field(default=[])
    """Globs of the tools not to offer. Wins over `allow`."""
    rename: dict[str, Text] = Field(default={})
    """The upstream's name of a tool → the name to publish."""
    describe: dict[str, Text] = Field(default={})
    """The upstream's name of a tool → the description to publish."""

    def offers(self, tool: str, *, words: bool = False) -> bool:
        """Whether the upstream's tool of this name is offered; `words`: globs match it in words, too."""
        return spelling.offers(tool, self.allow, self.deny, words=words)


class BreakerConfig(Model):
    """When to stop calling an upstream that keeps failing, and for how long."""

    failures: Count = 5
    """Failures in a row after which calls fail at once."""
    window: PositiveDuration = 600.0
    """The time within which these failures must come; what is older does not count."""
    cooldown: PositiveDuration = 30.0
    """How long until one call may try again."""


def _timeouts(given: Mapping[str, Any]) -> list[float]:
    """Those that were understood."""
    return [given.get("timeout", 0.0), *given.get("timeouts", {}).values()]


class ServerConfig(Model):
    """One upstream MCP server."""

    disabled: bool = False  # stands first: what a disabled server lacks is no error, and validators below ask for it
    """Keep the entry, but do not start or show the server."""
    type: Transport = "stdio"
    """How to reach it. Inferred when absent: `openapi` with `openapi`, `stdio` with `command`, `http` with `url`."""
    command: Line | None = None
    """The program to start (stdio), found on PATH. It is not a shell line; arguments go to `args`."""
    args: list[Argument] = Field(default=[])
    """Arguments of the program."""
    env: dict[VariableName, Argument] = Field(default={}, repr=False)
    """Environment variables of the program, added to a minimal safe set."""
    env_file: FilePath | None = None
    """A `.env` file with more variables for the program; `env` wins. Relative to the file that names it."""
    cwd: FilePath | None = None
    """Directory to start the program in. Relative to the file that names it."""
    openapi: Annotated[OpenApiConfig | None, BeforeValidator(openapi_spelled)] = None
    """An HTTP API: its OpenAPI document, and what of it counts. A text is short for `document`."""
    url: Line | None = None
    """Where the server is (http, sse), or what the paths of an API's document stand below (openapi)."""
    headers: Annotated[dict[HeaderName, HeaderValue], AfterValidator(_distinct_names)] = Field(default={}, repr=False)
    """Headers sent with every request (http, sse, openapi)."""
    auth: Annotated[AuthConfig, BeforeValidator(spelled)] = AuthConfig()
    """How the gateway proves to the server who asks, if it wants to know (http, sse, openapi). A word is short for
    `login`."""
    fallback_sse: bool = False
    """Try the older HTTP+SSE transport when the server does not speak Streamable HTTP. True for `http` unless set."""
    tools: ToolRules = ToolRules()
    """Which tools are offered, and under which names and descriptions. A list is short for `allow`."""
    timeout: PositiveDuration = 60.0
    """How long a request may take. Progress reported by the server starts it anew."""
    timeouts: dict[str, PositiveDuration] = Field(default={})
    """Globs of the server's tools → how long a call of one may take, instead of `timeout`. The first that matches."""
    max_timeout: PositiveDuration = Field(default_factory=lambda given: max(900.0, *_timeouts(given)))
    """How long a request may take in all, whatever progress is reported. 15 minutes, or the longest of the above."""
    connect_timeout: PositiveDuration = 30.0
    """How long connecting and the handshake may take."""
    lazy: bool = False
    """Do not start the server until something of it is called; until then its last known catalogue is shown."""
    isolation: Literal["shared", "identity", "session"] | None = None
    """Who shares one upstream session. When absent, the gateway decides by the protocol the two sides speak."""
    era: Literal["auto", "modern", "handshake"] = "auto"
    """Which era of the protocol to speak with it: `modern` (from 2026-07-28 on), `handshake` (before), or what fits."""
    per_worker: bool = False
    """Whether each worker of `serve --workers` starts the program (stdio), which else runs once for all of them."""
    max_sessions: Count = 256
    """Sessions of their own that clients may have with the server at a time; for a program, that many processes."""
    description: Text | None = None
    """What the server is for; shown to people."""
    tags: list[Text] = Field(default=[])
    """Words to find the server by."""
    grace: Duration = 60.0
    """How long a lost server's tools stay listed before they vanish."""
    max_response_bytes: Size = 16 * 2**20
    """The largest answer accepted from it."""
    results: Annotated[ResultsConfig, BeforeValidator(results_spelled)] = ResultsConfig()
    """How much of the text of its tools' results agents are given at once; the rest they can read on. A number is short
    for `max_tokens`."""
    trust_annotations: bool = False
    """Believe its `readOnlyHint` and `idempotentHint`, so that such calls may be repeated after a failure. True for
    `openapi` unless set: there the method says so."""
    pin: Literal["off", "warn", "block"] = "warn"
    """What to do when a definition is not what was first seen: nothing, log it, or refuse to use it until approved."""
    rate_limit: UpstreamRateLimit = UpstreamRateLimit()
    """How much each principal may ask of it."""
    propagate: list[Literal["tracestate", "baggage"]] = Field(default=[])
    """What of a client's trace context it is given beside `traceparent`, where calls are traced."""
    max_concurrency: Count | None = None
    """Requests in flight to it at a time; further ones wait. When absent, there is no limit."""
    max_queue: Annotated[int, Field(ge=0)] = 100
    """Requests that may wait; one more fails at once."""
    required: bool = False
    """Whether the gateway is ready only while this server is."""
    breaker: BreakerConfig = BreakerConfig()
    """When to stop calling it because it keeps failing."""
    prefix: Literal["none"] | None = None
    """`none` publishes its names as they are. Only while it is the one enabled server."""

    @model_validator(mode="before")
    @classmethod
    def _infer(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        given: dict[str, Any] = dict(data)  # pyright: ignore[reportUnknownArgumentType]
        remote = given.get("url") is not None and given.get("command") is None
        inferred = "openapi" if given.get("openapi") is not None else "http" if remote else "stdio"
        kind = given.setdefault("type", inferred)
        if isinstance(kind, str):
            given["type"] = _FOLDED.get(kind.lower(), kind)
        given.setdefault("fallback_sse", given["type"] == "http")
        if given["type"] == "openapi":
            given.setdefault("trust_annotations", True)
            given["era"] = "modern"  # which is without sessions, as HTTP is
        return given

    @field_validator("command")
    @classmethod
    def _expand_home(cls, command: str | None) -> str | None:
        return os.path.expanduser(command) if command else command

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None or info.data.get("disabled"):
            return url
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or any(character.isspace() or not character.isprintable() for character in url):
            raise ValueError("must be a URL such as https://example.com/mcp")
        return url

    @field_validator("max_timeout")
    @classmethod
    def _not_below_timeout(cls, max_timeout: float, info: ValidationInfo) -> float:
        if max_timeout < info.data.get("timeout", 0.0):
            raise ValueError("must not be less than timeout")
        if max_timeout < max(_timeouts(info.data)):
            raise ValueError("must not be less than one of timeouts")
        return max_timeout

    @model_validator(mode="after")
    def _has_a_way_in(self) -> "ServerConfig":
        if self.disabled:
            return self
        if self.command and self.url:
            raise ValueError("has both `command` and `url`; keep the one to use")
        if self.openapi is not None or self.type == "openapi":
            return self._is_api(self.openapi)
        if self.type == "stdio" and not self.command:
            raise ValueError(
                "type stdio starts a program; name it in `command`"
                if self.url
                else "needs `command` (a program to start) or `url` (a server to reach)"
            )
        if self.type != "stdio" and not self.url:
            raise ValueError(f"type {self.type} reaches a server; give its `url`")
        if self.auth.kind not in ("auto", "none") and _has_authorization(self.headers):
            raise ValueError("has both `auth` and an `Authorization` among its `headers`; keep one")
        return self

    def _is_api(self, openapi: OpenApiConfig | None) -> "ServerConfig":
        if openapi is None:
            raise ValueError("type openapi is an HTTP API; give its document in `openapi`")
        if self.type != "openapi" or self.command:
            raise ValueError(f"has `openapi`, and {'`command`' if self.command else f'type {self.type}'}; keep one")
        if not self.url and not openapi.use_servers:
            raise ValueError(
                "needs `url`, where the API is; or `openapi: {use_servers: true}`, if its document says so"
            )
        if self.url and ("?" in self.url or "#" in self.url):
            raise ValueError("has a `url` with a query; of an HTTP API that belongs into `openapi: {query: {…}}`")
        if self.auth.kind not in ("auto", "none") and _has_authorization(self.headers):
            raise ValueError("has both `auth` and an `Authorization` among its `headers`; keep one")
        return self

    @property
    def auth_kind(self) -> Kind:
        """How it is logged in to; `none` for a program, where a header of the file's does it, and for an API of which
        the file does not say: what its 401 means, only its document knows."""
        if self.type == "openapi" and self.auth.kind == "auto":
            return "none"
        if self.type == "stdio" or _has_authorization(self.headers):
            return "none"
        return self.auth.kind

    def offers(self, tool: str) -> bool:
        """Whether its tool of that name is offered."""
        return self.tools.offers(tool, words=self.openapi is not None)

    def result_limit(self, tool: str) -> int | None:
        """Most tokens of a result of its tool of that name; None: there is no limit."""
        return self.results.limit_of(tool, words=self.openapi is not None)

    def timeout_of(self, tool: str | None) -> float:
        """How long a call of the server's tool of that name may take, or with None another request."""
        if tool is None or not self.timeouts:
            return self.timeout
        return next((seconds for glob, seconds in self.timeouts.items() if fnmatchcase(tool, glob)), self.timeout)


class OutOfOrder(ServerConfig):
    """A server that lacks something of its environment. It is shown with the reason, and never connected to."""

    reason: str = ""
    """What it lacks, and what to do about it."""

    @classmethod
    def of(cls, server: ServerConfig, reason: str) -> "OutOfOrder":
        """As `server`, of which what depends on the missing value is not there."""
        return cls.model_construct(None, **{**dict(server), "disabled": False, "reason": reason})
