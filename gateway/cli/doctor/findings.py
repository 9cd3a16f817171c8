"""One thing that `doctor` found out, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["ok", "note", "problem"]
"""A `note` is worth knowing and no fault; only a `problem` makes the exit code 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Text and remedy are sentences without a full stop; several steps of a remedy stand on lines of their own."""

    kind: Kind
    text: str
    remedy: str = ""
    server: str | None = None
    said: tuple[str, ...] = ()
    """The last lines the server wrote to stderr."""

    def as_json(self, redact: Callable[[str], str]) -> dict[str, Any]:
        fields: dict[str, Any] = {"kind": self.kind, "server": self.server, "text": redact(self.text)}
        fields |= {"remedy": redact(self.remedy), "stderr": [redact(line) for line in self.said]}
        return {key: value for key, value in fields.items() if value}
