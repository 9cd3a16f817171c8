"""A document's schemas as JSON Schema that is valid whatever the document says, and bounded."""

from typing import Any

import jsonschema
import pytest

from gateway.openapi.faults import OperationFault
from gateway.openapi.inspecting import is_object
from gateway.openapi.refs import Refs
from gateway.openapi.schemas import LARGE, written

Node = dict[str, Any]

Validator: Any = jsonschema.Draft202012Validator


def schema(node: Any, schemas: Node | None = None, **options: Any) -> Node:
    refs = Refs({"components": {"schemas": schemas or {}}})
    given: Node = {"limit": LARGE, **options}
    found = written(node, refs, given.pop("direction", "input"), **given)
    assert found is not None
    Validator.check_schema(found)
    return found


def ref(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
        ({"type": "string", "enum": ["a"], "nullable": True}, {"type": ["string", "null"], "enum": ["a", None]}),
        (
            {"nullable": True, "allOf": [{"type": "object"}]},
            {"anyOf": [{"allOf": [{"type": "object"}]}, {"type": "null"}]},
        ),
        ({"minimum": 1, "exclusiveMinimum": True}, {"exclusiveMinimum": 1}),
        ({"minimum": 1, "exclusiveMinimum": False}, {"minimum": 1}),
        ({"exclusiveMaximum": 5}, {"exclusiveMaximum": 5}),
        ({"type": "array", "items": [{"type": "string"}]}, {"type": "array", "prefixItems": [{"type": "string"}]}),
        ({"type": "any"}, {}),
        ({"type": "int"}, {"type": "integer"}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"example": "x", "xml": {}, "x-internal": 1, "discriminator": {}}, {"examples": ["x"]}),
        # nonsense, as it is found in the field
        ({"required": True, "enum": None, "minimum": "0", "maxLength": -1, "pattern": "(", "properties": []}, {}),
        ({"enum": [], "required": [], "allOf": [], "multipleOf": 0, "uniqueItems": "yes", "description": 5}, {}),
        ({"required": ["a", "a", 5]}, {"required": ["a"]}),
        ({"enum": ["a", "a", 1, True]}, {"enum": ["a", 1, True]}),
        ({"minimum": float("inf"), "maximum": 10**400, "maxLength": 10**30, "default": float("nan")}, {}),
        ({"items": "string", "additionalProperties": "no", "anyOf": "x"}, {}),
        ({"properties": {"$ref": {"type": "string"}}}, {"properties": {"$ref": {"type": "string"}}}),
        (True, {}),
        (False, {"not": {}}),
        ("nonsense", {}),
    ],
)
def test_keywords(given: Any, expected: Node) -> None:
    assert schema(given) == expected


def test_what_is_only_read_is_no_input_and_what_is_only_written_no_output() -> None:
    node = {
        "type": "object",
        "properties": {"id": {"readOnly": True}, "password": {"writeOnly": True}, "name": {}},
        "required": ["id", "password", "name"],
    }
    assert schema(node)["required"] == ["password", "name"]
    assert set(schema(node)["properties"]) == {"password", "name"}
    assert set(schema(node, direction="output")["properties"]) == {"id", "name"}


def test_references_are_resolved_in_place() -> None:
    found = schema({"properties": {"a": ref("A"), "b": ref("A")}}, {"A": {"type": "string", "description": "An A."}})
    assert found == {"properties": {name: {"type": "string", "description": "An A."} for name in "ab"}}
    beside = schema({"$ref": "#/components/schemas/A", "description": "Mine."}, {"A": {"description": "An A."}})
    assert beside == {"description": "An A."}, "at the root, what is referred to counts"
    inside = schema(
        {"items": {"$ref": "#/components/schemas/A", "description": "Mine."}}, {"A": {"description": "An A."}}
    )
    assert inside["items"] == {"description": "Mine."}


def test_circles_are_kept_as_definitions() -> None:
    schemas = {
        "Node": {"type": "object", "properties": {"next": ref("Node"), "leaf": ref("Leaf")}},
        "Leaf": {"type": "string"},
        "A": {"properties": {"b": ref("B")}},
        "B": {"properties": {"a": ref("A")}},
    }
    found = schema({"properties": {"n": ref("Node")}}, schemas)
    assert found["properties"]["n"] == {"$ref": "#/$defs/Node"}
    assert found["$defs"]["Node"]["properties"] == {"next": {"$ref": "#/$defs/Node"}, "leaf": {"type": "string"}}
    both = schema({"properties": {"a": ref("A")}}, schemas)
    Validator(both).validate({"a": {"b": {"a": {"b": {}}}}})
    assert len(both["$defs"]) == 1


def test_names_with_what_a_pointer_escapes() -> None:
    schemas = {"a/b~c d": {"properties": {"x": {"$ref": "#/components/schemas/a~1b~0c%20d"}}}}
    found = schema({"items": {"$ref": "#/components/schemas/a~1b~0c%20d"}}, schemas)
    assert list(found["$defs"]) == ["a_b_c_d"]


