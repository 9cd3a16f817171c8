"""Arguments as text of a URL, a header or a form, in the styles of OpenAPI (3.1, 4.8.12).

`deepObject` goes as deep as its value, in the way of the `qs` library: `a[b][0][c]=1`.
"""

from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import quote

from gateway import jsonrpc
from gateway.openapi.faults import ArgumentFault
from gateway.openapi.model import FormField, Parameter

Pair = tuple[str, str]

_DELIMITERS: Final = {"spaceDelimited": " ", "pipeDelimited": "|", "tabDelimited": "\t"}
_RESERVED: Final = ":/?@!$'()*,;"
"""What `allowReserved` leaves as it is: all that cannot end the value, or be read as something else."""
MAX_DEPTH: Final = 16


def text(value: Any) -> str:
    """A value that is no array and no object."""
    if isinstance(value, str):
        return value
    return jsonrpc.dumps(value).decode()


def as_list(value: Any) -> list[Any] | None:
    return cast("list[Any]", value) if isinstance(value, list) else None


def as_dict(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def flat(value: Any, argument: str) -> str:
    """
    Raises:
        ArgumentFault: it is an array or an object, inside of one.
    """
    if isinstance(value, list | dict):
        raise ArgumentFault(f"`{argument}` is nested deeper than the API can be told")
    return text(value)


# --- Path -------------------------------------------------------------------------------------------------------------


def in_path(parameter: Parameter, value: Any) -> str:
    """What stands in place of `{name}`, encoded: whatever it is, it is part of one segment.

    Raises:
        ArgumentFault: nothing would stand there, and so another operation be meant.
    """
    written = _styled(parameter, value)
    if not written:
        raise ArgumentFault(f"`{parameter.argument}` must not be empty: it is part of the path")
    return written


def _styled(parameter: Parameter, value: Any) -> str:
    name, argument, explode = quote(parameter.name, safe=""), parameter.argument, parameter.explode
    if parameter.is_json:
        return _encoded(jsonrpc.dumps(value).decode())
    before, between = {"label": (".", "."), "matrix": (";", ";")}.get(parameter.style, ("", ","))
    named = parameter.style == "matrix"
    if (items := as_list(value)) is not None:
        words = [_encoded(flat(each, argument)) for each in items]
        if named:
            return "".join(f";{name}={word}" for word in words) if explode else f";{name}={','.join(words)}"
        return before + (between if explode else ",").join(words) if words else ""
    if (members := as_dict(value)) is not None:
        pairs = [(_encoded(key), _encoded(flat(each, argument))) for key, each in members.items()]
        if explode:
            return before + between.join(f"{key}={each}" for key, each in pairs) if pairs else ""
        joined = ",".join(f"{key},{each}" for key, each in pairs)
        return f";{name}={joined}" if named else before + joined if joined else ""
    written = _encoded(text(value))
    return f";{name}={written}" if named else f"{before}{written}" if written else ""


def _encoded(value: str) -> str:
    return quote(value, safe="", errors="strict" if _is_text(value) else "replace")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def segment(written: str) -> str:
    """One segment of a path that was put together: `.` and `..` are names here, not directions."""
    return written.replace(".", "%2E") if written in (".", "..") else written


# --- Query, forms and cookies -----------------------------------------------------------------------------------------


def pairs(parameter: Parameter, value: Any) -> Iterator[Pair]:
    """Names and values, yet to be encoded.

    Raises:
        ArgumentFault: it is nested deeper than its style can say.
    """
    if parameter.is_json:
        yield parameter.name, jsonrpc.dumps(value).decode()
    else:
        yield from _pairs(parameter.name, parameter.argument, parameter.style, parameter.explode, value)


def field_pairs(name: str, field: FormField, value: Any) -> Iterator[Pair]:
    """The same for a property of a form.

    Raises:
        ArgumentFault: it is nested deeper than its style can say.
    """
    if field.is_plain:
        yield from _pairs(name, name, field.style, field.explode, value)
    else:
        yield name, jsonrpc.dumps(value).decode() if isinstance(value, list | dict) else text(value)


def _pairs(name: str, argument: str, style: str, explode: bool, value: Any) -> Iterator[Pair]:
    items, members = as_list(value), as_dict(value)
    if style == "deepObject" and (items is not None or members is not None):
        yield from _deep(name, argument, value, 0)
    elif items is not None:
        words = [flat(each, argument) for each in items]
        if explode:
            yield from ((name, word) for word in words)
        elif words:
            yield name, _DELIMITERS.get(style, ",").join(words)
    elif members is not None:
        known = {key: each for key, each in members.items() if each is not None}
        if explode and style == "form":
            yield from ((key, flat(each, argument)) for key, each in known.items())
        elif known:
            between = _DELIMITERS.get(style, ",")
            yield name, between.join(word for key, each in known.items() for word in (key, flat(each, argument)))
    else:
        yield name, text(value)


def _deep(name: str, argument: str, value: Any, depth: int) -> Iterator[Pair]:
    if depth > MAX_DEPTH:
        raise ArgumentFault(f"`{argument}` is nested deeper than the API can be told")
    if (members := as_dict(value)) is not None:
        for key, each in members.items():
            if "[" in key or "]" in key:
                raise ArgumentFault(f"`{argument}` has a key with a bracket, which would be read as something else")
            yield from _deep(f"{name}[{key}]", argument, each, depth + 1)
    elif (items := as_list(value)) is not None:
        for index, each in enumerate(items):
            yield from _deep(f"{name}[{index}]", argument, each, depth + 1)
    elif value is not None:
        yield name, text(value)


def query_of(name: str, value: str, *, reserved: bool = False) -> str:
    """One pair of a query, encoded."""
    safe = _RESERVED if reserved else ""
    errors = "strict" if _is_text(name + value) else "replace"
    return f"{quote(name, safe='', errors=errors)}={quote(value, safe=safe, errors=errors)}"


# --- Headers ----------------------------------------------------------------------------------------------------------


def in_header(parameter: Parameter, value: Any) -> str:
    """
    Raises:
        ArgumentFault: it would be more than a header's value.
    """
    argument = parameter.argument
    if parameter.is_json:
        written = jsonrpc.dumps(value).decode()
    elif (items := as_list(value)) is not None:
        written = ",".join(flat(each, argument) for each in items)
    elif (members := as_dict(value)) is not None:
        between = "=" if parameter.explode else ","
        written = ",".join(f"{key}{between}{flat(each, argument)}" for key, each in members.items())
    else:
        written = text(value)
    if any(ord(c) < 32 and c != "\t" for c in written) or "\x7f" in written:
        raise ArgumentFault(f"`{argument}` has a line break or a control character, which no header can have")
    return written.strip()
