"""What a schema allows, by JSON type: its references followed, `allOf` put together, alternatives of a type made one.

Whatever cannot be said by type (`not`, `if`, …) is left out, and noted: what is said then allows more, never less.
How much is read is bounded, for a few lines of references into one another can stand for any number of schemas.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, cast
from urllib.parse import unquote

from gateway import jsonrpc
from gateway.dialects.words import ABOUT, OF_TYPE, TYPES, UNDERSTOOD, Schema, in_todays_words, type_of, types_of

Noter = Callable[[str], None]
Spend = Callable[[int], None]
"""Told before so many things are gone through. Raises TooLarge: that is too many."""

_WIDEST: Final = ("object", "array", "string", "number", "boolean")
"""Those that there are together: a number may be a whole one."""
MAX_READ: Final = 1_000
"""Schemas that are read for one tool at most."""
MAX_BYTES: Final = 200_000
"""Characters of text in them, roughly."""
MAX_MERGED: Final = 1_000_000
"""Properties and values that are gone through to put schemas together, each as often as it is: some 20 ms."""
_COMPARED: Final = 4
"""As how many things one counts that is compared with others."""
_KEY_BYTES: Final = 16
"""Bytes of a schema that count as one thing, where it is compared."""


class Unadaptable(Exception):
    """The schema cannot be said in that dialect. Says why."""


class TooLarge(Exception):
    """It has to be written shorter."""


# --- What is allowed --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Part:
    """A schema as it stands somewhere."""

    schema: Any
    open: tuple[str, ...] = ()
    """The references that led there."""

    @cached_property
    def key(self) -> bytes:
        """The same for equal schemas: they are compared often, and may be large."""
        return jsonrpc.dumps(self.schema, sort_keys=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Part) or self.open != other.open:
            return False
        return self.schema is other.schema or self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True)
class Every:
    """All of these at once."""

    parts: "tuple[SubSchema, ...]"


@dataclass(frozen=True)
class Either:
    """One of these, or several."""

    parts: "tuple[SubSchema, ...]"


SubSchema = Part | Every | Either


@dataclass
class Facts:
    """What is allowed of one type."""

    keywords: Schema = field(default_factory=dict[str, Any])
    """`enum`, and those of the type alone."""
    properties: dict[str, SubSchema] = field(default_factory=dict[str, SubSchema])
    required: list[str] = field(default_factory=list[str])
    extra: Any = None
    """`additionalProperties`: None if nothing is said of them."""
    items: SubSchema | None = None
    places: tuple[SubSchema, ...] = ()
    """`prefixItems`."""


@dataclass
class Allowed:
    """What a schema allows."""

    types: dict[str, Facts]
    null: bool = False
    about: Schema = field(default_factory=dict[str, Any])
    """Its `description`, `title` and `default`."""
    cut: str = ""
    """The name of what is not followed any further."""

    @property
    def is_anything(self) -> bool:
        return self.types.keys() == {*_WIDEST} and all(facts == Facts() for facts in self.types.values())

    @property
    def is_nothing(self) -> bool:
        return not self.types and not self.null


def _anything(cut: str = "") -> Allowed:
    return Allowed({name: Facts() for name in _WIDEST}, null=True, cut=cut)


class SchemaReader:
    """
    Args:
        root: what references lead into.
        max_refs: how many may lead from one to the next.
        note: told what is left out or said otherwise, of what is being read.
    """

    def __init__(self, root: Schema, max_refs: int, note: Noter) -> None:
        self._root = root
        self._max_refs = max_refs
        self._note = note
        self._read = 0
        self._text = 0
        self._merged = 0

    def read(self, source: SubSchema) -> Allowed:
        """
        Raises:
            Unadaptable: a reference leads nowhere.
            TooLarge: there is too much to read.
        """
        self._spend(1, 0)
        if isinstance(source, Part):
            return self._part(source)
        found = [self.read(part) for part in source.parts]
        whole = found[0]
        for each in found[1:]:
            if isinstance(source, Every):
                whole = self._both(whole, each)
                continue
            self._merge(_size(whole) + _size(each))
            if any(whole.types[name] != each.types[name] for name in whole.types.keys() & each.types.keys()):
                self._note("alternatives of one type made one")
            whole = _either(whole, each, self._merge)
        return whole

    def _both(self, one: Allowed, other: Allowed) -> Allowed:
        self._merge(_size(one) + _size(other))
        return _both(one, other, self._merge)

    def _merge(self, things: int) -> None:
        self._merged += things
        if self._merged > MAX_MERGED:
            raise TooLarge

    def _spend(self, schemas: int, text: int) -> None:
        self._read += schemas
        self._text += text
        if self._read > MAX_READ or self._text > MAX_BYTES:
            raise TooLarge

    def _part(self, part: Part) -> Allowed:
        schema = part.schema
        if schema is False:
            return Allowed({})
        if not isinstance(schema, dict):
            return _anything()
        given = cast(Schema, schema)
        node = in_todays_words(given)
        if node is not given:
            self._note("what is not JSON Schema 2020-12, said in its words")
        found = self._plain(node, part.open)
        ref = node.get("$ref")
        if ref is not None:
            found = self._both(found, self._referred(ref, part.open))
        for each in node.get("allOf", ()):
            found = self._both(found, self.read(Part(each, part.open)))
        for word in ("anyOf", "oneOf"):
            if word in node:
                found = self._both(found, self.read(Either(tuple(Part(each, part.open) for each in node[word]))))
        return found

    def _referred(self, ref: str, opened: tuple[str, ...]) -> Allowed:
        target = looked_up(self._root, ref)
        name = ref.rpartition("/")[2]
        if ref in opened:
            self._note(f"`$ref` in a circle: {name} within itself")
            return _anything(cut=name)
        if len(opened) > self._max_refs:  # the first is the root itself
            self._note("`$ref` not followed any deeper, for it would be too large")
            return _anything(cut=name)
        self._note("`$ref` written in full")
        return self.read(Part(target, (*opened, ref)))

    def _plain(self, node: Schema, opened: tuple[str, ...]) -> Allowed:
        for keyword in node.keys() - UNDERSTOOD:
            self._note(f"`{keyword}` dropped")
        names = types_of(node)
        if "number" in names:
            names.discard("integer")
        found = Allowed({name: Facts() for name in TYPES if name in names}, null="null" in names)
        found.null = found.null or node.get("nullable") is True
        found.about = {key: node[key] for key in ABOUT if key in node}
        self._spend(0, len(str(found.about)) if found.about else 0)
        values: list[Any] | None = [node["const"]] if "const" in node else node.get("enum")
        if values is not None:
            self._spend(0, 3 * len(values))
            self._spend(0, sum(len(str(value)) for value in values))
            found.null = found.null and (None in values)
        self._spend(0, 8 * len(node.get("properties", ())) + 8 * len(node.get("required", ())))
        for name in list(found.types):
            facts = found.types[name]
            facts.keywords = {key: node[key] for key in OF_TYPE[name] if key in node}
            if values is not None:
                facts.keywords["enum"] = own = [value for value in values if type_of(value) == name]
                if name == "number":
                    own += [value for value in values if type_of(value) == "integer"]
                if not own:
                    del found.types[name]
        if (facts := found.types.get("object")) is not None:
            facts.properties = {name: Part(each, opened) for name, each in node.get("properties", {}).items()}
            facts.required = list(dict.fromkeys(node.get("required", ())))
            facts.extra = node.get("additionalProperties")
        if (facts := found.types.get("array")) is not None:
            facts.places = tuple(Part(each, opened) for each in node.get("prefixItems", ()))
            facts.items = Part(node["items"], opened) if "items" in node else None
        return found


def looked_up(root: Schema, ref: str) -> Any:
    """What a reference leads to within a schema.

    Raises:
        Unadaptable: it leads nowhere, or out of it: nothing is ever fetched.
    """
    found: Any = root
    if ref != "#" and not ref.startswith("#/"):
        raise Unadaptable(f"refers to {ref[:100]}, which is not in it")
    for step in ref.split("/")[1:]:
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(cast("list[Any]", found)):
            found = cast("list[Any]", found)[int(name)]
        elif isinstance(found, dict) and name in found:
            found = cast(Schema, found)[name]
        else:
            raise Unadaptable(f"refers to {ref[:100]}, which is not there")
    return found


# --- Together ---------------------------------------------------------------------------------------------------------


def _size(allowed: Allowed) -> int:
    """How much there is to put together with another."""
    return sum(
        len(facts.properties) + len(facts.required) + len(facts.keywords.get("enum", ()))
        for facts in allowed.types.values()
    )


def _both(one: Allowed, other: Allowed, spend: Spend) -> Allowed:
    """What two schemas allow at once; if that is nothing, what the first does."""
    about = {**other.about, **one.about}
    types: dict[str, Facts] = {}
    for name in TYPES:
        mine, theirs = (_facts(each, name) for each in (one, other))
        if mine is not None and theirs is not None:
            types[name] = _facts_of_both(mine, theirs, spend)
    if "number" in types:
        types.pop("integer", None)
    null = one.null and other.null
    if not types and not null:
        types, null = one.types, one.null
    return Allowed(types, null, about, one.cut or other.cut)


def _facts(allowed: Allowed, name: str) -> Facts | None:
    """A number's hold for a whole one."""
    return allowed.types.get(name) or (allowed.types.get("number") if name == "integer" else None)


