"""A tool's arguments as people type them: one JSON object, `key=value` or `--key=value`, or `-` for JSON on stdin."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from gateway.jsonrpc import as_object


class ArgumentError(Exception):
    """They cannot be read; the message says why and what to write."""


def parse(words: Sequence[str], read_stdin: Callable[[], str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Args:
        schema: the tool's input schema. A value for what it says is a string stays one: `zip=01234`, `version=1.10`.

    Raises:
        ArgumentError: see there.
    """
    if list(words) == ["-"]:
        return _object(read_stdin(), "stdin")
    if len(words) == 1 and words[0].lstrip()[:1] in ("{", "["):
        return _object(words[0], "the argument")
    arguments: dict[str, Any] = {}
    properties = as_object(schema.get("properties"))
    for key, text in _pairs(words):
        if key not in properties and (spelt := key.replace("-", "_")) in properties:
            key = spelt  # as options are written
        if key in arguments:
            raise ArgumentError(f"{key!r} is given twice; a list is written {key}='[1, 2]'")
        arguments[key] = True if text is None else _value(text, as_object(properties.get(key)))
    return arguments


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Key and text of each argument: `key=text`, `--key=text`, `--key text`, or `--key` alone, which has none."""
    pending = list(words)
    while pending:
        word = pending.pop(0)
        is_option = word.startswith("--")
        key, equals, text = word.removeprefix("--").partition("=")
        if not key or not (equals or is_option):
            raise ArgumentError(f"{word!r} is neither key=value nor a JSON object")
        if equals:
            yield key, text
        else:
            yield key, pending.pop(0) if pending and not pending[0].startswith("--") else None


def _object(text: str, where: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text)
    except ValueError as error:
        raise ArgumentError(f"{where} is not JSON: {error}") from None
    if isinstance(value, dict):
        return as_object(cast(object, value))
    raise ArgumentError(f"{where} is JSON, but not an object: write {{…}}")


def _value(text: str, schema: Mapping[str, Any]) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    return text if schema.get("type") == "string" and not isinstance(value, str) else value


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def missing(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """The arguments that the schema requires and nobody gave, each with its type where that is one word."""
    required = schema.get("required")
    properties = as_object(schema.get("properties"))
    if not isinstance(required, list):
        return []
    names: list[str] = [name for name in required if isinstance(name, str) and name not in arguments]  # pyright: ignore[reportUnknownVariableType]
    kinds = {name: as_object(properties.get(name)).get("type") for name in names}
    return [f"{name} ({kinds[name]})" if isinstance(kinds[name], str) else name for name in names]
