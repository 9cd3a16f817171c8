"""Collects everything that is wrong with a configuration, and says it in words a person can act on.

One line each: `file:line: server 'x': field: what is wrong; what to do`. Values are quoted only as they were written:
what a variable expanded to may be a secret.
"""

import difflib
from collections.abc import Iterable
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.reading.source import ConfigDocument, Place
from gateway.errors import ConfigError

_WORDS: Final = {
    "missing": "is required",
    "string_type": 'must be text; for an empty value write ""',
    "string_unicode": "must be valid Unicode",
    "path_type": "must be a path",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "dict_type": "must be a mapping of names to values",
    "model_type": "must be a mapping of keys to values",
    "list_type": "must be a list, such as [a, b]",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "value_error": "{error}",
}
_QUOTED: Final = frozenset(
    {"bool_parsing", "int_parsing", "greater_than", "greater_than_equal", "less_than_equal", "literal_error"}
)
_MAX_QUOTE: Final = 60


class Problems:
    """What was found so far. `raise_if_any` tells all of it at once, in the order of the files."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._found: dict[tuple[int, int, str], None] = {}

    def add(self, document: ConfigDocument, place: Place, *about: str) -> None:
        """`about`: what it concerns, outermost first, and then what is wrong with it."""
        self._found[self._rank(document.name), document.line(place), line_at(document, place, *about)] = None

    def add_line(self, text: str) -> None:
        """A problem that has no place in a file, or names its own."""
        self._found[-1, 0, printable(text)] = None

    def _rank(self, name: str) -> int:
        return self._files.setdefault(name, len(self._files))

    def raise_if_any(self) -> None:
        """
        Raises:
            ConfigError: there are problems; its message has one line for each.
        """
        if self._found:
            raise ConfigError("\n".join(text for _, _, text in sorted(self._found)))


def line_at(document: ConfigDocument, place: Place, *about: str) -> str:
    """`file:line: about: …`, on one line whatever the parts contain."""
    return printable(": ".join([f"{document.name}:{document.line(place)}", *filter(None, about)]))


def printable(text: str) -> str:
    """`text` without line breaks and terminal escapes."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def name_fault(name: str) -> str:
    """What is wrong with the name of a server, or nothing."""
    if not name or "/" in name or not name.isprintable():
        return "a name must not be empty nor contain a slash or a control character"
    return ""


def dotted(place: Place) -> str:
    """`("headers", "Accept")` → `headers.Accept`; `("args", 1)` → `args[1]`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else str(step)
    return text


def closest(key: str, known: Iterable[str], cutoff: float = 0.7) -> str | None:
    """The known key that was probably meant; spelling with hyphens or capitals is no difference."""
    folded = {_fold(name): name for name in known}
    match = difflib.get_close_matches(_fold(key), folded, n=1, cutoff=cutoff)
    return folded[match[0]] if match else None


def _fold(key: str) -> str:
    return key.lower().replace("_", "").replace("-", "")


def unknown(key: str, known: Iterable[str]) -> str:
    """What to say about a key nobody knows."""
    names = sorted(known)
    meant = closest(key, names)
    return f"unknown key; did you mean {meant!r}?" if meant else f"unknown key; known are {', '.join(names)}"


def details(error: ValidationError) -> list[ErrorDetails]:
    """The single errors, without those that only follow from others."""
    every = error.errors(include_url=False, include_input=False)
    return [each for each in every if each["type"] != "default_factory_not_called"]


def explain(error: ErrorDetails, model: type[BaseModel], written: Any, aliases: Iterable[str] = ()) -> str:
    """One of pydantic's errors in our words.

    Args:
        model: What was validated.
        written: The value as it stands in its source, before expansion.
        aliases: Further keys `model` is written with, for suggestions.
    """
    kind = error["type"]
    if kind == "extra_forbidden":
        parent = _model_at(model, error["loc"][:-1])
        names = (field.alias or name for name, field in parent.model_fields.items())
        known = {*names, *(aliases if parent is model else ())}
        return unknown(str(error["loc"][-1]), known)
    words = _WORDS.get(kind)
    if words is None:
        return error["msg"]
    text = words.format_map(error.get("ctx", {}))
    if kind in _QUOTED and isinstance(written, str | int | float) and len(str(written)) <= _MAX_QUOTE:
        text += f", not {'true' if written is True else 'false' if written is False else repr(written)}"
    return text


def _model_at(model: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    for step in place:
        if isinstance(step, int):
            continue  # an item of the list whose model is known already
        annotation = model.model_fields[step].annotation
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
    return model
