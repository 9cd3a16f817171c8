"""Where a result is cut: what is left of its blocks, and how that is the head of one document."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonrpc
from gateway.server.result_cut import CutResult, cut, head

BUDGET, RESERVED = 1200, 200
IMAGE: dict[str, Any] = {"type": "image", "data": "aGk=" * 2000, "mimeType": "image/png"}
LINK: dict[str, Any] = {"type": "resource_link", "uri": "file:///a", "name": "a"}


def block(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def resource(text: str) -> dict[str, Any]:
    return {"type": "resource", "resource": {"uri": "file:///a", "text": text}}


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(jsonrpc.dumps(value))


def made(*content: Any, **more: Any) -> CutResult:
    found = cut({"content": list(content), **more}, BUDGET, RESERVED)
    assert found is not None
    return found


def size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"content": []},
        {"content": [block("x" * BUDGET)]},
        {"content": [block("ü" * (BUDGET // 2))]},
        {"content": [block("x" * 599), resource("y" * 600)]},
        {"content": [IMAGE, block("short"), LINK]},
        {"content": [{"type": "resource", "resource": {"uri": "a:b", "blob": "aGk=" * 1000}}]},
        {"content": [block("a"), {"type": "hologram", "voxels": "x" * 5000}, None, 5]},
        {"content": "x" * 5000},
        {"content": [block("x" * 700)], "structuredContent": {"result": "x" * 1100}},
        {"content": [block("x" * 1000)], "structuredContent": {"result": "\n" * 900}},
        {"content": [{"type": "text", "text": 5, "more": "x" * 5000}]},
    ],
)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_what_fits_is_not_looked_at_twice(result: dict[str, Any], as_bytes: bool) -> None:
    given = {name: raw(value) for name, value in result.items()} if as_bytes else result
    assert cut(given, BUDGET, RESERVED) is None


@pytest.mark.parametrize("as_bytes", [False, True])
def test_one_text_is_cut_and_keeps_what_else_its_block_has(as_bytes: bool) -> None:
    content = [block("x" * 5000, annotations={"priority": 1})]
    found = cut({"content": raw(content) if as_bytes else content}, BUDGET, RESERVED)
    assert found == CutResult([block("x" * 1000, annotations={"priority": 1})], "x" * 5000, 5000, 1000)
    assert made(*content).bytes_left == 4000


def test_of_several_texts_the_later_ones_go_and_all_else_stays() -> None:
    found = made(block("a" * 400), IMAGE, block("b" * 900), LINK, block("c"), resource("d"))
    assert found.content == [block("a" * 400), IMAGE, block("b" * 599), LINK]
    assert found.document == "\n".join(["a" * 400, "b" * 900, "c", "d"])
    assert found.end == 1000
    assert found.document[found.end :] == "b" * 301 + "\nc\nd"


def test_a_cut_resource_is_no_resource() -> None:
    found = made(resource("a" * 100), resource("b" * 5000))
    assert found.content == [resource("a" * 100), block("b" * 899)]


def test_a_block_of_which_nothing_fits_is_left_out() -> None:
    found = made(block("a" * 1000), block("b" * 500))
    assert (found.content, found.end) == ([block("a" * 1000)], 1001)
    assert found.document[found.end :] == "b" * 500


def test_structured_content_that_says_more_than_the_text_is_the_end_of_the_document() -> None:
    rows = {"rows": [*range(1000)]}
    found = made(block("1000 rows"), structuredContent=rows)
    said = jsonrpc.dumps(rows).decode()
    assert found.document == "1000 rows\n" + said
    assert found.content == [block("1000 rows"), block(said[:990])]
    alone = made(structuredContent=rows)
    assert (alone.document, alone.content) == (said, [block(said[:1000])])


def test_structured_content_that_is_in_the_text_is_not_in_the_document_too() -> None:
    rows = {"rows": [*range(1000)]}
    for text in (jsonrpc.dumps(rows).decode(), jsonrpc.pretty(rows), "".join(f"| {row} |\n" for row in range(1000))):
        assert made(block(text), structuredContent=rows).document == text


LETTERS = st.sampled_from("aäß☃𝄞\n\r \ud800")
TEXTS = st.builds(str.__mul__, st.text(LETTERS, max_size=40), st.integers(1, 100))


@given(text=st.text(LETTERS, max_size=60), room=st.integers(0, 100), goes_on=st.booleans())
def test_a_head_is_a_prefix_that_fits(text: str, room: int, goes_on: bool) -> None:
    begun = head(text, room, goes_on=goes_on)
    assert text.startswith(begun)
    assert size(begun) <= room
    if size(text) <= room and not goes_on:
        assert begun == text
    else:
        whole = next(n for n in range(len(text), -1, -1) if size(text[:n]) <= room)
        assert len(begun) >= whole - whole // 4, "no more is given up than to the line end that is near"
        assert begun.endswith("\n") or begun == text[:whole]


@given(texts=st.lists(TEXTS, max_size=5))
def test_what_is_left_is_the_head_of_the_document(texts: list[str]) -> None:
    found = cut({"content": [block(text) for text in texts]}, BUDGET, RESERVED)
    if found is None:
        assert size("\n".join(texts)) <= BUDGET
        return
    left = "\n".join(each["text"] for each in found.content)
    assert found.document == "\n".join(texts)
    assert found.document.startswith(left)
    assert found.end - len(left) in (0, 1), "but for the line break before a block of which nothing fits"
    assert size(left) <= BUDGET - RESERVED
    assert found.bytes_left == size(found.document[found.end :])