def _facts_of_both(one: Facts, other: Facts, spend: Spend) -> Facts:
    keywords = {**other.keywords, **one.keywords}
    if "enum" in one.keywords and "enum" in other.keywords:
        known = set(map(_value_key, other.keywords["enum"]))
        shared = [value for value in one.keywords["enum"] if _value_key(value) in known]
        keywords["enum"] = shared or keywords["enum"]
    return Facts(
        keywords,
        _united(one.properties, other.properties, Every, spend),
        list(dict.fromkeys([*one.required, *other.required])),
        one.extra if other.extra is None else other.extra if one.extra is None else one.extra and other.extra,
        _joined(one.items, other.items, Every, spend) if one.items and other.items else one.items or other.items,
        one.places or other.places,
    )


def _either(one: Allowed, other: Allowed, spend: Spend) -> Allowed:
    """What at least one of two schemas allows, with what both say of a type."""
    types: dict[str, Facts] = {}
    for name in TYPES:
        mine, theirs = one.types.get(name), other.types.get(name)
        if mine is not None and theirs is not None:
            types[name] = _facts_of_either(mine, theirs, spend)
        elif (only := mine or theirs) is not None:
            types[name] = only
    if "integer" in types and "number" in types:
        types["number"] = _facts_of_either(types.pop("integer"), types["number"], spend)
    return Allowed(types, one.null or other.null, _about_either(one.about, other.about), one.cut or other.cut)


