"""A document's schemas as JSON Schema 2020-12 that stands for itself: references resolved, and valid by construction.

Documents in the field are not as the specification says: only keywords that are known pass, with values that fit them.
How much is written is bounded. What would be too large is written with shared `$defs` instead of in full; then ever
less deep: what is left out there stands as a schema that takes anything.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

from gateway.openapi.inspecting import Schema, is_binary
from gateway.openapi.refs import Refs, name_of
from gateway.openapi.relaxed import relax

MAX_DEPTH: Final = 48
"""Levels of schemas inside one another."""
SMALL: Final = 12_000
"""Bytes, roughly, up to which everything is written in full."""
LARGE: Final = 24_000
"""Bytes, roughly, of an input schema at most."""
MAX_OUTPUT: Final = 4_000
"""Bytes, roughly, of an output schema at most: it is nothing that anybody has to know before they call."""
MAX_TEXT: Final = 4000
"""Characters of one description, …"""
SHORT_TEXT: Final = 160
"""… and where room is short."""
MAX_VALUE: Final = 600
"""Characters, roughly, of a default or an example."""

Direction = Literal["input", "output"]

_TYPES: Final = frozenset({"string", "number", "integer", "boolean", "array", "object", "null"})
_MISNAMED: Final = {
    **dict.fromkeys(("int", "int32", "int64", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("date", "datetime", "date-time", "uuid", "str", "text"), "string"),
    "bool": "boolean",
    "list": "array",
    "dict": "object",
    "map": "object",
}

FILE: Final[Schema] = {
    "type": "object",
    "description": "A file: its content in base64 as `data`, or as `uri` a link to a resource that has it.",
    "properties": {
        "data": {"type": "string", "contentEncoding": "base64"},
        "uri": {"type": "string"},
        "name": {"type": "string", "description": "Its file name."},
        "mimeType": {"type": "string"},
    },
}
"""How a tool is given a file."""


class _TooLarge(Exception):
    """It has to be written in another way."""


class _Way:
    """One way to write a schema."""

    def __init__(self, limit: int, *, shares: bool = False, depth: int = MAX_DEPTH, terse: bool = False) -> None:
        self.limit = limit
        self.shares = shares
        """Whether all that is referred to goes to `$defs`."""
        self.depth = depth
        """How many references inside one another are followed."""
        self.terse = terse


def _ways(limit: int) -> list[_Way]:
    shared = [_Way(limit, shares=True, depth=depth) for depth in (MAX_DEPTH, 6, 4, 3, 2)]
    terse = [_Way(limit, shares=True, depth=depth, terse=True) for depth in (2, 1, 0)]
    return [_Way(min(SMALL, limit)), *shared, *terse]


def written(
    schema: Any, refs: Refs, direction: Direction, *, limit: int, files: bool = False, relaxed: bool = False
) -> Schema | None:
    """A schema of the document as one that needs nothing else; None where that would be too large in any way.

    Args:
        limit: bytes, roughly.
        files: whether binary strings are files.
        relaxed: describe, but refuse next to nothing: an API that strays from its document must not lose its answer.

    Raises:
        OperationFault: it refers to what is not there.
    """
    for way in _ways(limit):
        try:
            return _Writer(refs, direction, way, files=files, relaxed=relaxed).root(schema)
        except (_TooLarge, RecursionError):
            continue
    return None


class _Writer:
    def __init__(self, refs: Refs, direction: Direction, way: _Way, *, files: bool, relaxed: bool) -> None:
        self._refs = refs
        self._direction = direction
        self._way = way
        self._files = files
        self._relaxed = relaxed
        self._circular: set[str] = set()

    def root(self, schema: Any) -> Schema:
        while True:
            self._spent = 0
            self._names: dict[str, str] = {}
            self._defs: dict[str, Any] = {}
            self._open: list[str] = []
            self._found = False
            out = self._written(self._refs.follow(schema) if isinstance(schema, dict) else schema, 0, 0)
            if not self._found:  # else there are references in a circle that were not known to be
                return {**out, **({"$defs": dict(sorted(self._defs.items()))} if self._defs else {})}

    def _spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self._way.limit:
            raise _TooLarge

    # --- Schemas ------------------------------------------------------------------------------------------------------

    def _written(self, schema: Any, depth: int, followed: int) -> Schema:
        self._spend(12)
        if schema is False:
            return {"not": {}}
        if not isinstance(schema, dict) or depth > MAX_DEPTH:
            return {}
        node = cast(Schema, schema)
        if isinstance(ref := node.get("$ref"), str):
            return self._referred(ref, node, depth, followed)
        if self._files and is_binary(node):
            self._spend(200)
            return {**FILE, **({"description": text} if (text := self._text(node.get("description"))) else {})}
        out: Schema = {}
        for keyword, value in node.items():
            if (write := _KEYWORDS.get(keyword)) is not None:
                write(self, out, keyword, value, node, depth, followed)
        if node.get("nullable") is True:
            out = _or_null(out)
        return relax(out, node) if self._relaxed else out

    def _referred(self, ref: str, node: Schema, depth: int, followed: int) -> Schema:
        if followed >= self._way.depth:
            return {}  # takes anything
        beside = self._text(node.get("description"))
        if not (self._way.shares or ref in self._circular):
            if ref in self._open:
                self._circular.add(ref)
                self._found = True
                return {}
            self._open.append(ref)
            try:
                out = self._written(self._refs.lookup(ref), depth + 1, followed + 1)
            finally:
                self._open.pop()
            return {**out, "description": beside} if beside else out
        name = self._names.get(ref)
        if name is None:
            name = self._names[ref] = self._unused(name_of(ref))
            self._defs[name] = {}
            self._spend(len(name))
            self._defs[name] = self._written(self._refs.lookup(ref), 1, followed + 1)
        self._spend(len(name) + 10)
        here: Schema = {"$ref": f"#/$defs/{name}"}
        return {**here, "description": beside} if beside else here

    def _unused(self, wanted: str) -> str:
        name, number = wanted, 2
        while name in self._defs:
            name, number = f"{wanted}_{number}", number + 1
        return name

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            return ""
        text = clipped(value, SHORT_TEXT if self._way.terse else MAX_TEXT)
        self._spend(len(text))
        return text

    # --- Keywords: (out, keyword, value, the whole node, depth, references followed) ----------------------------------

    def put_type(self, out: Schema, key: str, value: Any, node: Schema, *_: Any) -> None:
        given: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
        names = [_MISNAMED.get(each.lower(), each.lower()) for each in given if isinstance(each, str)]
        known = list(dict.fromkeys("string" if name == "file" else name for name in names if name in {*_TYPES, "file"}))
        if known:
            out["type"] = known[0] if len(known) == 1 else known

    def put_text(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if not (self._way.terse and key == "title") and (text := self._text(value)):
            out[key] = text

    def put_value(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        size = len(str(value))
        if size <= MAX_VALUE and not self._way.terse and _is_plain(value):
            self._spend(size)
            out[key] = value

    def put_example(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if self._direction == "output" or self._way.terse:
            return
        values: list[Any] = cast("list[Any]", value)[:3] if key == "examples" and isinstance(value, list) else [value]
        if key == "examples" and not isinstance(value, list):
            return
        kept = [each for each in values if len(str(each)) <= SHORT_TEXT and _is_plain(each)]
        if kept and "examples" not in out:
            self._spend(sum(len(str(each)) for each in kept))
            out["examples"] = kept

    def put_enum(self, out: Schema, key: str, value: Any, node: Schema, *_: Any) -> None:
        if not isinstance(value, list) or not all(_is_plain(each) for each in cast("list[Any]", value)):
            return
        values: list[Any] = []
        for each in cast("list[Any]", value):
            if not any(each == other and type(each) is type(other) for other in values[-200:]):
                values.append(each)
        if node.get("nullable") is True and None not in values:
            values.append(None)
        if values:
            self._spend(sum(len(str(each)) + 3 for each in values))
            out["enum"] = values

    def put_const(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if _is_plain(value):
            self._spend(len(str(value)))
            out["const"] = value

    def put_number(self, out: Schema, key: str, value: Any, node: Schema, *_: Any) -> None:
        other = {"minimum": "exclusiveMinimum", "maximum": "exclusiveMaximum"}.get(key)
        if _is_number(value):
            out[other if other and node.get(other) is True else key] = value

    def put_multiple(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if _is_number(value) and value > 0:
            out[key] = value

    def put_count(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if isinstance(value, int) and _is_number(value) and value >= 0:
            out[key] = value

    def put_flag(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if isinstance(value, bool) and value:
            out[key] = True

    def put_pattern(self, out: Schema, key: str, value: Any, *_: Any) -> None:
        if isinstance(value, str) and len(value) <= MAX_VALUE and _is_regex(value):
            self._spend(len(value))
            out[key] = value

    def put_schema(self, out: Schema, key: str, value: Any, node: Schema, depth: int, followed: int) -> None:
        if key == "items" and isinstance(value, list):
            self.put_schemas(out, "prefixItems", value, node, depth, followed)
        elif isinstance(value, bool):
            out[key] = value
        elif isinstance(value, dict):
            out[key] = self._written(value, depth + 1, followed)

    def put_schemas(self, out: Schema, key: str, value: Any, node: Schema, depth: int, followed: int) -> None:
        if isinstance(value, list) and value:
            out[key] = [self._written(each, depth + 1, followed) for each in cast("list[Any]", value)]

    def put_map(self, out: Schema, key: str, value: Any, node: Schema, depth: int, followed: int) -> None:
        if not isinstance(value, dict):
            return
        kept: Schema = {}
        for name, each in cast(Schema, value).items():
            if key == "patternProperties" and not _is_regex(name):
                continue
            if key == "properties" and self._is_hidden(each):
                continue
            self._spend(len(name))
            kept[name] = self._written(each, depth + 1, followed)
        out[key] = kept

    def put_required(self, out: Schema, key: str, value: Any, node: Schema, *_: Any) -> None:
        if not isinstance(value, list):
            return
        properties = node.get("properties")
        known = cast(Schema, properties) if isinstance(properties, dict) else {}
        names = [name for name in cast("list[Any]", value) if isinstance(name, str)]
        kept = [name for name in dict.fromkeys(names) if not self._is_hidden(known.get(name))]
        if kept:
            self._spend(sum(map(len, kept)))
            out["required"] = kept

    def _is_hidden(self, schema: Any) -> bool:
        """Whether a property is none in this direction."""
        if not isinstance(schema, dict):
            return False
        return cast(Schema, schema).get("readOnly" if self._direction == "input" else "writeOnly") is True


_Write = Callable[[_Writer, Schema, str, Any, Schema, int, int], None]

_KEYWORDS: Final[Mapping[str, _Write]] = {
    "type": _Writer.put_type,
    **dict.fromkeys(("title", "description", "format", "contentEncoding", "contentMediaType"), _Writer.put_text),
    "default": _Writer.put_value,
    **dict.fromkeys(("example", "examples"), _Writer.put_example),
    "enum": _Writer.put_enum,
    "const": _Writer.put_const,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _Writer.put_number),
    "multipleOf": _Writer.put_multiple,
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), _Writer.put_count
    ),
    **dict.fromkeys(("uniqueItems", "deprecated"), _Writer.put_flag),
    "pattern": _Writer.put_pattern,
    **dict.fromkeys(("items", "additionalProperties", "not", "contains", "propertyNames"), _Writer.put_schema),
    **dict.fromkeys(("if", "then", "else", "unevaluatedProperties"), _Writer.put_schema),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), _Writer.put_schemas),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), _Writer.put_map),
    "required": _Writer.put_required,
}
"""Those of JSON Schema that pass, in whichever version of OpenAPI."""


def _or_null(schema: Schema) -> Schema:
    kind = schema.get("type")
    if kind is None:
        about = {key: schema.pop(key) for key in ("title", "description", "default") if key in schema}
        return {"anyOf": [schema, {"type": "null"}], **about} if schema else about
    kinds: list[str] = cast("list[str]", kind) if isinstance(kind, list) else [kind]
    return {**schema, "type": [*kinds, *(["null"] if "null" not in kinds else [])]}


def clipped(text: str, limit: int) -> str:
    """`text`, cut at a word if it is longer."""
    text = text.strip()
    if len(text) <= limit:
        return text
    return text[: limit - 1].rsplit(None, 1)[0] + "…"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


def _is_regex(value: str) -> bool:
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether it can be written as JSON: YAML has dates, and keys that are no strings."""
    if value is None or isinstance(value, str | bool | int):
        return not isinstance(value, int) or abs(value) < 2**63
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    if depth > 8:
        return False
    if isinstance(value, list):
        return all(_is_plain(each, depth + 1) for each in cast("list[Any]", value))
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return all(isinstance(key, str) and _is_plain(each, depth + 1) for key, each in items)
    return False
