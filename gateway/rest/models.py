"""The shapes that the REST side takes and gives, described for its readers at `/docs`."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from gateway.config.models.access import Scope
from gateway.protocol import Era
from gateway.upstream.breaker import BreakerState
from gateway.upstream.link import State

# --- Errors ---------------------------------------------------------------------------------------------------------


class FieldError(BaseModel):
    """One part of a request that is not as it must be."""

    field: str = Field(description="Where it stands.", examples=["requested_scopes.0"])
    message: str = Field(description="What is wrong with it.", examples=["Input should be 'read', 'write' or 'admin'"])


class ErrorDetail(BaseModel):
    code: str = Field(description="For programs; the same for the same kind of error.", examples=["not_found"])
    message: str = Field(description="For people: what is wrong, and what to do.", examples=["No such upstream."])
    fields: list[FieldError] = Field(default=[], description="What in the request is wrong, if it is known.")


class Failure(BaseModel):
    """How every error looks."""

    error: ErrorDetail


# --- Health ---------------------------------------------------------------------------------------------------------


class HealthReport(BaseModel):
    status: Literal["ok"] = Field(description="It answers, so it lives.")
    version: str = Field(description="The gateway's version.", examples=["0.1.0"])
    uptime: float = Field(description="Seconds since it started.", examples=[4711.2])


class Readiness(BaseModel):
    """How far an upstream is."""

    state: State
    required: bool = Field(description="Whether the gateway is ready only while this upstream is.")


class Ready(BaseModel):
    status: Literal["ready", "not ready", "draining"] = Field(
        description="`not ready`: a required upstream is missing. `draining`: it is about to stop; send nothing more."
    )
    configuration: Literal["current", "refused"] = Field(
        description="`refused`: its last change is not valid, and the one from before is still in force."
    )
    upstreams: dict[str, Readiness] = Field(
        description="Every upstream by name; for who gave no key, none unless `gateway.public_names` is set."
    )


# --- Agents ---------------------------------------------------------------------------------------------------------

Word = Annotated[str, Field(min_length=1, max_length=128)]


class Registration(BaseModel):
    """An agent that is to have a token of its own."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "agent_name": "my-llm-agent",
                    "agent_version": "1.0.0",
                    "requested_upstreams": [],
                    "requested_scopes": ["read", "write"],
                }
            ]
        },
    )

    agent_name: str = Field(
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$",
        description="Its name; rules of the policy know it as `agent:NAME`.",
    )
    agent_version: str = Field(
        default="", max_length=32, pattern=r"^[A-Za-z0-9._+-]*$", description="Its version, for people."
    )
    requested_upstreams: list[Word] = Field(
        default=[], max_length=256, description="The upstreams it wants to use. Empty: all that you may use."
    )
    requested_scopes: list[Scope] = Field(
        default=[], max_length=16, description="What it wants to do. Empty: all that you may do, short of `admin`."
    )
    requested_profiles: list[Word] = Field(
        default=[], max_length=64, description="The profiles it is to see, and nothing besides. Empty: what you see."
    )


class RegisteredAgent(BaseModel):
    """An agent that has a token."""

    id: str = Field(description="For `DELETE /agents/sessions/{id}`.", examples=["5f1e0b7c9a3d4e6f8a1b2c3d4e5f6071"])
    agent_name: str = Field(examples=["my-llm-agent"])
    agent_version: str = Field(examples=["1.0.0"])
    owner: str = Field(description="The person or team behind it.", examples=["alice"])
    registered_by: str = Field(description="The principal that registered it.", examples=["key:3f9c21aa"])
    scopes: list[str] = Field(description="What it may do.", examples=[["read", "write"]])
    upstreams: list[str] | None = Field(description="What it may use; null is everything, empty is nothing.")
    profiles: list[str] | None = Field(
        default=None, description="The profiles it sees, and nothing besides; null is no limit."
    )
    rate_limit_rpm: int | None = Field(description="Requests a minute; null is the gateway's default, -1 no limit.")
    created_at: datetime
    expires_at: datetime


class Registered(BaseModel):
    token: str = Field(description="For the header `X-Agent-Token`. It is shown this once.", examples=["eyJhbGciOi…"])
    session: RegisteredAgent


class AgentSessions(BaseModel):
    sessions: list[RegisteredAgent] = Field(description="Oldest first.")


# --- Upstreams ------------------------------------------------------------------------------------------------------


class ServerInfo(BaseModel):
    """What an upstream says it is."""

    name: str | None = Field(default=None, examples=["time"])
    version: str | None = Field(default=None, examples=["1.4.0"])
    title: str | None = None


class DefinitionChange(BaseModel):
    """Something that is not as it was pinned, and not approved."""

    kind: str = Field(description="`tools`, `prompts`, …, `skills` or `instructions`.", examples=["tools"])
    name: str = Field(description="The upstream's own name or URI of it.", examples=["now"])
    change: Literal["changed", "new", "removed"]
    blocked: bool = Field(description="Whether it is refused until somebody approves it.")


class SuspiciousText(BaseModel):
    """Text in a definition that people do not see, but models do."""

    kind: str = Field(examples=["tools"])
    name: str = Field(examples=["now"])
    place: str = Field(description="Where in the definition.", examples=["inputSchema.properties.zone.description"])
    what: str = Field(examples=["zero-width characters"])


class Definitions(BaseModel):
    """How what it offers compares with what was first seen, or approved since."""

    pin: Literal["off", "warn", "block"] = Field(description="What becomes of changes.")
    unapproved: int = Field(description="How many changes there are.")
    changes: list[DefinitionChange] = Field(description="The first 100 of them.")
    suspicious: list[SuspiciousText] = Field(description="The first 100.")


