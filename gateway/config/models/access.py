"""Who may use the gateway, and for what: the settings of the access room."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from gateway.config.models.fields import Count, FilePath, Line, Model, Text
from gateway.config.models.quantities import Duration, PositiveDuration


def _rpm(value: int) -> int:
    if value == 0 or value < -1:
        raise ValueError("must be at least 1, or -1 for no limit")
    return value


Rpm = Annotated[int, AfterValidator(_rpm), WithJsonSchema({"type": "integer", "minimum": -1, "not": {"const": 0}})]
"""Requests a minute; -1 is no limit."""
Scope = Literal["read", "write", "admin"]


class AgentTokenSettings(Model):
    """Tokens that agents get from `POST /agents/register`."""

    lifetime: PositiveDuration = 86_400.0
    """How long a token is good."""
    max_per_principal: Count = 100
    """Live tokens that one principal may have registered."""
    signing_key: Line | None = Field(default=None, repr=False)
    """Secret to sign with, at least 32 characters; when absent, one is made and kept in `state_dir`."""
    previous_signing_key: Line | None = Field(default=None, repr=False)
    """The secret signed with before; its tokens stay good until they expire."""


class ClaimRule(Model):
    """What a claim of an OAuth token gives."""

    claim: Text
    """The claim's name."""
    value: Text
    """Its value, or one of its values when it is a list; a glob."""
    upstreams: list[Text] | None = None
    """Upstreams that this gives; `*` is all. As soon as any rule names some, nobody has but those they are given."""
    scopes: list[Scope] = Field(default=[])
    """Scopes that this gives."""


class SignInSettings(Model):
    """The client as which the gateway signs people in at the authorization server, on its pages to log in on."""

    client_id: Line
    """As it is registered there, with the redirect URI `{public_url}/oauth/signed-in`."""
    client_secret: Line | None = Field(default=None, repr=False)
    """Its secret, if it has one."""
    scopes: list[Line] = Field(default=["openid"])
    """Scopes to ask for: `openid`, and those that bring the claims that rules and policies go by into the ID token."""


class OAuthSettings(Model):
    """An OAuth 2.1 authorization server whose access tokens are accepted."""

    issuer: Line
    """Its issuer URL, exactly as in its metadata."""
    resource: Line
    """The URL of this gateway's `/mcp` as clients reach it, which tokens name in `aud` (RFC 8707)."""
    audiences: list[Line] = Field(default=[])
    """Other values of `aud` that mean this gateway, where the authorization server does not name it by its URL. Never
    the id of a client: ID tokens carry that."""
    jwks_uri: Line | None = None
    """Where its keys are, if its metadata is not to be asked."""
    algorithms: list[Line] = Field(default=["RS256", "ES256", "PS256", "EdDSA"])
    """Signature algorithms to accept; asymmetric ones only."""
    token_types: list[Line] = Field(default=["at+jwt", "JWT"])
    """Values of the token's `typ` header to accept. A token without one is accepted too."""
    leeway: Duration = 30.0
    """Difference of clocks to put up with."""
    owner_claim: Text = "sub"
    """The claim that names the person behind the token."""
    groups_claim: Text = "groups"
    """The claim that lists the person's groups."""
    scope_names: dict[Text, Scope] = Field(default={})
    """The authorization server's name of a scope → ours."""
    default_scopes: list[Scope] = Field(default=["read"])
    """Scopes of a token that names none of ours."""
    claims: list[ClaimRule] = Field(default=[])
    """What further claims give."""
    allow_private: bool = False
    """Whether the authorization server may be on a private or loopback address."""
    sign_in: SignInSettings | None = None
    """Lets people sign in there on the gateway's pages to log in on, instead of typing a key or pasting a token."""

    @model_validator(mode="after")
    def _takes_no_id_tokens(self) -> "OAuthSettings":
        if self.sign_in is not None and self.sign_in.client_id in self.audiences:
            raise ValueError(
                "`audiences` has the `client_id` of `sign_in`: every ID token would let its bearer in; remove it there"
            )
        return self


class AuthSettings(Model):
    """Who may use the gateway."""

    enabled: bool = False
    """Ask every client for a key or a token."""
    api_keys_file: FilePath | None = None
    """File that holds the API keys (their hashes)."""
    agent_tokens: AgentTokenSettings = AgentTokenSettings()
    """Tokens that agents get from `POST /agents/register`."""
    oauth: OAuthSettings | None = None
    """An OAuth 2.1 authorization server whose access tokens are accepted."""


class RuleSettings(Model):
    """One rule of the policy. Of the rules that concern somebody, a matching `deny` decides; else, if any has an
    `allow`, one of those must match."""

    who: list[Text] = Field(min_length=1)
    """`*` (everybody), or globs with a type: `owner:NAME` (or just the name), `key:ID`, `oauth:ISSUER|SUBJECT`,
    `group:NAME`, `agent:NAME`."""
    allow: list[Text] | None = None
    """Globs over public names of tools and prompts, and URIs of resources."""
    deny: list[Text] = Field(default=[])
    """Globs likewise. Wins over every `allow`."""


class RateLimitSettings(Model):
    """How much each principal may ask."""

    default_rpm: Rpm = 60
    """Requests a minute, where the credential does not say; -1 is no limit. Without authentication there is none."""
    burst_allowance: Annotated[int, Field(ge=0)] = 10
    """Requests that may come at once on top of the steady rate."""


class UpstreamRateLimit(Model):
    """How much each principal may ask of one upstream."""

    rpm: Count | None = None
    """Requests a minute, whatever they ask."""
    burst: Annotated[int, Field(ge=0)] = 0
    """Requests that may come at once on top of the steady rate."""
    tools: dict[Text, Count] = Field(default={})
    """Glob over the upstream's own tool names → calls a minute of each tool that matches; the first glob counts."""


class MetricsSettings(Model):
    """Where `/metrics` is served."""

    host: Line | None = None
    """Address of a listener of its own. When absent, `/metrics` is at the gateway's own address."""
    port: Annotated[int, Field(ge=0, le=65535)] = 9090
    """Port of that listener."""
    tools: bool = False
    """Count calls by tool too, up to 2000 tools."""


class TracingSettings(Model):
    """Traces of calls, in OpenTelemetry's form. Where they go, the `OTEL_*` variables say."""

    enabled: bool | None = None
    """Trace calls. When absent, they are traced if `OTEL_EXPORTER_OTLP_ENDPOINT` says where spans go."""
    client_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Of the requests that a client wants sampled, the share that is. Whether the others are, the sampler decides."""


class TlsSettings(Model):
    """With what agents are spoken to over TLS. The files are followed while the gateway runs."""

    cert: FilePath
    """PEM file with the certificate, and those between it and the authority that agents know."""
    key: FilePath
    """PEM file with its private key, without a password."""
    client_ca: FilePath | None = None
    """PEM file with the authorities of which a client needs a certificate to connect. Who it is, its key or token says.
    """