def _about_either(one: Schema, other: Schema) -> Schema:
    texts = dict.fromkeys(each["description"] for each in (one, other) if each.get("description"))
    return {"description": " Or: ".join(texts)} if texts else {}


def _facts_of_either(one: Facts, other: Facts, spend: Spend) -> Facts:
    mine, theirs, wanted = one.keywords, other.keywords, set(other.required)
    keywords = {key: value for key, value in mine.items() if key in theirs and theirs[key] == value}
    if "enum" in mine and "enum" in theirs:
        known = set(map(_value_key, mine["enum"]))
        keywords["enum"] = [*mine["enum"], *(value for value in theirs["enum"] if _value_key(value) not in known)]
    places = one.places if one.places == other.places else ()
    within = [one.items, other.items]
    if not places:
        within = [_joined_all(each) for each in (one, other)]
    return Facts(
        keywords,
        _united(one.properties, other.properties, Either, spend),
        [name for name in one.required if name in wanted],
        one.extra if one.extra == other.extra else None,
        _joined(within[0], within[1], Either, spend) if within[0] and within[1] else None,
        places,
    )


def _joined_all(facts: Facts) -> SubSchema | None:
    """What the elements of an array are, whichever their places."""
    parts = (*facts.places, *((facts.items,) if facts.items else ()))
    return None if not parts else parts[0] if len(parts) == 1 else Either(parts)


def _united(
    one: Mapping[str, SubSchema], other: Mapping[str, SubSchema], how: type[Every] | type[Either], spend: Spend
) -> dict[str, SubSchema]:
    shared = {name: _joined(one[name], each, how, spend) for name, each in other.items() if name in one}
    return {**one, **other, **shared}


def _joined(one: SubSchema, other: SubSchema, how: type[Every] | type[Either], spend: Spend) -> SubSchema:
    mine = one.parts if isinstance(one, how) else (one,)
    spend(_COMPARED * len(mine))
    for each in (mine[-1], other):
        if isinstance(each, Part) and "key" not in each.__dict__:
            spend(len(each.key) // _KEY_BYTES)
    if one == other:
        return one
    return one if other in mine else how((*mine, other))


def _value_key(value: Any) -> object:
    """The same for values that are equal in JSON."""
    if isinstance(value, bool | None):
        return type(value), value
    return jsonrpc.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value
