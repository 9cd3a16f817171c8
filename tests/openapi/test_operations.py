"""Operations as tools: names, arguments, bodies, answers, hints; and what is left out, with its reason."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp_types import Tool

from gateway.openapi.faults import DocumentFault
from gateway.openapi.names import argument_name, matches, spellings, tool_names
from gateway.openapi.operations import META
from gateway.openapi.security import NO_PROOF, proof_of
from tests.openapi.documents import Node, compiled, document, one, operation_of

JSON = "application/json"


def param(name: str, place: str, **more: Any) -> Node:
    return {"name": name, "in": place, "schema": {"type": "string"}, **more}


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ({"get /a": "getA"}, {"get /a": "getA"}),
        ({"get /users/{id}": ""}, {"get /users/{id}": "get_users_id"}),
        ({"get /": ""}, {"get /": "get"}),
        ({"get /a": "repos/list-for-org"}, {"get /a": "repos_list-for-org"}),
        ({"get /a": "Über.alles!"}, {"get /a": "ber_alles"}),
        ({"get /a": "例"}, {"get /a": "operation"}),
    ],
)
def test_tool_names(operations: dict[str, str], expected: dict[str, str]) -> None:
    assert tool_names(operations) == expected


def test_names_that_several_want() -> None:
    names = tool_names({"get /a": "list", "get /b": "list", "get /c": "x.y", "get /d": "x_y", "get /e": "z" * 80})
    assert names["get /d"] == "x_y", "who needs no change keeps it"
    assert len({*names.values()}) == 5
    assert all(len(name) <= 64 for name in names.values())
    assert names["get /a"].startswith("list_")
    assert names["get /b"].startswith("list_")
    more = tool_names({"get /z": "x.y", "get /e": "z" * 80, "get /c": "x.y", "get /d": "x_y"})
    assert more["get /e"] == names["get /e"], "others change nothing"
    assert more["get /c"] == names["get /c"]


def test_globs_match_names_as_they_are_and_in_words() -> None:
    seen = spellings("getPetById", "getPetById")
    assert all(matches((glob,), seen) for glob in ("getPet*", "get_*", "*_by_id"))
    assert not matches(("find_*",), seen)
    assert spellings("repos_list-for-org", "repos/list-for-org")[1:] == ("repos/list-for-org", "repos_list_for_org")


def test_argument_names_are_such_as_models_take() -> None:
    taken: set[str] = set()
    names: list[str] = []
    for name, place in [("expand[]", "query"), ("$filter", "query"), ("id", "path"), ("id", "query"), ("é", "header")]:
        names.append(argument_name(name, taken, place))
        taken.add(names[-1])
    assert names == ["expand", "filter", "id", "id_query", "header"]
    assert len(argument_name("x" * 100, set(), "query")) == 64


# --- Arguments --------------------------------------------------------------------------------------------------------


def test_parameters_of_all_places_are_arguments() -> None:
    found = document(
        {
            "/a/{id}": {
                "parameters": [param("id", "path"), param("x", "query", description="old")],
                "get": {
                    "operationId": "op",
                    "parameters": [
                        param("x", "query", required=True, description="New.", deprecated=True),
                        param("X-Note", "header"),
                        param("shelf", "cookie"),
                        param("filter", "query", style="deepObject"),
                        {"name": "j", "in": "query", "content": {JSON: {"schema": {"type": "object"}}}},
                    ],
                },
            }
        }
    )
    operation = operation_of(found)
    schema = operation.tool["inputSchema"]
    assert list(schema["properties"]) == ["id", "x", "filter", "j", "X-Note", "shelf"]
    assert schema["required"] == ["id", "x"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["x"] == {"type": "string", "description": "New.", "deprecated": True}
    by_name = {each.name: each for each in operation.parameters}
    assert by_name["filter"].style == "deepObject"
    assert by_name["j"].is_json


def test_a_path_says_what_it_needs_even_if_nobody_declares_it() -> None:
    operation = operation_of(one({"parameters": [param("gone", "path")]}, path="/a/{b}/{c}"))
    assert operation.tool["inputSchema"]["required"] == ["b", "c"]


@pytest.mark.parametrize(
    "name", ["Authorization", "Host", "cookie", "X-Api-Key", "X-Auth-Token", "X-Mine", "Scheme-Key"]
)
def test_headers_that_no_argument_sets(name: str) -> None:
    schemes = {"key": {"type": "apiKey", "in": "header", "name": "scheme-key"}}
    found = one({"parameters": [param(name, "header", required=True)]}, components={"securitySchemes": schemes})
    assert operation_of(found, headers=("x-mine",)).tool["inputSchema"].get("properties") == {}


@pytest.mark.parametrize("name", ["X-Page-Token", "Idempotency-Key", "If-Match", "X-CSRF-Token", "X-Tokens-Left"])
def test_headers_that_prove_nothing_are_arguments(name: str) -> None:
    assert operation_of(one({"parameters": [param(name, "header")]})).parameters


@pytest.mark.parametrize("name", ["Host: evil", "X\r\nHost", "", "a b"])
def test_a_name_that_is_none_is_no_header(name: str) -> None:
    _, operations, left_out = compiled(one({"parameters": [param(name, "header")]}))
    assert not operations
    assert "which is no name for one" in left_out["get_things"]
    schemes = {"key": {"type": "apiKey", "in": "header", "name": name}}
    info, operations, _ = compiled(one({"security": [{"key": []}]}, components={"securitySchemes": schemes}))
    assert proof_of(operations["get_things"], info.schemes, {"key": "v"}) == NO_PROOF


def test_keys_in_query_and_cookie_are_the_configurations() -> None:
    schemes = {
        "q": {"type": "apiKey", "in": "query", "name": "key"},
        "c": {"type": "apiKey", "in": "cookie", "name": "sid"},
    }
    parameters = [param("key", "query"), param("version", "query"), param("sid", "cookie")]
    found = one({"parameters": parameters}, components={"securitySchemes": schemes})
    assert not operation_of(found, query=("version",)).parameters


def test_what_a_path_has_in_its_query_is_fixed() -> None:
    operation = operation_of(one({"parameters": [param("beta", "query")]}, path="/a?beta=true"))
    assert operation.fixed_query == "beta=true"
    assert not operation.parameters


# --- Bodies and answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offered", "kind", "media"),
    [
        (["application/xml", JSON], "json", JSON),
        (["application/json-patch+json", "application/merge-patch+json"], "json", "application/merge-patch+json"),
        (["application/x-www-form-urlencoded", "multipart/form-data"], "form", "application/x-www-form-urlencoded"),
        (["text/xml"], "text", "text/xml"),
        (["application/yaml"], "text", "application/yaml"),
        (["*/*"], "file", "application/octet-stream"),
        (["image/png"], "file", "image/png"),
        (["application/json; charset=utf-8"], "json", "application/json; charset=utf-8"),
    ],
)
def test_in_which_media_type_a_body_is_written(offered: list[str], kind: str, media: str) -> None:
    content = {each: {"schema": {"type": "string"}} for each in offered}
    body = operation_of(one({"requestBody": {"content": content, "required": True}}, method="post")).body
    assert body is not None
    assert (body.kind, body.media, body.required) == (kind, media, True)


def test_a_form_with_files_is_multipart() -> None:
    schema = {
        "type": "object",
        "properties": {
            "scan": {"type": "string", "format": "binary"},
            "pages": {"type": "array", "items": {"type": "string", "format": "binary"}},
            "about": {"type": "object"},
        },
    }
    forms = {"application/x-www-form-urlencoded": {"schema": schema}, "multipart/form-data": {"schema": schema}}
    operation = operation_of(one({"requestBody": {"content": forms}}, method="post"))
    assert operation.body is not None
    assert operation.body.kind == "multipart"
    fields = operation.body.fields
    assert (fields["scan"].is_file, fields["pages"].is_file, fields["about"].is_plain) == (True, True, False)
    properties = operation.tool["inputSchema"]["properties"]["body"]["properties"]
    assert "data" in properties["scan"]["properties"]
    assert "data" in properties["pages"]["items"]["properties"]


def answering(*answers: tuple[str, Any], **more: Any) -> Node:
    responses = {
        code: {"content": {JSON: {"schema": schema}}} if schema is not None else {} for code, schema in answers
    }
    return one({"responses": responses, **more})


ANSWERS: list[Any] = [
    ([("200", {"type": "object", "properties": {"a": {}}})], {"type": "object", "properties": {"a": {}}}),
    ([("201", {"type": "object"}), ("404", {"type": "string"})], {"type": "object"}),
    ([("default", {"type": "object"})], {"type": "object"}),
    (
        [("200", {"type": "array", "items": {}})],
        {"type": "object", "properties": {"result": {"type": "array", "items": {}}}},
    ),
    ([("200", {"type": "object"}), ("202", {"type": "object"})], {"type": "object"}),
    ([("200", {})], None),
    ([("404", {"type": "object"})], None),
    ([("204", None)], None),
    ([("200", {"$ref": "#/nowhere"})], None),
]


@pytest.mark.parametrize(("answers", "expected"), ANSWERS)
def test_output_schemas(answers: list[tuple[str, Any]], expected: Node | None) -> None:
    tool = operation_of(answering(*answers)).tool
    assert tool.get("outputSchema") == expected
    assert "outputSchema" not in operation_of(answering(*answers), output="none").tool


def test_an_exact_output_schema_is_the_documents() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "format": "uuid"}}}
    assert operation_of(answering(("200", schema)), output="exact").tool["outputSchema"] == schema


def test_what_is_accepted() -> None:
    content: Node = {"text/csv": {}, JSON: {}, "evil\r\nx: y": {}}
    assert operation_of(one({"responses": {200: {"content": content}}})).accept == f"{JSON}, text/csv, */*;q=0.1"
    assert operation_of(one({})).accept == "*/*"


@pytest.mark.parametrize(
    ("method", "read_only", "destructive", "idempotent"),
    [
        ("get", True, False, True),
        ("head", True, False, True),
        ("options", True, False, True),
        ("put", False, True, True),
        ("delete", False, True, True),
        ("patch", False, True, False),
        ("post", False, True, False),
    ],
)
def test_hints_are_what_the_method_says(method: str, read_only: bool, destructive: bool, idempotent: bool) -> None:
    hints = operation_of(one({}, method=method)).tool["annotations"]
    assert (hints["readOnlyHint"], hints["destructiveHint"], hints["idempotentHint"]) == (
        read_only,
        destructive,
        idempotent,
    )


def test_words() -> None:
    tool = operation_of(one({"summary": " List\n things ", "description": "All of them.", "deprecated": True})).tool
    assert tool["title"] == "List things"
    assert tool["description"] == "Deprecated.\n\nList things\n\nAll of them."
    assert operation_of(one({})).tool["description"] == "GET /things"
    long = operation_of(one({"description": "word " * 5000})).tool["description"]
    assert len(long) <= 4000
    assert long.endswith("word…")


def test_a_tool_says_which_request_it_is_so_that_another_is_a_change() -> None:
    def meta(**operation: Any) -> Node:
        return operation_of(one({"operationId": "x", **operation})).tool["_meta"][META]

    assert meta()["path"] == "/things"
    assert meta() == meta()
    query, header = meta(parameters=[param("a", "query")]), meta(parameters=[param("a", "header")])
    assert query["digest"] != header["digest"], "though the tool is the same but for that"


# --- The document -----------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_named_with_its_reason() -> None:
    found = document(
        {
            "/a": {
                "get": {"operationId": "far", "parameters": [{"$ref": "other.yaml#/p"}]},
                "post": {"operationId": "gone", "requestBody": {"$ref": "#/components/gone"}},
                "put": {"operationId": "odd", "parameters": [param("x", "trailer")]},
                "patch": {"operationId": "styled", "parameters": [param("x", "query", style="wild")]},
                "delete": {"operationId": "fine"},
            },
            "/b": {"$ref": "paths/b.yaml"},
            "x-own": {"get": {}},
        }
    )
    _, operations, left_out = compiled(found)
    assert list(operations) == ["fine"]
    assert left_out["far"].startswith("refers to other.yaml#/p, which is another document")
    assert left_out["gone"] == "refers to #/components/gone, which is not there"
    assert "'trailer', which is no place of a request" in left_out["odd"]
    assert "of style 'wild'" in left_out["styled"]
    assert "paths/b.yaml" in left_out["get_b"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "is not a JSON or YAML object"),
        ({}, "neither `openapi` nor `swagger`"),
        ({"swagger": "1.2"}, "says version '1.2'"),
        ({"openapi": "3.0.0"}, "has no `paths`"),
    ],
)
def test_what_is_no_document(given: Any, reason: str) -> None:
    with pytest.raises(DocumentFault, match=reason):
        compiled(given)


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ([{"url": "https://a.example/v1/"}], "https://a.example/v1"),
        ([{"url": "/v2"}], "https://docs.example/v2"),
        ([{"url": "v3"}], "https://docs.example/x/v3"),
        ([{"url": "https://{r}.example", "variables": {"r": {"default": "eu"}}}], "https://eu.example"),
        ([{"url": "https://{r}.example"}, {"url": "https://b.example"}], "https://b.example"),
        ([{"url": "ftp://a.example"}], ""),
        ([{"url": "https://user@a.example"}], ""),
        ([], "https://docs.example"),
    ],
)
def test_servers_count_only_if_the_file_says_so(servers: list[Node], expected: str) -> None:
    found = one({}, servers=servers)
    info, _, _ = compiled(found, uses_servers=True, location="https://docs.example/x/openapi.json")
    assert info.server == expected
    assert compiled(found)[0].server == ""


def test_an_operation_at_another_server_is_left_out() -> None:
    found = one({"servers": [{"url": "https://uploads.example"}]}, servers=[{"url": "https://a.example"}])
    assert not compiled(found)[2], "where the file says where the API is, nothing else counts"
    assert "another server (https://uploads.example)" in compiled(found, uses_servers=True)[2]["get_things"]


def test_swagger_2() -> None:
    found: Node = {
        "swagger": "2.0",
        "info": {"title": "Old", "version": "1"},
        "host": "old.example",
        "basePath": "/v1",
        "schemes": ["https", "http"],
        "consumes": [JSON],
        "securityDefinitions": {"b": {"type": "basic"}, "k": {"type": "apiKey", "in": "header", "name": "X-K"}},
        "parameters": {"page": {"name": "page", "in": "query", "type": "integer", "minimum": 1}},
        "definitions": {"Pet": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "paths": {
            "/pets": {
                "get": {
                    "parameters": [
                        {"$ref": "#/parameters/page"},
                        {
                            "name": "tags",
                            "in": "query",
                            "type": "array",
                            "items": {"type": "string"},
                            "collectionFormat": "multi",
                        },
                        {
                            "name": "ids",
                            "in": "query",
                            "type": "array",
                            "items": {"type": "string"},
                            "collectionFormat": "pipes",
                        },
                        {"name": "csv", "in": "query", "type": "array", "items": {"type": "string"}},
                    ],
                    "responses": {"200": {"schema": {"type": "array", "items": {"$ref": "#/definitions/Pet"}}}},
                },
                "post": {
                    "parameters": [
                        {"name": "pet", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Pet"}}
                    ]
                },
            },
            "/photos": {
                "post": {
                    "parameters": [
                        {"name": "photo", "in": "formData", "type": "file", "required": True},
                        {"name": "note", "in": "formData", "type": "string"},
                    ]
                }
            },
        },
    }
    info, operations, left_out = compiled(found, uses_servers=True)
    assert not left_out
    assert info.server == "https://old.example/v1"
    assert info.schemes["b"].scheme == "basic"
    pets = operations["get_pets"]
    assert {each.name: (each.style, each.explode) for each in pets.parameters} == {
        "page": ("form", True),
        "tags": ("form", True),
        "ids": ("pipeDelimited", False),
        "csv": ("form", False),
    }
    assert pets.tool["inputSchema"]["properties"]["page"] == {"type": "integer", "minimum": 1}
    assert pets.wraps
    assert operations["post_pets"].tool["inputSchema"]["properties"]["body"]["properties"] == {
        "name": {"type": "string"}
    }
    photos = operations["post_photos"].body
    assert photos is not None
    assert photos.kind == "multipart"
    assert photos.fields["photo"].is_file


def test_every_tool_is_one_by_the_specification() -> None:
    _, operations, _ = compiled(
        document({"/a/{b}": {method: {"responses": {"200": {}}} for method in ("get", "put", "post", "delete")}})
    )
    for operation in operations.values():
        Draft202012Validator.check_schema(operation.tool["inputSchema"])
        Tool.model_validate(operation.tool)
        json.dumps(operation.tool)


# --- Resources --------------------------------------------------------------------------------------------------------


def test_resources_are_those_that_the_file_says() -> None:
    from gateway.openapi.resources import arguments_of

    found = document(
        {
            "/things": {"get": {"operationId": "list", "parameters": [param("q", "query"), param("X-Note", "header")]}},
            "/things/{thing-id}": {"get": {"operationId": "read", "parameters": [param("v", "query")]}},
            "/odd": {"get": {"operationId": "odd", "parameters": [param("X", "header", required=True)]}},
            "/other": {"get": {"operationId": "other"}, "post": {"operationId": "make"}},
        }
    )
    _, operations, left_out = compiled(found, upstream="My API", resources=("list", "read", "odd", "make"))
    assert left_out == {"odd": "cannot be a resource: it needs 'X' in its header, which a URI cannot carry"}
    assert set(operations) == {"list", "read", "odd", "other", "make"}, "tools all the same"
    listed, read = operations["list"].resource, operations["read"].resource
    assert listed is not None
    assert listed["uri"] == "openapi://my-api/things"
    assert read is not None
    assert read["uriTemplate"] == "openapi://my-api/things/{thing%2Did}{?v}"
    assert operations["other"].resource is operations["make"].resource is None
    assert arguments_of(operations["read"], "openapi://my-api/things/a%2Fb?v=1&v=2") == {
        "thing-id": "a/b",
        "v": ["1", "2"],
    }
    assert arguments_of(operations["read"], "openapi://my-api/things/a/b") is None
    assert arguments_of(operations["read"], "openapi://my-api/things/") is None
    assert arguments_of(operations["list"], "openapi://my-api/things") == {}
