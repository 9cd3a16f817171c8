"""Writes a schema for an API that takes nearly all of JSON Schema, only not at the top. What is within stays so."""

from typing import Any, Final, cast

from gateway.dialects.dialect import SchemaDialect
from gateway.dialects.flat import Written
from gateway.dialects.notes import Notes, below
from gateway.dialects.reading import (
    Every,
    Part,
    Schema,
    SchemaReader,
    SubSchema,
    TooLarge,
    Unadaptable,
    in_todays_words,
    looked_up,
)
from gateway.dialects.restoring import Restore

MAX_SCHEMAS: Final = 5_000
"""In one tool's; OpenAI takes no more properties."""
_ONE: Final = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_MANY: Final = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")


class TopWriter:
    def __init__(self, root: Schema, dialect: SchemaDialect, notes: Notes) -> None:
        self._dialect = dialect
        self._notes = notes
        self._count = 0
        self._refs = False
        self._root = cast(Schema, self._tidied(root, ""))

    def root(self) -> Written:
        """The whole.

        Raises:
            Unadaptable: it cannot be said.
            TooLarge: it is too large.
        """
        root: Schema = self._root
        forbidden = self._dialect.not_on_top & root.keys()
        if "$ref" in root or forbidden:
            root = self._opened(root)
        elif root.get("type") != "object":
            root = {**root, "type": "object"}
        required = [name for name in root.get("required", ()) if name not in root.get("properties", {})]
        names = self._notes.renamed([*root.get("properties", {}), *required], self._dialect.argument)
        if names:
            properties: Schema = root.get("properties", {})
            root = {**root, "properties": {names.get(name, name): each for name, each in properties.items()}}
            if "required" in root:
                root["required"] = [names.get(name, name) for name in cast("list[str]", root["required"])]
        if self._refs:
            _check_refs(root, root)
        restore = Restore(names={name: own for own, name in names.items()}) if names else None
        return Written(root, restore)

    def _opened(self, root: Schema) -> Schema:
        """The same without a reference, or alternatives, at the top."""
        self._notes.at("")
        allowed = SchemaReader(root, 16, self._notes).read(Part(root, ("#",)))
        facts = allowed.types.get("object")
        if facts is None:
            raise Unadaptable("its arguments are no object")
        gone = {*self._dialect.not_on_top, "$ref", "type", "properties", "required", "allOf", "anyOf", "oneOf"}
        kept = {key: value for key, value in root.items() if key not in gone}
        made = {**kept, **allowed.about, "type": "object"}
        made["properties"] = {name: _as_it_stands(each) for name, each in facts.properties.items()}
        if facts.required:
            made["required"] = facts.required
        if facts.extra is not None:
            made["additionalProperties"] = facts.extra
        return made

    def _tidied(self, schema: Any, path: str) -> Any:
        """A schema that is valid, and has `items` where they are wanted. The same object if nothing had to be done."""
        if not isinstance(schema, dict):
            return schema
        self._count += 1
        if self._count > MAX_SCHEMAS:
            raise TooLarge
        given = cast(Schema, schema)
        self._notes.at(path)
        node = in_todays_words(given)
        if node is not given:
            self._notes("what is not JSON Schema 2020-12, said in its words")
        self._refs = self._refs or "$ref" in node
        changed: Schema = {}
        kinds = node.get("type")
        if self._dialect.needs_items and "items" not in node and (kinds == "array" or "array" in (kinds or ())):
            self._notes("`items` that may be anything")
            changed["items"] = {}
        for key in _ONE:
            if (
                key in node
                and (ours := self._tidied(node[key], f"{path}[]" if key == "items" else path)) is not node[key]
            ):
                changed[key] = ours
        for key in _MANY:
            if key in node:
                several = [self._tidied(each, path) for each in node[key]]
                if any(ours is not each for ours, each in zip(several, node[key], strict=True)):
                    changed[key] = several
        for key in _NAMED:
            if isinstance(node.get(key), dict):
                named = {name: self._tidied(each, below(path, name)) for name, each in node[key].items()}
                if any(named[name] is not each for name, each in node[key].items()):
                    changed[key] = named
        return {**node, **changed} if changed else node


def _as_it_stands(source: SubSchema) -> Any:
    if isinstance(source, Part):
        return source.schema
    return {"allOf" if isinstance(source, Every) else "anyOf": [_as_it_stands(each) for each in source.parts]}


def _check_refs(root: Schema, schema: Any) -> None:
    """
    Raises:
        Unadaptable: a reference leads nowhere.
    """
    todo: list[Any] = [schema]
    while todo:
        node: Any = todo.pop()
        if isinstance(node, dict):
            if isinstance(ref := cast(Schema, node).get("$ref"), str):
                looked_up(root, ref)
            todo.extend(cast(Schema, node).values())
        elif isinstance(node, list):
            todo.extend(cast("list[Any]", node))
