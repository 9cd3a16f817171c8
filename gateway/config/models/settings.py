"""The gateway's own settings: where it listens, whom it serves, how much, and for how long."""

import ipaddress
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from gateway.config.models.access import (
    AuthSettings,
    MetricsSettings,
    RateLimitSettings,
    RuleSettings,
    TlsSettings,
    TracingSettings,
)
from gateway.config.models.fields import Count, FilePath, Line, Model, Text, home
from gateway.config.models.profiles import Discovery
from gateway.config.models.quantities import Duration, PositiveDuration, Size
from gateway.config.models.results import ResultSettings
from gateway.config.models.telemetry import AccessLogSettings, AuditSettings


def state_home(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/mcp-gateway`, else `~/.local/state/mcp-gateway`. The XDG rules ignore a relative value."""
    given = Path(environ.get("XDG_STATE_HOME", ""))
    return (given if given.is_absolute() else home() / ".local" / "state") / "mcp-gateway"


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


STORE_SCHEMES: Final = ("redis", "rediss", "valkey", "valkeys", "unix")
_ADDRESS: Final = re.compile(r"[A-Za-z]+://[A-Za-z0-9.\-_\[\]:]+(/[A-Za-z0-9.\-_~/%]*)?")
"""What may stand in `public_url`: it gets into pages, headers, and what others are told to send people to."""
_DATABASE: Final = re.compile(r"/?|/\d+")


class GatewaySettings(Model):
    """The gateway's own settings: the `gateway:` block of the file."""

    auth: AuthSettings = AuthSettings()  # stands before `host`, whose validator asks for it
    """Who may use the gateway."""
    host: Line = "127.0.0.1"
    """Address to listen on. Anything but loopback needs `auth.enabled`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 picks a free one."""
    public_url: Line | None = None
    """The address under which others reach the gateway: links to log in at a server lead there."""
    tls: TlsSettings | None = None
    """Speak HTTPS instead of HTTP at that address."""
    environment: Line = "development"
    """Name of the deployment, as logs and metrics show it."""
    debug: bool = False
    """Log at level `debug`."""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error", "critical"],
        BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
    ] = "info"
    """The least severe level that is logged."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto` is console at a terminal and JSON elsewhere."""
    log_file: FilePath | None = None
    """File that the log is written to instead of stderr; see docs/operations.md about rotating it."""
    access_log: AccessLogSettings = AccessLogSettings()
    """The line that each MCP request leaves in the log."""
    audit: AuditSettings | None = None
    """Who called which tool, what was refused, what was changed, in lines that cannot be altered unseen."""
    upstream_config_file: FilePath | None = None
    """A second file of servers, added to this one's: a `servers.yaml`, or a JSON list of named servers."""
    rate_limit: RateLimitSettings = RateLimitSettings()
    """How much each principal may ask."""
    policy: list[RuleSettings] = Field(default=[])
    """Who may use which tools, prompts and resources."""
    metrics: MetricsSettings = MetricsSettings()
    """Where `/metrics` is served."""
    tracing: TracingSettings = TracingSettings()
    """Traces of calls."""
    public_names: bool = False
    """Whether `/readyz` and `/metrics` name upstreams to who gives no key. Without authentication they always do."""
    prefix: Literal["upstream", "none"] = "upstream"
    """`upstream` publishes names as `server__name`; `none` leaves them as they are, with one enabled server only."""
    discovery: Discovery = "list"
    """How agents at `/mcp` get to know tools: `list` lists all. `search` lists the `pinned` ones, `find_tools` and
    `call_tool`; what a session finds joins its list, unless it is `search-only`."""
    pinned: list[Text] = Field(default=[])
    """Globs of the tools that are listed there all the same."""
    confirm: bool = False
    """Whether `call_tool` asks the agent's user there before it calls a tool that is not marked as read-only."""
    page_size: Count = 1000
    """Items on one page of a listing."""
    startup_wait: Duration = 5.0
    """How long, from the start, listings wait for servers of which nothing is known yet."""
    results: ResultSettings = ResultSettings()
    """What is kept of results that were too large to be given at once (`results` of a server)."""
    max_request_bytes: Size = 4 * 2**20
    """The largest request accepted from a client."""
    max_header_bytes: Size = 64 * 2**10
    """The largest headers of a request."""
    header_timeout: PositiveDuration = 5.0
    """How long a client may take to send a request's headers."""
    read_timeout: PositiveDuration = 9.0
    """How long it may take to send the whole request."""
    max_connections: Count = 15_000
    """Connections of clients open at a time; never more than four fifths of the files the process may open."""
    max_requests: Count = 5000
    """Requests in flight at a time. Listen streams do not count; they are among `max_sessions`."""
    max_requests_per_principal: Count = 1000
    """Of these, how many one principal and its agents may have. Without authentication there is only the cap of all."""
    max_lag: PositiveDuration = 0.5
    """How late the event loop may be all the time before new requests are refused."""
    max_memory: Size | None = None
    """Memory in use above which new requests are refused; no limit when absent. On Linux only."""
    max_sessions: Count = 10_000
    """Sessions, legacy event streams and listen streams open at a time."""
    max_sessions_per_principal: Count = 1000
    """Of these, how many one principal and its agents may have."""
    max_backlog: Size = 256 * 2**20
    """Bytes that may wait for clients to read them; as many are kept for clients that come back."""
    max_backlog_per_principal: Size = 64 * 2**20
    """Of these, how many may be for one principal and its agents. Without authentication there is only the cap of all.
    """
    max_backlog_per_stream: Size = 8 * 2**20
    """Bytes that may wait on one stream. A slow reader loses notifications above it, and its stream if answers wait."""
    session_idle_timeout: PositiveDuration = 1800.0
    """How long an unused session is kept in memory. It is made anew when it is used again."""
    session_lifetime: PositiveDuration = 7 * 86400.0
    """How long after it was opened a session is made anew where it is not in memory, as after a restart."""
    keepalive: PositiveDuration = 15.0
    """Time between keep-alive comments on open streams."""
    drain_delay: Duration = 0.0
    """How long, once a stop was asked for, new requests are still served while `/readyz` says no."""
    drain_timeout: Duration = 20.0
    """How long requests in flight may go on after a stop was asked for."""
    allowed_hosts: list[Line] = Field(default=[])
    """`Host` values to answer to, besides the address listened on."""
    allowed_origins: list[Line] = Field(default=[])
    """`Origin` values to answer to, besides loopback."""
    trusted_proxies: list[Line] = Field(default=[])
    """Addresses and networks of proxies whose `X-Forwarded-For` is believed; nobody else's is."""
    state_keys: list[Annotated[Line, Field(min_length=32)]] = Field(default=[], repr=False)
    """Secrets of at least 32 characters that seal what agents carry for the gateway (`requestState`, session ids). The
    first seals, all open; nodes behind one address need the same. When absent, one is made and kept in `state_dir`."""
    store: Line | None = Field(default=None, repr=False)
    """URL of a Valkey or Redis server that nodes share: `redis://`, `rediss://`, `valkey://`, `valkeys://` or
    `unix://`. Needs `state_keys`, the same on every node."""
    login_key: Literal["state", "keyring"] = "state"
    """Where the key is that seals logins at servers: `state` (`state_keys`, or the one in `state_dir`), or the system's
    `keyring`, which needs the extra of that name, and a person who has unlocked it."""
    state_dir: FilePath = Field(default_factory=lambda: state_home(os.environ))
    """Directory for what must outlive a restart. `$XDG_STATE_HOME/mcp-gateway`, else `~/.local/state/mcp-gateway`."""

    @field_validator("host")
    @classmethod
    def _guard(cls, host: str, info: ValidationInfo) -> str:
        host = host.strip("[]")  # as in a URL
        auth = info.data.get("auth")
        if not is_loopback(host) and isinstance(auth, AuthSettings) and not auth.enabled:
            raise ValueError(
                "other machines could use every server here without a key; keep 127.0.0.1, "
                "or set gateway.auth.enabled (GATEWAY_AUTH_ENABLED=true)"
            )
        return host

    @field_validator("public_url")
    @classmethod
    def _is_an_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or not _ADDRESS.fullmatch(url):
            raise ValueError("must be a URL such as https://gateway.example.com")
        return url.rstrip("/")

    @field_validator("store")
    @classmethod
    def _is_of_a_server(cls, store: str | None, info: ValidationInfo) -> str | None:
        """Nothing of the URL is repeated: it may hold a password."""
        if store is None:
            return None
        parts = urlsplit(store)
        if parts.scheme not in STORE_SCHEMES:
            raise ValueError(f"must be a URL of one of {', '.join(f'{each}://' for each in STORE_SCHEMES)}")
        is_named = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname)
        if not is_named or (parts.scheme != "unix" and not _DATABASE.fullmatch(parts.path)):
            raise ValueError("must be like redis://HOST:6379/0, or unix:///path/of/the/socket")
        if info.data.get("state_keys") == []:
            raise ValueError(
                "needs gateway.state_keys, the same on every node, or what stands in the store could not be sealed; "
                "`mcp-gateway keys state` makes one"
            )
        return store

    @field_validator("login_key")
    @classmethod
    def _is_of_one_machine(cls, where: str, info: ValidationInfo) -> str:
        if where == "keyring" and info.data.get("store") is not None:
            raise ValueError(
                "a keyring is one machine's; logins in gateway.store are sealed with state_keys: leave it out"
            )
        return where

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, proxies: list[str]) -> list[str]:
        for each in proxies:
            try:
                ipaddress.ip_network(each, strict=False)
            except ValueError:
                raise ValueError(f"{each!r} is no address and no network such as 10.0.0.0/8") from None
        return proxies

    @field_validator("read_timeout")
    @classmethod
    def _not_below_header_timeout(cls, read_timeout: float, info: ValidationInfo) -> float:
        if read_timeout < info.data.get("header_timeout", 0.0):
            raise ValueError("must not be less than header_timeout")
        return read_timeout
