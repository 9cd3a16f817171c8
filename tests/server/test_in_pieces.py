"""Long strings in pieces: they come out as they would whole, wherever they are parted."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import jsonrpc
from gateway.server import in_pieces
from gateway.server.in_pieces import PIECE, blocks_of, string_of

TEXTS = st.text(st.sampled_from('aä☃𝄞\n"\\/\x00\ud83d\ude00ud'), max_size=200)


@given(text=TEXTS, piece=st.integers(1, 40), is_ascii=st.booleans())
def test_it_comes_out_as_it_would_whole(text: str, piece: int, is_ascii: bool) -> None:
    data = json.dumps(text, ensure_ascii=is_ascii).encode(errors="backslashreplace")
    assert string_of(data, piece) == jsonrpc.loads(data)


@given(
    runs=st.lists(st.sampled_from([rb"\\", rb"\ud83d\ude00", rb"\ud83d", rb"\ude00", rb"\n", "ä".encode(), b"u" * 80]))
)
def test_escapes_are_never_parted(runs: list[bytes]) -> None:
    data = b'"%s"' % b"".join(run * 9 for run in runs)
    for piece in (1, 7, 50):
        assert string_of(data, piece) == jsonrpc.loads(data)


def test_no_piece_is_much_longer_than_it_should_be(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def loads(data: bytes) -> Any:
        asked.append(len(data))
        return jsonrpc.loads(data)

    monkeypatch.setattr(in_pieces, "jsonrpc", SimpleNamespace(loads=loads))
    for letter in ("a", "ä", "☃", "\n", "𝄞", 'a"', "\\"):
        for is_ascii in (False, True):
            text = letter * 100_000
            asked.clear()
            assert string_of(json.dumps(text, ensure_ascii=is_ascii).encode(), 10_000) == text
            assert letter == "\\" or max(asked) < 10_200, (letter, is_ascii)


@pytest.mark.parametrize("text", ["short", "long ☃\n" * PIECE])
def test_blocks_of_every_kind(text: str) -> None:
    blocks: list[Any] = [
        {"type": "text", "text": text, "annotations": {"priority": 1.50}},
        {"type": "resource", "resource": {"uri": "a:b", "text": text, "_meta": {"deep": [text, None]}}},
        {"type": "image", "data": text, "x": [1, {"y": text}]},
        {},
    ]
    assert blocks_of(jsonrpc.dumps(blocks)) == blocks
    for odd in (text, {"text": text}, [text, 5], [[text]], None):
        assert blocks_of(jsonrpc.dumps(odd)) == odd


MANY = 200_000


@pytest.mark.parametrize(
    "data",
    [
        b"[" + b"{}," * MANY + b"{}]",
        b"[{" + b",".join(b'"%d":1' % number for number in range(MANY)) + b"}]",
        b'[{"type":"resource","resource":{' + b",".join(b'"%d":1' % number for number in range(MANY)) + b"}}]",
        b"[" + b'{"type":"text","text":"a"},' * MANY + b"{}]",
    ],
    ids=["blocks", "members", "members of a resource", "texts"],
)
def test_how_many_values_there_may_be_is_bounded_as_everywhere(data: bytes) -> None:
    with pytest.raises(jsonrpc.TooManyValues):
        blocks_of(data)


@pytest.mark.parametrize("before", [b"", b'"type":"resource","resource":{'])
def test_what_is_nested_without_end_is_no_json_of_ours(before: bytes) -> None:
    data = b"[{%s%s]" % (before, b'"a":{' * 90_000)
    with pytest.raises(ValueError, match=r"."):
        blocks_of(data)
    closed = b"[{%s%s1%s]" % (before, b'"a":{' * 2_000 + b'"a":', b"}" * 2_001 + (b"}" if before else b""))
    with pytest.raises(ValueError, match=r"."):
        blocks_of(closed.replace(b"1", b'"%s"' % (b"x" * PIECE)))
