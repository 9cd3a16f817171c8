"""What a single value may be: text as people write it, header names, paths; and the base every model shares."""

import os
import re
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, section 5.1: a token
_LINE_BREAKERS: Final = re.compile(r"[\r\n\0]")


class Model(BaseModel):
    """Frozen, strict about keys, and silent about values: an error message must not carry a secret.

    What checks values is made when a model is first used. For most that is never: they are checked as parts of others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


def _text(value: object) -> object:
    """Numbers and booleans as they are written: nobody should need quotes around a port in `env` or `args`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _one_line(value: str) -> str:
    if _LINE_BREAKERS.search(value):
        raise ValueError("must not contain a line break or NUL; check where its value comes from")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL; no process can be given that")
    return value


def _header_name(value: str) -> str:
    if not _HEADER_NAME.fullmatch(value):
        raise ValueError("is not a header name; use letters, digits and hyphens")
    return value


def _variable_name(value: str) -> str:
    if not value or "=" in value or "\0" in value:
        raise ValueError("is not a name for an environment variable; use letters, digits and underscores")
    return value


def absolute_path(path: str, folder: Path) -> str:
    """`path` with `~` expanded, relative to `folder`. It never raises, for validation is still to come."""
    return path if "\0" in path else str(folder / os.path.expanduser(path))


def home() -> Path:
    """The home directory; `~` as it stands when there is none."""
    return Path(os.path.expanduser("~"))


def _path(value: object) -> object:
    return os.path.expanduser(_one_line(value)) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
"""Any text."""
Line = Annotated[str, BeforeValidator(_text), AfterValidator(_one_line)]
"""Text that ends up in a URL, a command or a listening socket: without CR, LF and NUL."""
HeaderValue = Annotated[Text, AfterValidator(_one_line)]
Argument = Annotated[Text, AfterValidator(_no_nul)]
"""Text that is handed to a process: without NUL."""
HeaderName = Annotated[str, AfterValidator(_header_name)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
FilePath = Annotated[Path, BeforeValidator(_path)]
"""A path; `~` is expanded, nothing need exist."""
Count = Annotated[int, Field(ge=1)]
