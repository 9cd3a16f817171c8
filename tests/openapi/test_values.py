"""Arguments in the places and styles of OpenAPI, and that none leaves its place."""

from typing import Any

import pytest

from gateway.openapi.faults import ArgumentFault
from gateway.openapi.model import Body, FormField, Operation, Parameter
from gateway.openapi.requests import ApiRequest, build
from gateway.openapi.security import Proof

LIST: list[Any] = ["blue", "black", "brown"]
OBJECT: dict[str, Any] = {"R": 100, "G": 200}


def sent(
    value: Any, place: Any, style: str, explode: bool, *, path: str = "/x", proof: Proof | None = None, **more: Any
) -> ApiRequest:
    parameter = Parameter("color", "color", place, style, explode, **more)
    operation = Operation("op", "GET", path, {}, parameters=(parameter,))
    return build(operation, {"color": value}, proof=proof or Proof())


@pytest.mark.parametrize(
    ("value", "style", "explode", "expected"),
    [
        # the table of OpenAPI 3.1, 4.8.12.4
        ("blue", "simple", False, "blue"),
        (LIST, "simple", False, "blue,black,brown"),
        (LIST, "simple", True, "blue,black,brown"),
        (OBJECT, "simple", False, "R,100,G,200"),
        (OBJECT, "simple", True, "R=100,G=200"),
        ("blue", "label", False, ".blue"),
        (LIST, "label", False, ".blue,black,brown"),
        (LIST, "label", True, ".blue.black.brown"),
        (OBJECT, "label", False, ".R,100,G,200"),
        (OBJECT, "label", True, ".R=100.G=200"),
        ("blue", "matrix", False, ";color=blue"),
        (LIST, "matrix", False, ";color=blue,black,brown"),
        (LIST, "matrix", True, ";color=blue;color=black;color=brown"),
        (OBJECT, "matrix", False, ";color=R,100,G,200"),
        (OBJECT, "matrix", True, ";R=100;G=200"),
        # values that would be something else if they were not encoded
        ("..", "simple", False, "%2E%2E"),
        (".", "simple", False, "%2E"),
        ("a/b", "simple", False, "a%2Fb"),
        ("../../admin", "simple", False, "..%2F..%2Fadmin"),
        ("a?b#c;d", "simple", False, "a%3Fb%23c%3Bd"),
        ("100%", "simple", False, "100%25"),
        ("%2e%2e", "simple", False, "%252e%252e"),
        ("Zoë\n", "simple", False, "Zo%C3%AB%0A"),
        ("\ud83d", "simple", False, "%3F"),
        (True, "simple", False, "true"),
        (1.5, "simple", False, "1.5"),
        (["a,b", "c"], "simple", False, "a%2Cb,c"),
    ],
)
def test_path(value: Any, style: str, explode: bool, expected: str) -> None:
    assert sent(value, "path", style, explode, path="/x/{color}/y").target == f"/x/{expected}/y"


def test_a_segment_of_several_parts_is_none_that_leads_elsewhere() -> None:
    parameters = tuple(Parameter(name, name, "path", "simple", False) for name in "ab")
    operation = Operation("op", "GET", "/x/{a}{b}/y", {}, parameters=parameters)
    assert build(operation, {"a": ".", "b": "."}).target == "/x/%2E%2E/y"
    assert build(operation, {"a": "..", "b": "z"}).target == "/x/..z/y"


@pytest.mark.parametrize("value", ["", [], {}])
def test_an_empty_part_of_a_path_would_mean_another_operation(value: Any) -> None:
    with pytest.raises(ArgumentFault, match="must not be empty"):
        sent(value, "path", "simple", False, path="/x/{color}")


