"""Profiles: views of some of the servers' tools, prompts and resources, made for one kind of agent."""

import re
from typing import Annotated, Any, Final, Literal, Self, cast

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from gateway.config.models.fields import Model, Text

Discovery = Literal["list", "search", "search-only"]
DialectName = Literal["gemini", "openai", "openai-strict", "anthropic"]

_PUBLIC_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _public_name(value: str) -> str:
    if not _PUBLIC_NAME.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits, `_` and `-`, which is what agents accept as a name")
    return value


def _allow(value: object) -> object:
    return {"allow": cast(Any, value)} if isinstance(value, list) else value


PublicName = Annotated[str, AfterValidator(_public_name)]


class NameRules(Model):
    """Which tools, or prompts, a profile has, and under which words. Names are those of the merged catalogue."""

    allow: list[Text] = Field(default=["*"])
    """Globs of those to have. An empty list has none."""
    deny: list[Text] = Field(default=[])
    """Globs of those not to have. Wins over `allow`."""
    rename: dict[str, PublicName] = Field(default={})
    """Public name → the name in this profile."""
    describe: dict[str, Text] = Field(default={})
    """Public name → the description in this profile."""

    @field_validator("rename")
    @classmethod
    def _are_different(cls, rename: dict[str, str]) -> dict[str, str]:
        names = list(rename.values())
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"calls two {twice!r}; keep one")
        return rename


class UriRules(Model):
    """Which resources and resource templates a profile has. URIs stay as they are."""

    allow: list[Text] = Field(default=["*"])
    """Globs over URIs, and over templates as they are written. An empty list has none."""
    deny: list[Text] = Field(default=[])
    """Globs likewise. Wins over `allow`."""
    describe: dict[str, Text] = Field(default={})
    """URI, or template → the description in this profile."""


class ProfileConfig(Model):
    """What one kind of agent sees, at `/mcp/NAME`."""

    servers: list[Text] = Field(default=["*"])
    """Names of servers, or globs."""
    tools: Annotated[NameRules, BeforeValidator(_allow)] = NameRules()
    """Which of their tools. A list is short for `allow`."""
    prompts: Annotated[NameRules, BeforeValidator(_allow)] = NameRules()
    """Which of their prompts. A list is short for `allow`."""
    resources: Annotated[UriRules, BeforeValidator(_allow)] = UriRules()
    """Which of their resources. A list is short for `allow`."""
    discovery: Discovery = "list"
    """`list` lists all tools. `search` lists the `pinned` ones, `find_tools` and `call_tool`; what a session finds
    joins its list, unless it is `search-only`."""
    pinned: list[Text] = Field(default=[])
    """Globs of the tools that are listed all the same, by the profile's own names."""
    confirm: bool = False
    """Whether `call_tool` asks the agent's user before it calls a tool that is not marked as read-only."""
    schema_: DialectName | None = Field(default=None, alias="schema")
    """Whose model's API the input schemas of tools are made for: what it refuses is said in another way, and arguments
    are made into what the server's own schema asks for."""
    instructions: Text | None = None
    """What agents are told, instead of what the servers say of themselves."""

    @model_validator(mode="after")
    def _leaves_our_names(self) -> Self:
        ours = next((name for name in self.tools.rename.values() if name in ("find_tools", "call_tool")), None)
        if ours is not None and self.discovery != "list":
            raise ValueError(f"calls a tool {ours!r}, which is the gateway's own with discovery: {self.discovery}")
        return self
