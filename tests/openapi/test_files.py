"""Files among arguments."""

from typing import Any

import pytest

from gateway.openapi.faults import ArgumentFault
from gateway.openapi.files import FileContent, content_of, file_of, links
from gateway.openapi.model import Body, FormField, Operation

LINKED = {"notes://1": FileContent(b"linked", "1", "text/plain")}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("aGk=", FileContent(b"hi")),
        ("aG\nk=", FileContent(b"hi")),
        ("data:text/plain;base64,aGk=", FileContent(b"hi", "", "text/plain")),
        ("data:text/plain,h%69", FileContent(b"hi", "", "text/plain")),
        ({"data": "aGk=", "name": "n", "mimeType": "a/b"}, FileContent(b"hi", "n", "a/b")),
        ({"type": "image", "data": "aGk=", "mimeType": "image/png"}, FileContent(b"hi", "", "image/png")),
        ({"type": "resource", "resource": {"uri": "x:", "blob": "aGk="}}, FileContent(b"hi")),
        ({"type": "resource", "resource": {"uri": "x:", "text": "hi"}}, FileContent(b"hi")),
        ({"uri": "notes://1"}, FileContent(b"linked", "1", "text/plain")),
        ({"type": "resource_link", "uri": "notes://1", "name": "n"}, FileContent(b"linked", "n", "text/plain")),
    ],
)
def test_a_file_is_given_in_many_ways(value: Any, expected: FileContent) -> None:
    assert file_of("f", value, LINKED) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not base64!", "is not base64"),
        ({"data": "é"}, "is not base64"),
        ({}, "give its content in base64"),
        (7, "give its content in base64"),
        ({"uri": "notes://2"}, "cannot be read here"),
        ("data:nothing", "not a data URI"),
    ],
)
def test_what_is_no_file(value: Any, reason: str) -> None:
    with pytest.raises(ArgumentFault, match=reason):
        file_of("f", value, LINKED)


def test_links_are_looked_for_where_files_are() -> None:
    fields = {"one": FormField(is_file=True), "many": FormField(is_file=True), "text": FormField()}
    operation = Operation("op", "POST", "/", {}, body=Body("body", "multipart", "multipart/form-data", fields=fields))
    value = {
        "one": {"uri": "a:1"},
        "many": [{"uri": "a:2"}, {"uri": "a:3", "data": ""}, "eA=="],
        "text": {"uri": "a:4"},
        "other": {"uri": "a:5"},
    }
    assert list(links(operation, {"body": value})) == ["a:1", "a:2"]
    assert not list(links(operation, {}))


def test_what_a_resource_holds() -> None:
    found = content_of("notes://x/a.txt?v=1", {"contents": [{"uri": "x", "text": "hi", "mimeType": "text/plain"}]})
    assert found == FileContent(b"hi", "a.txt", "text/plain")
    with pytest.raises(ArgumentFault, match="holds no file"):
        content_of("notes://x", {"contents": []})