@pytest.mark.parametrize(
    ("value", "style", "explode", "expected"),
    [
        ("blue", "form", True, "color=blue"),
        ("", "form", True, "color="),
        (LIST, "form", True, "color=blue&color=black&color=brown"),
        (LIST, "form", False, "color=blue%2Cblack%2Cbrown"),
        (OBJECT, "form", False, "color=R%2C100%2CG%2C200"),
        (OBJECT, "form", True, "R=100&G=200"),
        (LIST, "spaceDelimited", False, "color=blue%20black%20brown"),
        (LIST, "pipeDelimited", False, "color=blue%7Cblack%7Cbrown"),
        (LIST, "tabDelimited", False, "color=blue%09black%09brown"),
        (OBJECT, "deepObject", True, "color%5BR%5D=100&color%5BG%5D=200"),
        (
            {"a": {"b": [1, None, {"c": True}]}},
            "deepObject",
            True,
            "color%5Ba%5D%5Bb%5D%5B0%5D=1&color%5Ba%5D%5Bb%5D%5B2%5D%5Bc%5D=true",
        ),
        (["x"], "deepObject", True, "color%5B0%5D=x"),
        ([], "form", True, ""),
        ([], "form", False, ""),
        ("a&b=c#d+e f", "form", True, "color=a%26b%3Dc%23d%2Be%20f"),
    ],
)
def test_query(value: Any, style: str, explode: bool, expected: str) -> None:
    assert sent(value, "query", style, explode).target == "/x" + (f"?{expected}" if expected else "")


def test_reserved_characters_stay_if_the_document_says_so_but_none_that_ends_the_value() -> None:
    assert sent("a/b?c&d=e#f+g;h", "query", "form", True, reserved=True).target == "/x?color=a/b?c%26d%3De%23f%2Bg;h"


def test_content_of_json() -> None:
    assert sent({"a": [1]}, "query", "form", True, is_json=True).target == "/x?color=%7B%22a%22%3A%5B1%5D%7D"
    assert dict(sent({"a": 1}, "header", "simple", False, is_json=True).headers)["color"] == '{"a":1}'


@pytest.mark.parametrize("style", ["form", "spaceDelimited", "deepObject"])
def test_a_member_of_an_object_is_no_other_parameter(style: str) -> None:
    parameters = (
        Parameter("about", "about", "query", style, True),
        Parameter("admin", "admin", "query", "form", True),
        Parameter("about[x]", "about[x]", "query", "form", True),
    )
    operation = Operation("op", "GET", "/x", {}, parameters=parameters)
    if style == "form":
        for name in ("admin", "key"):
            with pytest.raises(ArgumentFault, match="a parameter of its own"):
                build(operation, {"about": {name: "1"}}, proof=Proof(query={"key": "secret"}))
    elif style == "deepObject":
        with pytest.raises(ArgumentFault, match="a parameter of its own"):
            build(operation, {"about": {"x": "1"}})
        with pytest.raises(ArgumentFault, match="bracket"):
            build(operation, {"about": {"a][b": "1"}})
    else:
        assert build(operation, {"about": {"admin": "1"}}).target == "/x?about=admin%201"


def test_what_the_configuration_sends_comes_last_and_is_not_shown() -> None:
    request = sent("blue", "query", "form", True, proof=Proof(query={"key": "s3cret&"}))
    assert request.target == "/x?color=blue&key=s3cret%26"
    assert request.visible == "/x?color=blue"


@pytest.mark.parametrize(
    ("value", "explode", "expected"),
    [
        ("blue", False, "blue"),
        (LIST, False, "blue,black,brown"),
        (OBJECT, False, "R,100,G,200"),
        (OBJECT, True, "R=100,G=200"),
    ],
)
def test_header(value: Any, explode: bool, expected: str) -> None:
    assert dict(sent(value, "header", "simple", explode).headers)["color"] == expected


@pytest.mark.parametrize("value", ["a\r\nHost: evil", "a\nb", "a\0b", "a\x7f", ["a", "b\r"]])
def test_a_header_stays_one_line(value: Any) -> None:
    with pytest.raises(ArgumentFault, match="line break"):
        sent(value, "header", "simple", False)


@pytest.mark.parametrize("name", ["Host", "authorization", "COOKIE", "Content-Length", "X-Forwarded-For", "x-own"])
def test_headers_that_are_the_configurations_alone(name: str) -> None:
    parameter = Parameter("it", name, "header", "simple", False)
    request = build(
        Operation("op", "GET", "/x", {}, parameters=(parameter,)), {"it": "evil"}, proof=Proof({"x-own": "mine"})
    )
    assert "evil" not in str(request)


def test_cookies_cannot_be_another_nor_several() -> None:
    request = sent("a; admin=1", "cookie", "form", True, proof=Proof({"cookie": "sid=1"}, {}, {"k": "v"}))
    assert dict(request.headers)["cookie"] == "sid=1; k=v; color=a%3B%20admin%3D1"
    with pytest.raises(ArgumentFault, match="a parameter of its own"):
        sent("x", "cookie", "form", True, proof=Proof({"cookie": "a=b; color=red"}))


