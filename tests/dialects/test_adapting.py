"""What an input schema becomes in each dialect, what is said of that, and what becomes of the arguments."""

import time
from typing import Any

import pytest

from gateway import jsonrpc
from gateway.dialects.adapting import Adaptation, adapt
from gateway.dialects.dialect import DIALECTS
from gateway.dialects.restoring import restored
from gateway.errors import InvalidParams
from tests.dialects.apis import APIS

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
NODE: Schema = {"type": "object", "properties": {"name": STRING, "next": {"$ref": "#/$defs/node"}}}


def tool(*required: str, **properties: Any) -> Schema:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def adapted(schema: Schema, name: str = "gemini") -> Adaptation:
    made = adapt(schema, DIALECTS[name])
    assert made.schema is not None, made.reason
    assert not list(APIS[name](made.schema)), made.schema
    return made


def property_of(schema: Any) -> Schema:
    """What one argument becomes."""
    found = adapted(tool("a", a=schema), "gemini").schema
    assert found is not None
    return found["properties"]["a"]


def told(schema: Schema, name: str = "gemini") -> dict[str, tuple[str, ...]]:
    return {change.what: change.where for change in adapted(schema, name).changes}


GEMINI: list[tuple[str, Any, Schema]] = [
    ("a format that there is not", {"type": "string", "format": "uri"}, STRING),
    ("a format that there is", {"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
    ("a type or null", {"type": ["string", "null"]}, {"type": "string", "nullable": True}),
    ("a type or null, in other words", {"anyOf": [STRING, {"type": "null"}]}, {"type": "string", "nullable": True}),
    ("several types", {"type": ["string", "integer"]}, {"anyOf": [STRING, {"type": "integer"}]}),
    (
        "several types, and a description",
        {"oneOf": [STRING, {"type": "boolean"}], "description": "D"},
        {"anyOf": [{"description": "D", "type": "string"}, {"description": "D", "type": "boolean"}]},
    ),
    ("a constant", {"const": "x"}, {"type": "string", "enum": ["x"]}),
    ("constants", {"oneOf": [{"const": "x"}, {"const": "y"}]}, {"type": "string", "enum": ["x", "y"]}),
    ("an enum without a type", {"enum": ["x", None]}, {"type": "string", "enum": ["x"], "nullable": True}),
    ("a bound that is not included", {"type": "integer", "exclusiveMinimum": 0}, {"type": "integer", "minimum": 1}),
    ("the same of draft 4", {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
     {"type": "integer", "minimum": 1}),

    ("an array of text", {"type": "array", "items": STRING}, {"type": "array", "items": STRING}),
    (
        "places",
        {"type": "array", "prefixItems": [STRING, {"type": "integer"}], "minItems": 2},
        {"type": "array", "minItems": 2, "items": {"anyOf": [STRING, {"type": "integer"}]}},
    ),
    (
        "all of several",
        {"allOf": [tool("x", x=STRING), {"properties": {"y": {"type": "integer"}}}], "type": "object"},
        {"type": "object", "properties": {"x": STRING, "y": {"type": "integer"}}, "required": ["x"]},
    ),
    (
        "one of several objects",
        {"anyOf": [tool("k", "x", k={"const": "1"}, x=STRING), tool("k", "y", k={"const": "2"}, y=STRING)]},
        {"type": "object", "properties": {"k": {"type": "string", "enum": ["1", "2"]}, "x": STRING, "y": STRING},
         "required": ["k"]},
    ),
    ("whole and other numbers", {"anyOf": [{"type": "integer"}, {"type": "number"}]}, {"type": "number"}),
    (
        "text or any object",
        {"anyOf": [{"enum": ["all"]}, {"type": "object"}], "description": "D."},
        {"type": "string", "description": "D. Text, or a JSON object as text."},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "expected"), [case[1:] for case in GEMINI], ids=[case[0] for case in GEMINI])
def test_what_gemini_is_shown(schema: Any, expected: Schema) -> None:
    assert property_of(schema) == expected


def test_references_are_written_in_full_and_circles_end_in_json() -> None:
    made = adapted({**tool(first={"$ref": "#/$defs/node"}), "$defs": {"node": NODE}})
    assert made.schema is not None
    first = made.schema["properties"]["first"]
    assert first["properties"]["name"] == STRING
    assert first["properties"]["next"]["type"] == "string"
    assert {change.what for change in made.changes} == {
        "`$ref` written in full",
        "`$ref` in a circle: node within itself",
        "JSON as text",
    }
    given = {"first": {"name": "a", "next": '{"name": "b", "next": null}'}}
    assert restored(given, made.restore) == {"first": {"name": "a", "next": {"name": "b", "next": None}}}


@pytest.mark.parametrize("name", ["gemini", "openai-strict"])
def test_any_object_and_any_value_are_json_in_text(name: str) -> None:
    schema = tool("o", "v", o={"type": "object", "additionalProperties": {"type": "number"}}, v={"description": "V"})
    made = adapted(schema, name)
    assert made.schema is not None
    assert made.schema["properties"]["o"]["description"] == (
        'A JSON object, as text. Each of its values: {"type":"number"}'
    )
    assert made.schema["properties"]["v"] == {
        "type": "string",
        "description": "V JSON, as text: any value; text itself in quotes.",
    }
    assert restored({"o": '{"a": 1.50}', "v": "[1]"}, made.restore) == {"o": {"a": 1.5}, "v": [1]}
    assert restored({"o": {"a": 1}, "v": {"b": 2}}, made.restore) == {"o": {"a": 1}, "v": {"b": 2}}, "as it is"
    assert restored({"v": "no JSON"}, made.restore) == {"v": "no JSON"}
    assert restored({"v": '"5"'}, made.restore) == {"v": "5"}
    for wrong in ("{", "[1]", "5"):
        with pytest.raises(InvalidParams, match=r"arguments\.o must be a JSON object, as text"):
            restored({"o": wrong}, made.restore)


def test_text_or_any_object_is_text_and_only_an_object_is_taken_out_of_it() -> None:
    made = adapted(tool(a={"type": ["string", "object", "array"], "items": STRING}))
    pairs: list[tuple[Any, Any]] = [
        ('{"b": 1}', {"b": 1}),
        ("5", "5"),
        ('"x"', '"x"'),
        ("{", "{"),
        (["y"], ["y"]),
        ({}, {}),
    ]
    for given, sent in pairs:
        assert restored({"a": given}, made.restore) == {"a": sent}


def test_values_that_are_no_text_are_said_as_text() -> None:
    made = adapted(tool(n={"type": "integer", "enum": [1, 2]}, e={"enum": ["", "x"]}, b={"const": True}))
    assert made.schema is not None
    assert made.schema["properties"]["n"] == {"type": "string", "enum": ["1", "2"]}
    assert made.schema["properties"]["e"] == {"type": "string", "enum": ["(empty)", "x"]}
    assert made.schema["properties"]["b"] == {"type": "boolean", "description": "One of true."}
    assert restored({"n": "2", "e": "(empty)", "b": True}, made.restore) == {"n": 2, "e": "", "b": True}
    assert restored({"n": 2, "e": "x"}, made.restore) == {"n": 2, "e": "x"}


def test_arguments_whose_names_are_none_are_called_otherwise() -> None:
    schema = tool("page-size", **{"page-size": {"type": "integer"}, "page_size": STRING, "1st": STRING, "a.b": STRING})
    made = adapted(schema)
    assert made.schema is not None
    assert list(made.schema["properties"]) == ["page_size_2", "page_size", "_1st", "a_b"]
    assert made.schema["required"] == ["page_size_2"]
    assert restored({"page_size_2": 1, "page_size": "s"}, made.restore) == {"page-size": 1, "page_size": "s"}
    with pytest.raises(InvalidParams, match="given twice"):
        restored({"page_size_2": 1, "page-size": 2}, made.restore)
    ours = adapted(tool("a b", **{"a b": STRING, "a.b-c": STRING}), "anthropic")
    assert ours.schema == tool("a_b", **{"a_b": STRING, "a.b-c": STRING})
    assert restored({"a_b": "x"}, ours.restore) == {"a b": "x"}


def test_what_is_optional_is_null_in_strict_mode_and_left_out_on_the_way() -> None:
    schema = tool("a", a=STRING, b={"type": "integer", "default": 3}, c={"type": ["string", "null"]}, d=tool(e=STRING))
    made = adapted(schema, "openai-strict")
    assert made.schema is not None
    assert made.schema["required"] == ["a", "b", "c", "d"]
    assert made.schema["additionalProperties"] is False
    assert made.schema["properties"]["b"] == {"type": ["integer", "null"]}
    assert restored({"a": "x", "b": None, "c": None, "d": {"e": None}}, made.restore) == {"a": "x", "c": None, "d": {}}
    assert restored({"a": "x", "b": 1, "c": "y", "d": None}, made.restore) == {"a": "x", "b": 1, "c": "y"}


@pytest.mark.parametrize("name", APIS)
def test_alternatives_at_the_top_are_one_object(name: str) -> None:
    schema = {**tool("p", p=STRING, t=STRING, d=STRING), "anyOf": [{"required": ["t"]}, {"required": ["d"]}]}
    made = adapted(schema, name)
    assert made.schema is not None
    assert list(made.schema["properties"]) == ["p", "t", "d"]
    if name != "openai-strict":
        assert made.schema["required"] == ["p"]
    union = {"oneOf": [tool("k", k={"const": "a"}, x=STRING), tool("k", k={"const": "b"}, y=STRING)]}
    whole = adapted(union, name).schema
    assert whole is not None
    assert list(whole["properties"]) == ["k", "x", "y"]


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_what_is_within_stays_as_it_is(name: str) -> None:
    schema: Schema = {
        **tool(
            n={"$ref": "#/$defs/node"}, u={"anyOf": [STRING, {"type": "null"}]}, f={"type": "string", "format": "uri"}
        ),
        "$defs": {"node": NODE},
        "additionalProperties": False,
    }
    assert adapt(schema, DIALECTS[name]).schema is schema
    opened = adapted({**schema, "allOf": [tool("z", z={"$ref": "#/$defs/node"})]}, name).schema
    assert opened is not None
    assert opened["properties"] == {**schema["properties"], "z": {"$ref": "#/$defs/node"}}
    assert opened["$defs"] == schema["$defs"]
    assert opened["required"] == ["z"]


def test_an_array_says_of_what_for_openai() -> None:
    made = adapted(
        tool(a={"type": "array"}, b={"type": "object", "properties": {"c": {"type": ["array", "null"]}}}), "openai"
    )
    assert {change.what: change.where for change in made.changes} == {"`items` that may be anything": ("a", "b.c")}


def test_what_is_no_schema_of_today_is_said_in_its_words() -> None:
    odd = tool(a={"type": "number", "minimum": 0, "exclusiveMinimum": True, "maxLength": None}, b={"type": "any"})
    assert list(APIS["anthropic"](odd))
    assert adapted(odd, "anthropic").schema == tool(a={"type": "number", "exclusiveMinimum": 0}, b={})


def test_what_was_changed_is_told_with_its_places() -> None:
    schema = tool(url={"type": "string", "format": "uri"}, deep=tool(items={"type": "array", "items": {"not": STRING}}))
    assert told({**schema, "additionalProperties": True}) == {
        "`format: uri` dropped": ("url",),
        "`not` dropped": ("deep.items[]",),
        "JSON as text": ("deep.items[]",),
        "no properties but those named": ("(top)",),
    }
    assert adapted(tool(a=STRING)).changes == ()


UNFIT: list[tuple[str, Schema, str]] = [
    ("out of it", tool(a={"$ref": "https://example.com/a.json"}), "https://example.com/a.json, which is not in it"),
    ("to nothing", tool(a={"$ref": "#/$defs/gone"}), "#/$defs/gone, which is not there"),
    ("not an object", {"anyOf": [STRING]}, "no object"),
    ("large", tool(a={"enum": ["x" * 1000 + str(n) for n in range(500)]}), "larger than 400,000 bytes"),
]


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize(("schema", "reason"), [case[1:] for case in UNFIT], ids=[case[0] for case in UNFIT])
def test_what_cannot_be_said_is_left_out_with_the_reason(name: str, schema: Schema, reason: str) -> None:
    made = adapt(schema, DIALECTS[name])
    if made.schema is not None:
        assert not list(APIS[name](made.schema))
    else:
        assert reason in made.reason


def doubling(levels: int) -> Schema:
    """Written in full, it would have 2 to the power of `levels` schemas."""
    nodes: Schema = {f"n{level}": tool(a={"$ref": f"#/$defs/n{level + 1}"}, b={"$ref": f"#/$defs/n{level + 1}"})
                     for level in range(levels)}  # fmt: skip
    return {**tool(root={"$ref": "#/$defs/n0"}), "$defs": {**nodes, f"n{levels}": STRING}}


@pytest.mark.parametrize("name", ["gemini", "openai-strict"])
def test_few_lines_that_stand_for_very_many_are_cut_in_no_time(name: str) -> None:
    began = time.process_time()
    made = adapted(doubling(60), name)
    assert time.process_time() - began < 2
    assert "`$ref` not followed any deeper, for it would be too large" in [change.what for change in made.changes]
    given = {"root": {"a": {"a": '{"b": "x"}'}}}
    assert restored(given, made.restore) == {"root": {"a": {"a": {"b": "x"}}}}


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "$ref": "#"},
        {"type": "object", "allOf": [{"$ref": "#"}], "properties": {"a": {"$ref": "#"}}},
        {"type": "object", "properties": {f"p{n}": {"type": "boolean"} for n in range(20_000)}},
        tool(a={"anyOf": [{"anyOf": [{"type": "string", "pattern": str(n)}] * 40} for n in range(60)]}),
    ],
)
def test_odd_schemas_cost_little_and_break_nothing(name: str, schema: Schema) -> None:
    began = time.process_time()
    made = adapt(schema, DIALECTS[name])
    assert time.process_time() - began < 2
    if made.schema is not None:
        assert not list(APIS[name](made.schema))