@pytest.mark.parametrize(
    "target", ["#/components/schemas/Gone", "other.yaml#/A", "https://example.com/a.json", "#anchor"]
)
def test_what_is_not_in_the_document_is_a_reason(target: str) -> None:
    with pytest.raises(OperationFault, match="refers to"):
        schema({"items": {"$ref": target}})


def test_references_in_a_circle_that_lead_to_nothing() -> None:
    refs = Refs({"a": {"$ref": "#/b"}, "b": {"$ref": "#/a"}})
    with pytest.raises(OperationFault, match="circle"):
        refs.follow({"$ref": "#/a"})
    assert schema({"properties": {"x": ref("A")}}, {"A": ref("B"), "B": ref("A")})["properties"]["x"]


def test_what_is_large_is_shared_and_then_cut_but_takes_what_it_took() -> None:
    wide = {f"field_{n}": {"type": "string", "description": "x" * 80} for n in range(60)}
    schemas: Node = {"Wide": {"type": "object", "properties": wide}}
    schemas["Top"] = {"type": "object", "properties": {f"w{n}": ref("Wide") for n in range(20)}}
    found = schema(ref("Top"), schemas)
    assert list(found["$defs"]) == ["Wide"]
    for n in range(40):  # each refers to the next three, and each is large
        schemas[f"S{n}"] = {"properties": {**wide, **{f"n{m}": ref(f"S{m}") for m in range(n + 1, min(n + 4, 40))}}}
    cut = schema({"properties": {"s": ref("S0")}}, schemas)
    assert len(str(cut)) < 3 * LARGE
    Validator(cut).validate({"s": {"n1": {"n2": {"n3": {"anything": [1]}}}}})


def test_a_schema_that_grows_without_end_is_written_all_the_same() -> None:
    schemas: Node = {f"S{n}": {"properties": {k: ref(f"S{n + 1}") for k in "abcdefgh"}} for n in range(30)}
    schemas["S30"] = {"type": "string"}
    assert schema({"properties": {"s": ref("S0")}}, schemas)  # 8 ** 30 if it were written in full
    deep: Node = {"type": "string"}
    for _ in range(400):
        deep = {"type": "array", "items": deep}
    assert schema(deep)
    chain: Node = {f"C{n}": {"items": ref(f"C{n + 1}")} for n in range(5000)}
    chain["C5000"] = {}
    assert schema({"items": ref("C0")}, chain)


def test_nothing_fits_into_nothing() -> None:
    many = {"properties": {f"p{n}": {"type": "string"} for n in range(5000)}}
    assert written(many, Refs({}), "input", limit=1000) is None


def test_files_where_a_form_has_them() -> None:
    node = {
        "properties": {"f": {"type": "string", "format": "binary", "description": "A scan."}, "s": {"type": "string"}}
    }
    found = schema(node, files=True)["properties"]
    assert found["f"]["description"] == "A scan."
    assert set(found["f"]["properties"]) == {"data", "uri", "name", "mimeType"}
    assert found["s"] == {"type": "string"}
    assert schema(node)["properties"]["f"]["type"] == "string"
    modern = {"properties": {"f": {"contentMediaType": "application/octet-stream"}}}
    assert "properties" in schema(modern, files=True)["properties"]["f"]


def test_a_relaxed_schema_refuses_no_answer_that_strays() -> None:
    node = {
        "type": "object",
        "required": ["id", "kind"],
        "additionalProperties": False,
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "kind": {"type": "string", "enum": ["a", "b"]},
            "when": {"type": "string", "format": "date-time"},
            "either": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "nothing": {"type": "null"},
        },
    }
    answer: Node = {"id": 0, "when": None, "either": [], "more": 1}
    relaxed = schema(node, direction="output", relaxed=True)
    Validator(relaxed).validate(answer)
    assert relaxed["properties"]["kind"]["examples"] == ["a", "b"]
    assert not Validator(schema(node, direction="output")).is_valid(answer)


OBJECTS: list[Any] = [
    ({"type": "object"}, True),
    ({"type": "array"}, False),
    ({"type": ["object", "null"]}, True),
    ({"properties": {}}, True),
    ({"items": {}}, False),
    ({"allOf": [{}, {"properties": {}}]}, True),
    ({"oneOf": [{"type": "object"}, {"type": "array"}]}, False),
    ({"anyOf": [{"type": "object"}, {"properties": {}}]}, True),
    ({}, None),
    (ref("A"), True),
]


@pytest.mark.parametrize(("node", "expected"), OBJECTS)
def test_whether_it_is_an_object(node: Node, expected: bool | None) -> None:
    assert is_object(node, Refs({"components": {"schemas": {"A": {"type": "object"}}}})) is expected
