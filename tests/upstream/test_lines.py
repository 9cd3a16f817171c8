"""Lines out of chunks: the same however cut, and bounded."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.transport.lines import KEPT_OF_OVERLONG, LineSplitter, Overlong


def split(*chunks: bytes, cap: int = 100) -> list[bytes | Overlong]:
    lines = LineSplitter(cap)
    return [line for chunk in chunks for line in lines.feed(chunk)]


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 300)))
def test_lines_come_out_as_they_went_in(lines: list[bytes], cuts: list[int]) -> None:
    data = b"".join(line + b"\n" for line in lines)
    assert split(*cut(data, cuts)) == lines


@given(st.lists(st.integers(0, 60), max_size=6), st.lists(st.integers(0, 300)))
def test_the_cap_is_the_same_however_the_bytes_are_cut(sizes: list[int], cuts: list[int]) -> None:
    data = b"".join(b"x" * size + b"\n" for size in sizes)
    found = split(*cut(data, cuts), cap=30)
    assert [isinstance(line, Overlong) for line in found] == [size > 30 for size in sizes]
    assert [line for line in found if isinstance(line, bytes)] == [b"x" * size for size in sizes if size <= 30]


@given(st.integers(101, 3 * KEPT_OF_OVERLONG), st.lists(st.integers(0, 3 * KEPT_OF_OVERLONG)))
def test_of_a_line_over_the_cap_both_ends_are_kept(size: int, cuts: list[int]) -> None:
    line = bytes(at % 251 for at in range(size)).replace(b"\n", b" ")
    [found] = split(*cut(line + b"\n", cuts))
    assert found == Overlong(line[:KEPT_OF_OVERLONG], line[-KEPT_OF_OVERLONG:])


def test_a_long_line_does_not_spoil_the_next() -> None:
    assert split(b"x" * 101 + b"\nab", b"c\n")[1:] == [b"abc"]


def test_the_rest() -> None:
    lines = LineSplitter(10)
    assert list(lines.feed(b"a\nbc")) == [b"a"]
    assert lines.rest() == b"bc"
    assert lines.rest() == b""
    assert list(lines.feed(b"x" * 50)) == []
    assert lines.rest() == b"x" * 50
    assert list(lines.feed(b"d\n")) == [b"d"]
