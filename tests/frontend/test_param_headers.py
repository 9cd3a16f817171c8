"""Arguments that a tool's schema wants mirrored into headers."""

from typing import Any

import pytest

from gateway.catalogue.catalogue import Owner
from gateway.errors import HeaderMismatch
from gateway.server.param_headers import check, mirrored, unrecognised


def owned(item: dict[str, Any]) -> Owner:
    return Owner("up", str(item.get("name")), item)


TOOL = owned(
    {
        "name": "query",
        "inputSchema": {
            "type": "object",
            "properties": {
                "region": {"type": "string", "x-mcp-header": "Region"},
                "limit": {"type": "integer", "x-mcp-header": "Limit"},
                "deep": {"type": "object", "properties": {"dry": {"type": "boolean", "x-mcp-header": "Dry"}}},
                "sql": {"type": "string"},
            },
        },
    }
)
PLAIN = owned({"name": "plain", "inputSchema": {"type": "object", "properties": {"a": {"type": "string"}}}})


def params(**arguments: Any) -> dict[str, Any]:
    return {"name": "query", "arguments": arguments}


def test_arguments_named_in_the_schema_are_mirrored() -> None:
    headers = mirrored(TOOL, params(region="eu", limit=7, deep={"dry": True}, sql="select"))
    assert {name.lower(): value for name, value in headers.items()} == {
        "mcp-param-region": "eu",
        "mcp-param-limit": "7",
        "mcp-param-dry": "true",
    }


def test_what_no_header_can_hold_is_encoded() -> None:
    for value in ("☃", " eu ", "a\r\nb: c", "=?base64?eA==?="):
        (header,) = mirrored(TOOL, params(region=value)).values()
        assert header.startswith("=?base64?")
        assert header.isascii()
        assert "\n" not in header


@pytest.mark.parametrize("given", [{"name": "query"}, params(), params(sql="x"), {"name": "query", "arguments": None}])
def test_what_is_not_given_is_not_mirrored(given: dict[str, Any]) -> None:
    assert mirrored(TOOL, given) == {}


@pytest.mark.parametrize("schema", [None, [], "x", 7, {"type": "object"}, {"properties": None}])
def test_a_schema_without_any_costs_nothing(schema: object) -> None:
    tool = owned({"name": "plain", "inputSchema": schema})
    assert mirrored(tool, params(region="eu")) == {}
    check(tool, params(region="eu"), {})
    assert mirrored(PLAIN, params(a="b")) == {}


def test_headers_must_say_what_the_arguments_say() -> None:
    good = {"mcp-param-region": "eu", "mcp-param-limit": "7"}
    check(TOOL, params(region="eu", limit=7), good)
    check(TOOL, params(sql="x"), {})
    for headers in ({}, good | {"mcp-param-region": "us"}, good | {"mcp-param-limit": "8"}):
        with pytest.raises(HeaderMismatch):
            check(TOOL, params(region="eu", limit=7), headers)


def test_headers_no_schema_names_are_passed_on() -> None:
    headers = {"mcp-param-region": "eu", "mcp-param-tenant": "a", "x-mcp-param-b": "c", "accept": "*/*"}
    assert unrecognised(TOOL, headers) == {"mcp-param-tenant": "a"}
    assert unrecognised(PLAIN, headers) == {"mcp-param-region": "eu", "mcp-param-tenant": "a"}
    assert unrecognised(TOOL, {"accept": "*/*"}) == {}


class Watched(dict[str, Any]):
    """A schema that counts how often it is gone through."""

    walks = 0

    def values(self) -> Any:
        self.walks += 1
        return super().values()


@pytest.mark.parametrize("more", [{}, {"x-mcp-header": "Region"}], ids=["plain", "with headers"])
def test_a_schema_is_gone_through_once(more: dict[str, str]) -> None:
    properties = Watched(region={"type": "string", **more}, other={"type": "string", "pattern": "(a+)+$"})
    tool = owned({"name": "query", "inputSchema": {"type": "object", "properties": properties}})
    mirrored(tool, params(region="eu"))
    walks = properties.walks
    for _ in range(3):
        mirrored(tool, params(region="eu"))
        check(tool, params(other="x"), {})
        unrecognised(tool, {"mcp-param-other": "x"})
    assert properties.walks == walks


def test_a_schema_that_names_one_header_twice_mirrors_nothing() -> None:
    region = {"type": "string", "x-mcp-header": "Region"}
    tool = owned({"name": "query", "inputSchema": {"type": "object", "properties": {"a": region, "b": region}}})
    assert mirrored(tool, params(a="eu")) == {}
    check(tool, params(a="eu"), {})
