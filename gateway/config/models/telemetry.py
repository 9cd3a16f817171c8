"""What is written down of requests and changes, and where: the settings of logs."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.config.models.fields import FilePath, Line, Model, Text


class AccessLogSettings(Model):
    """The line that each MCP request leaves in the log."""

    enabled: bool = True
    """Whether there is one."""
    file: FilePath | None = None
    """File of its own, of JSON lines whatever the log's form and level. With the log, at level `info`, when absent."""


Arguments = Literal["off", "hash", "redact"]
Secret = Annotated[Line, Field(min_length=32)]


class AuditRule(Model):
    """What the audit log says of some tools' arguments."""

    tools: list[Text] = Field(min_length=1)
    """Globs over public names of tools."""
    arguments: Arguments
    """As above, for calls of these tools. The first rule that has the tool counts."""
    mask: list[Text] = Field(default=[])
    """As above, besides."""


class AuditSettings(Model):
    """Who called which tool, what was refused, what was changed, in lines that cannot be altered unseen."""

    key: Secret = Field(repr=False)
    """Secret of at least 32 characters that seals the lines. Whoever has it can alter them."""
    previous_keys: list[Secret] = Field(default=[], repr=False)
    """Secrets that sealed earlier lines, for `mcp-gateway audit verify`."""
    file: FilePath | None = None
    """File of its own, that is only appended to."""
    stream: Literal["stdout", "stderr"] | None = None
    """Or a stream, which somebody else keeps."""
    heads: FilePath | None = None
    """Directory of files that say where each writer's lines end, better on another disk; `audit` in `state_dir` when
    absent."""
    arguments: Arguments = "off"
    """What is said of a call's arguments: nothing, a keyed hash, or all that is not masked."""
    mask: list[Text] = Field(default=[])
    """Globs over names of arguments, or dotted paths to them, whose values are masked where arguments are said. Those
    of names such as `token` and `password` always are."""
    rules: list[AuditRule] = Field(default=[])
    """Exceptions by tool."""
    on_failure: Literal["refuse", "continue"] = "refuse"
    """While lines cannot be written: refuse tool calls and changes, or carry them out and lose lines if it lasts."""

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if (self.file is None) == (self.stream is None):
            raise ValueError("needs either file or stream, to know where to write")
        return self