def test_arguments_that_are_missing_or_not_known() -> None:
    parameters = (Parameter("a", "a", "query", "form", True, required=True),)
    operation = Operation("op", "POST", "/x", {}, parameters=parameters, body=Body("body", "json", "application/json"))
    with pytest.raises(ArgumentFault, match=r"There is no argument `c`; it takes `a`, `body`\."):
        build(operation, {"a": 1, "c": 2})
    with pytest.raises(ArgumentFault, match="`a` must be given"):
        build(operation, {"a": None})
    assert build(operation, {"a": 1, "body": None}).body == b"", "null is as good as nothing"


# --- Bodies -----------------------------------------------------------------------------------------------------------


def posted(body: Body, value: Any) -> tuple[bytes | None, str]:
    request = build(Operation("op", "POST", "/x", {}, body=body), {"body": value})
    return request.body, dict(request.headers)["content-type"]


@pytest.mark.parametrize(
    ("kind", "media", "value", "expected"),
    [
        ("json", "application/json", {"a": [1, None]}, b'{"a":[1,null]}'),
        ("json", "application/merge-patch+json", [1], b"[1]"),
        ("text", "text/xml", "<a/>", b"<a/>"),
        ("file", "application/pdf", {"data": "aGk="}, b"hi"),
        ("file", "application/pdf", "aGk=", b"hi"),
        ("form", "application/x-www-form-urlencoded", {"a": "x y&", "b": [1, 2], "c": None}, b"a=x%20y%26&b=1&b=2"),
    ],
)
def test_bodies(kind: Any, media: str, value: Any, expected: bytes) -> None:
    body, written = posted(Body("body", kind, media), value)
    assert body == expected
    assert written.partition(";")[0] == media


def test_forms_follow_the_encoding_of_each_property() -> None:
    fields = {
        "deep": FormField("deepObject", True),
        "csv": FormField("form", False),
        "json": FormField(is_plain=False),
        "spread": FormField("form", True),
    }
    form = Body("body", "form", "application/x-www-form-urlencoded", fields=fields)
    value = {"deep": {"a": {"b": 1}}, "csv": ["x", "y"], "json": {"a": 1}, "more": {"b": 2}}
    assert posted(form, value)[0] == (b"deep%5Ba%5D%5Bb%5D=1&csv=x%2Cy&json=%7B%22a%22%3A1%7D&more=%7B%22b%22%3A2%7D")
    with pytest.raises(ArgumentFault, match="a parameter of its own"):
        posted(form, {"spread": {"csv": "1"}})
    with pytest.raises(ArgumentFault, match="must be an object"):
        posted(form, [1])


def test_multipart() -> None:
    fields = {"file": FormField(is_file=True), "files": FormField(is_file=True), "about": FormField(is_plain=False)}
    value = {
        "file": {"data": "aGk=", "name": 'a"b\r\n.png', "mimeType": "image/png"},
        "files": ["AA==", {"blob": "AQ==", "mimeType": "evil\r\nx: y"}],
        "about": {"k": 1},
        "tags": ["x", "y"],
        'n"\n': "v",
    }
    body, media = posted(Body("body", "multipart", "multipart/form-data", fields=fields), value)
    assert media == "multipart/form-data; boundary=boundary"
    assert body is not None
    form = 'content-disposition: form-data; name="'
    assert body.decode().split("--boundary")[1:] == [
        f'\r\n{form}file"; filename="a%22b%0D%0A.png"\r\ncontent-type: image/png\r\n\r\nhi\r\n',
        f'\r\n{form}files"; filename="files"\r\ncontent-type: application/octet-stream\r\n\r\n\0\r\n',
        f'\r\n{form}files"; filename="files"\r\ncontent-type: application/octet-stream\r\n\r\n\1\r\n',
        f'\r\n{form}about"\r\ncontent-type: application/json\r\n\r\n{{"k":1}}\r\n',
        f'\r\n{form}tags"\r\n\r\nx\r\n',
        f'\r\n{form}tags"\r\n\r\ny\r\n',
        f'\r\n{form}n%22%0A"\r\n\r\nv\r\n',
        "--\r\n",
    ]
