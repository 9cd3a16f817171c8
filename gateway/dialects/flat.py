"""Writes a schema for an API that takes few keywords: no references, a type everywhere, nothing open.

What has no such form (any object, any value, what contains itself) is asked for as JSON in a text.
"""

from dataclasses import dataclass, replace
from math import floor, isfinite
from typing import Any, Final, cast

from gateway import jsonrpc
from gateway.dialects.dialect import SchemaDialect
from gateway.dialects.notes import Notes, below
from gateway.dialects.reading import (
    MAX_READ,
    Allowed,
    Either,
    Facts,
    Part,
    Schema,
    SchemaReader,
    SubSchema,
    TooLarge,
    Unadaptable,
)
from gateway.dialects.restoring import Restore, Text

EMPTY: Final = "(empty)"
"""What stands for an empty text where none can be listed."""
LONGEST_HINT: Final = 300
"""Characters of the JSON Schema that is put into a description, because it cannot be said otherwise."""


@dataclass(frozen=True, slots=True)
class Written:
    schema: Schema
    restore: Restore | None = None
    null: bool = False
    """Whether the upstream takes null, too; not said in `schema` yet."""


class FlatWriter:
    """
    Args:
        max_refs: how many references are followed from one to the next.
    """

    def __init__(self, root: Schema, dialect: SchemaDialect, notes: Notes, max_refs: int) -> None:
        assert dialect.keywords is not None
        self._root = root
        self._dialect = dialect
        self._keywords = dialect.keywords
        self._notes = notes
        self._reader = SchemaReader(root, max_refs, notes)

    def root(self) -> Written:
        """The whole.

        Raises:
            Unadaptable: it cannot be said.
            TooLarge: not with so many references followed.
        """
        allowed = self._reader.read(Part(self._root, ("#",)))
        facts = allowed.types.get("object")
        if facts is None:
            raise Unadaptable("its arguments are no object")
        if len(facts.properties) > MAX_READ:
            raise TooLarge  # as would be found out when most of them are read
        names = self._notes.renamed([*facts.properties, *facts.required], self._dialect.argument)
        made = self._members(facts, "", 1, names)
        return replace(made, schema={**self._about(allowed), **made.schema})

    def _written(self, source: SubSchema, path: str, level: int) -> Written | None:
        """None if nothing fits it."""
        self._notes.at(path)
        allowed = self._reader.read(source)
        if allowed.is_nothing:
            self._notes("cannot be given: nothing fits it")
            return None
        if allowed.is_anything or not allowed.types:
            return self._text("any", allowed, path)
        made = [self._of_type(name, facts, allowed, path, level) for name, facts in allowed.types.items()]
        alternatives = [each for each in made if each is not None]
        restore = alternatives[0].restore or Restore()
        for each in alternatives[1:]:
            restore = restore.and_also(each.restore)
        schema = self._one_of([each.schema for each in alternatives], self._about(allowed))
        return Written(schema, None if restore.is_empty else restore, allowed.null)

    def _one_of(self, schemas: list[Schema], about: Schema) -> Schema:
        if len(schemas) == 1:
            own = schemas[0].get("description")
            said = {"description": f"{about['description']} {own}"} if own and "description" in about else {}
            return {**about, **schemas[0], **said}
        if not self._dialect.null_is_flag:  # OpenAPI's `anyOf` stands alone
            return {**about, "anyOf": schemas}
        hint = {"description": about["description"]} if "description" in about else {}
        return {"anyOf": [{**hint, **each} for each in schemas]}

    def _about(self, allowed: Allowed) -> Schema:
        return {key: value for key, value in allowed.about.items() if key in self._keywords}

    def _of_type(self, name: str, facts: Facts, allowed: Allowed, path: str, level: int) -> Written | None:
        is_text_too = name != "string" and "string" in allowed.types
        match name:
            case "object":
                if self._has_members(facts, level):
                    made = self._members(facts, path, level, {})
                    if made.schema["properties"]:
                        return made
                if is_text_too:
                    return None  # see `string`
                return self._text("object", replace(allowed, about={}), path, facts)
            case "array":
                return self._array(facts, path, level)
            case "string" if "object" in allowed.types and not self._has_members(allowed.types["object"], level):
                self._notes.at(path)
                self._notes("text, or an object as JSON in it")
                told = "Text, or a JSON object as text."
                return Written({"type": "string", "description": told}, Restore(text="either"))
            case _:
                return self._scalar(name, facts, path, as_text=not is_text_too)

    def _has_members(self, facts: Facts, level: int) -> bool:
        return bool(facts.properties) and level <= self._dialect.max_levels

    # --- Objects and arrays -------------------------------------------------------------------------------------------

    def _members(self, facts: Facts, path: str, level: int, names: dict[str, str]) -> Written:
        """
        Args:
            names: what properties are called instead.
        """
        properties: Schema = {}
        members: dict[str, Restore] = {}
        omitted: set[str] = set()
        required: list[str] = []
        wanted = {**dict.fromkeys(facts.required, Part({})), **facts.properties}
        for own in [*facts.properties, *(name for name in facts.required if name not in facts.properties)]:
            made = self._written(wanted[own], below(path, own), level + 1)
            if made is None:
                continue
            name = names.get(own, own)
            is_optional = own not in facts.required
            if made.restore is not None:
                members[name] = made.restore
            if self._dialect.closed and is_optional and not made.null:
                omitted.add(name)
            if self._dialect.closed or not is_optional:
                required.append(name)
            is_null = made.null or (self._dialect.closed and is_optional)
            properties[name] = self._or_null(made.schema) if is_null else made.schema
        self._notes.at(path)
        if facts.extra not in (None, False):
            self._notes("no properties but those named")
        if omitted:
            self._notes("what is optional may be null instead, and is then left out")
        schema = self._kept({"type": "object", **facts.keywords})
        schema["properties"] = properties
        if required or self._dialect.closed:
            schema["required"] = required
        if self._dialect.closed:
            schema["additionalProperties"] = False
        restore = Restore(names={name: own for own, name in names.items()}, members=members, omitted=frozenset(omitted))
        return Written(schema, None if restore.is_empty else restore)

    def _array(self, facts: Facts, path: str, level: int) -> Written:
        schema = self._kept({"type": "array", **facts.keywords})
        parts = (*facts.places, *((facts.items,) if facts.items is not None else ()))
        if facts.places:
            self._notes("a place's own type is that of every element")
            closed = isinstance(facts.items, Part) and facts.items.schema is False
            parts = facts.places if closed else parts
        made = None
        if parts:
            made = self._written(parts[0] if len(parts) == 1 else Either(parts), f"{path}[]", level)
        else:
            self._notes.at(f"{path}[]")
            made = self._text("any", Allowed({}), f"{path}[]")
        if made is None:
            return Written({**schema, "items": {"type": "string"}})
        items = self._or_null(made.schema) if made.null else made.schema
        return Written({**schema, "items": items}, Restore(items=made.restore) if made.restore else None)

    def _or_null(self, schema: Schema) -> Schema:
        if self._dialect.null_is_flag:
            if "anyOf" in schema:
                return {**schema, "anyOf": [{**each, "nullable": True} for each in schema["anyOf"]]}
            return {**schema, "nullable": True}
        if "anyOf" in schema:
            return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
        if schema["type"] in ("object", "array") or "enum" in schema:
            about = {key: schema[key] for key in ("description", "title") if key in schema}
            rest = {key: value for key, value in schema.items() if key not in about}
            return {**about, "anyOf": [rest, {"type": "null"}]}
        return {**schema, "type": [schema["type"], "null"]}

    # --- Values -------------------------------------------------------------------------------------------------------

    def _scalar(self, name: str, facts: Facts, path: str, *, as_text: bool) -> Written:
        self._notes.at(path)
        keywords = dict(facts.keywords)
        values: list[Any] | None = keywords.pop("enum", None)
        schema: Schema = {"type": name, **keywords}
        if name in ("number", "integer"):
            _without_exclusive(schema, self._keywords, self._notes)
        if values is None:
            return Written(self._kept(schema))
        if len(values) > self._dialect.max_values:
            self._notes(f"`enum` dropped, for it has more than {self._dialect.max_values} values")
            return Written(self._kept(schema))
        if not self._dialect.enum_of_text:
            return Written({**self._kept(schema), "enum": values})
        if name == "boolean" or (name != "string" and not as_text):
            self._notes("`enum` in words only, for it lists no text")
            told = f"One of {', '.join(jsonrpc.dumps(value).decode() for value in values)}."
            return Written({**self._kept(schema), **({} if len(set(values)) > 1 else {"description": told})})
        given = {value if name == "string" else jsonrpc.dumps(value).decode(): value for value in values}
        if "" in given:
            given = {(EMPTY if text == "" else text): value for text, value in given.items()}
        changed = {text: value for text, value in given.items() if text != value}
        if changed:
            self._notes(
                f"{', '.join(map(_quoted, list(changed)[:5]))} for {', '.join(map(_shown, list(changed.values())[:5]))}"
            )
        rest = self._kept(schema) if name == "string" else {"type": "string"}
        return Written({**rest, "enum": list(given)}, Restore(values=changed) if changed else None)

    def _text(self, what: Text, allowed: Allowed, path: str, facts: Facts | None = None) -> Written:
        """JSON in a text, instead of what has no type, or no properties."""
        self._notes.at(path)
        self._notes("JSON as text" if what == "any" else "an object, as JSON in a text")
        said = [str(allowed.about["description"])] if allowed.about.get("description") else []
        said.append("JSON, as text: any value; text itself in quotes." if what == "any" else "A JSON object, as text.")
        if allowed.cut:
            said.append(f"({allowed.cut})")
        extra = facts.extra if facts is not None else None
        if isinstance(extra, dict) and extra:
            shown = jsonrpc.dumps(cast(Schema, extra)).decode()
            if len(shown) <= LONGEST_HINT and "$ref" not in shown:
                said.append(f"Each of its values: {shown}")
        title = {"title": allowed.about["title"]} if "title" in allowed.about else {}
        return Written({"type": "string", **title, "description": " ".join(said)}, Restore(text=what))

    def _kept(self, schema: Schema) -> Schema:
        """Without the keywords that there are not."""
        kept: Schema = {}
        for key, value in schema.items():
            if key == "format":
                if value in self._dialect.formats.get(schema["type"], ()):
                    kept[key] = value
                else:
                    self._notes(f"`format: {value[:40]}` dropped")
            elif key in self._keywords and key != "enum":  # of text and numbers, see `_scalar`
                kept[key] = value
            else:
                self._notes(f"`{key}` dropped")
        return kept


def _without_exclusive(schema: Schema, keywords: frozenset[str], note: Notes) -> None:
    """Bounds that are not included, as bounds that are; of whole numbers they mean the same."""
    for key, bound, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
        if key in schema and key not in keywords:
            value = schema.pop(key)
            whole = schema["type"] == "integer" and (isinstance(value, int) or isfinite(value))
            if bound not in schema:
                schema[bound] = (floor(value) + 1 if step > 0 else -floor(-value) - 1) if whole else value
            if not whole:
                note(f"`{key}` as `{bound}`")


def _quoted(text: str) -> str:
    return f'"{text[:40]}"'


def _shown(value: Any) -> str:
    return jsonrpc.dumps(value).decode()[:40]