class BreakerInfo(BaseModel):
    """What stops requests to an upstream that keeps failing."""

    state: BreakerState = Field(description="`open`: requests fail at once. `half-open`: one is being tried.")
    reason: str | None = Field(description="The failure that opened it.")
    next_try: float | None = Field(description="Seconds until a request may try again.", examples=[21.4])
    openings: int = Field(description="How often it has opened.")


class UpstreamInfo(BaseModel):
    """One upstream, how it is, and what it has for you."""

    name: str = Field(examples=["time"])
    description: str | None = Field(description="What it is for, as configured.")
    tags: list[str]
    transport: Literal["stdio", "http", "sse", "openapi"]
    url: str | None = Field(
        description="Where it is, without credentials, query, or parts of the path that look like secrets.",
        examples=["https://mcp.example.com/v1"],
    )
    required: bool = Field(description="Whether the gateway is ready only while this upstream is.")
    lazy: bool = Field(description="Whether it is started only when something of it is called.")
    state: State = Field(
        description="Of a server that each logs in to for themselves, how it is for you: `login needed` until you have."
    )
    reason: str | None = Field(description="Why it is in that state.")
    connect: str | None = Field(
        description="Where you have to log in for yourself, in a browser; null if you need not."
    )
    next_try: float | None = Field(description="Seconds until the next attempt to connect.", examples=[3.5])
    successor: str | None = Field(
        description="The state of its successor, which takes over as soon as it is ready; null when there is none."
    )
    last_error: str | None = Field(description="What last went wrong with it, if that is still so.")
    era: Era | None = Field(description="How it speaks MCP; null before it was first reached.")
    protocol_version: str | None = Field(description="The revision it speaks.", examples=["2025-11-25"])
    server: ServerInfo
    breaker: BreakerInfo
    tools: int = Field(description="How many you may use.")
    resources: int
    resource_templates: int
    prompts: int
    in_flight: int = Field(description="Requests that await its answer.")
    definitions: Definitions | None = Field(description="Null for who may not use everything that it offers.")


class Reloads(BaseModel):
    """How far what is in force agrees with the configuration's files."""

    loaded_at: datetime = Field(description="When what is in force was read.")
    refused: str | None = Field(
        description="Why the files as they are now are not in force, a line for each problem; null when they are.",
        examples=["servers.yaml:7: server 'files': comand: unknown key; did you mean 'command'?"],
    )
    needs_restart: list[str] = Field(description="Settings that were changed and only a restart would apply.")


class Upstreams(BaseModel):
    configuration: Reloads
    upstreams: list[UpstreamInfo] = Field(description="Those that you may use, in the order of the configuration.")


class Restarting(BaseModel):
    name: str = Field(description="The upstream that is being restarted; see how far it is at `/upstreams/{name}`.")


# --- Configuration --------------------------------------------------------------------------------------------------


class RequestLimits(BaseModel):
    """What the gateway puts up with."""

    requests_per_minute: int = Field(description="Of one principal, unless its credential says otherwise.")
    burst: int = Field(description="Requests that may come at once on top of that.")
    max_request_bytes: int
    max_sessions: int
    max_sessions_per_principal: int


Level = Literal["debug", "info", "warning", "error", "critical"]


class LogLevelWish(BaseModel):
    """From which level on is to be logged."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"level": "debug", "seconds": 600}]})

    level: Level | None = Field(description="The least severe level; null for what the configuration says.")
    seconds: float | None = Field(
        default=None, gt=0, le=86_400, description="How long; null is until it is taken back."
    )


class LogLevel(BaseModel):
    """From which level on is logged."""

    level: Level
    configured: Level = Field(description="What the configuration says.")
    seconds_left: float | None = Field(description="When the configuration counts again; null if that is not known.")


class ConfigInfo(BaseModel):
    version: str = Field(description="The gateway's version.", examples=["0.1.0"])
    environment: str = Field(examples=["production"])
    auth_methods: list[Literal["api_key", "agent_token", "oauth"]] = Field(
        description="The ways to authenticate; none when authentication is off."
    )
    limits: RequestLimits
    configuration: dict[str, Any] | None = Field(
        description="All of it, with secrets masked; null without the scope `admin`."
    )


# --- Logins ---------------------------------------------------------------------------------------------------------


class ConnectionInfo(BaseModel):
    """A server that one logs in to for oneself."""

    server: str = Field(description="Its name.", examples=["github"])
    state: Literal["none", "logged in", "ended"] = Field(
        description="`ended`: there was a login, which is good no more; log in again."
    )
    reason: str | None = Field(default=None, description="Why it has ended.")
    owner: str | None = Field(default=None, description="Who logged in.", examples=["alice"])
    issuer: str | None = Field(default=None, description="Where.", examples=["https://login.example.com"])
    scopes: list[str] = Field(default=[], description="What was granted, as far as was said.", examples=[["repo"]])
    made_at: datetime | None = Field(default=None, description="Since when.")
    expires_at: datetime | None = Field(default=None, description="When the token at hand ends, if that was said.")
    renews: bool = Field(default=False, description="Whether it is renewed then, until you log out.")
    connect: str | None = Field(
        default=None,
        description="The page to log in on. It carries no authority: you show there who you are.",
        examples=["https://gateway.example.com/connect/github"],
    )


class Connections(BaseModel):
    connections: list[ConnectionInfo] = Field(description="In the order of the configuration.")


class LoggedOut(BaseModel):
    server: str = Field(examples=["github"])
    revoked: bool = Field(
        description="Whether its authorization server was told. If not, the token ends with its time."
    )