def values(first: int, count: int) -> Schema:
    return {"enum": [f"{n:05}" for n in range(first, first + count)]}


COSTLY: dict[str, Schema] = {
    "names that are all called alike": tool(**{chr(0x4E00 + n): {} for n in range(4_000)}),
    "either of many values": tool(a={"anyOf": [values(0, 11_000), values(11_000, 11_000)]}),
    "both of many values": tool(a={"allOf": [values(0, 11_000), values(11_000, 11_000)]}),
    "either of many values, at the top": {"type": "object", "anyOf": [tool(a=values(n, 11_000)) for n in (0, 11_000)]},
    "many properties, a few at a time": {
        "type": "object",
        "allOf": [tool(**{f"p{n}_{m}": {} for m in range(22)}) for n in range(900)],
    },
    "many schemas of one property": {
        "type": "object",
        "anyOf": [tool(p={**{f"k{m}": 1 for m in range(30)}, "z": n}) for n in range(900)],
    },
}


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("case", COSTLY)
def test_what_takes_the_square_of_the_time_is_cut_short(case: str, name: str) -> None:
    began = time.process_time()
    adapt(COSTLY[case], DIALECTS[name])
    assert time.process_time() - began < 0.5


def test_alternatives_with_values_of_their_own_are_put_together() -> None:
    schema = tool(a={"anyOf": [{"enum": [1, 2, "x"]}, {"enum": [2, "x", "y"]}, {"const": 1}]})
    made = adapted(schema, "openai-strict").schema
    assert made is not None
    assert made["properties"]["a"]["anyOf"] == [
        {"type": "string", "enum": ["x", "y"]},
        {"type": "integer", "enum": [1, 2]},
        {"type": "null"},
    ]


@pytest.mark.parametrize("name", APIS)
def test_what_is_told_of_changes_is_short_whatever_names_there_are(name: str) -> None:
    within = {f"p{n}": {"type": "string", f"keyword {n % 60}" + "x" * 500: 1} for n in range(300)}
    made = adapt(tool(**{"x" * 100_000: tool(**within)}), DIALECTS[name])
    assert made.schema is not None
    assert all(len(each) < 700 for change in made.changes for each in (change.what, *change.where))


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("bound", ["1e400", "-1e400", "1" + "0" * 300])
def test_bounds_beyond_all_numbers_break_nothing(name: str, bound: str) -> None:
    schema = jsonrpc.loads(f'{{"type": "integer", "exclusiveMinimum": {bound}, "exclusiveMaximum": {bound}}}'.encode())
    assert adapt(tool(a=schema), DIALECTS[name]).schema is not None
