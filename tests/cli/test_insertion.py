"""New entries go into a servers.yaml, and all that was there stays as it was, to the byte."""

from itertools import dropwhile
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.importer.insertion import CannotInsert, insert
from gateway.config.reading.source import parse
from gateway.errors import ConfigError

NEW: dict[str, dict[str, Any]] = {"n": {"command": "x"}}


def inserted(text: str, new: dict[str, dict[str, Any]] | None = None, comment: str = "") -> str:
    return insert(dedent(text), "servers.yaml", NEW if new is None else new, comment)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("", "servers:\n  n:\n    command: x\n", id="empty"),
        pytest.param("# only this\n", "# only this\n\nservers:\n  n:\n    command: x\n", id="comment"),
        pytest.param("servers:\n", "servers:\n  n:\n    command: x\n", id="no entry"),
        pytest.param("servers:", "servers:\n  n:\n    command: x\n", id="no line break"),
        pytest.param("servers: {} # none\n", "servers: # none\n  n:\n    command: x\n", id="empty braces"),
        pytest.param("servers: null\na: b\n", "servers:\n  n:\n    command: x\na: b\n", id="null"),
        pytest.param("servers:\n  # later\n", "servers:\n  n:\n    command: x\n  # later\n", id="only a comment in it"),
        pytest.param(
            "servers:\n  a:\n    command: y\n",
            "servers:\n  a:\n    command: y\n\n  n:\n    command: x\n",
            id="one entry",
        ),
        pytest.param(
            "servers:\n  a: {command: y}\n  b: {command: y}\n",
            "servers:\n  a: {command: y}\n  b: {command: y}\n  n:\n    command: x\n",
            id="without blank lines",
        ),
        pytest.param(
            "mcpServers:\n    a:\n       command: y\n\ngateway:\n  port: 1\n",
            "mcpServers:\n    a:\n       command: y\n\n    n:\n       command: x\n\ngateway:\n  port: 1\n",
            id="indentation",
        ),
        pytest.param(
            "gateway:\n  port: 1", "gateway:\n  port: 1\n\nservers:\n  n:\n    command: x\n", id="no servers at all"
        ),
        pytest.param(
            "servers:\n  a:\n    command: y # why\n    # args: []\n  # b:\n  #   url: z\n",
            "servers:\n  a:\n    command: y # why\n    # args: []\n\n  n:\n    command: x\n  # b:\n  #   url: z\n",
            id="comments",
        ),
        pytest.param(
            "servers:\n  a:\n    description: |\n      two\n      lines\n\ngateway: {port: 1}\n",
            "servers:\n  a:\n    description: |\n      two\n      lines\n\n"
            "\n  n:\n    command: x\ngateway: {port: 1}\n",
            id="block text",
        ),
        pytest.param(
            "servers:\n  a:\n    args:\n    - one\n    - two\n",
            "servers:\n  a:\n    args:\n    - one\n    - two\n\n  n:\n    command: x\n",
            id="list",
        ),
        pytest.param(
            "x-base: &base\n  command: y\nservers:\n  a:\n    <<: *base\n",
            "x-base: &base\n  command: y\nservers:\n  a:\n    <<: *base\n\n  n:\n    command: x\n",
            id="alias",
        ),
    ],
)
def test_where_entries_go(before: str, after: str) -> None:
    assert inserted(before) == after


def test_a_comment_introduces_them_and_order_is_kept() -> None:
    new: dict[str, dict[str, Any]] = {"z": {"url": "http://z"}, "b": {"command": "b", "args": ["1"]}}
    assert inserted("servers:\n  a:\n    command: y\n", new, "From there") == dedent("""\
        servers:
          a:
            command: y

          # From there
          z:
            url: http://z

          b:
            command: b
            args: ["1"]
        """)


def test_line_ends_and_byte_order_mark_are_kept() -> None:
    assert inserted("servers:\r\n  a:\r\n    command: y\r\n") == (
        "servers:\r\n  a:\r\n    command: y\r\n\r\n  n:\r\n    command: x\r\n"
    )
    assert inserted("\ufeffservers:\n") == "\ufeffservers:\n  n:\n    command: x\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("servers: {a: {command: y}}\n", "written in braces"),
        ("{servers: {}}\n", "is not a block"),
        ("servers:\n  - name: a\n    command: y\n", "not a mapping"),
        ('{"servers": {}}', "is not a block"),
        ("x: &x\n  a: {command: y}\nservers: *x\n", "alias"),
        ("gateway: {port: 1}\n...\n", "the outcome would not be valid"),
    ],
)
def test_where_there_is_no_room(text: str, reason: str) -> None:
    with pytest.raises(CannotInsert, match=reason):
        inserted(text)


def test_json_is_not_written() -> None:
    with pytest.raises(CannotInsert, match="JSON"):
        insert('{"servers": {}}', "servers.json", NEW, "")


def test_what_is_not_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^servers\.yaml:\d+:"):
        inserted("servers: [\n")


# --- Any file whatever ------------------------------------------------------------------------------------------------

TEXTS = ["|\n{0}  text\n{0}  # no comment\n", ">-\n{0}  folded\n"]
SCALARS = st.sampled_from(["x", '"y: #"', "'it''s'", "${A:-b}", *TEXTS])
NOISE = st.sampled_from(["", "\n", "# comment\n", "{0}# deeper\n", "  # at entries\n\n", "{0}  # deepest\n"])


@st.composite
def entries(draw: st.DrawFn, indent: str, step: str) -> str:
    """One entry, with comments and blank lines wherever they may stand."""
    name = draw(st.sampled_from("abcdefgh")) + str(draw(st.integers(0, 10**6)))
    lines = f"{indent}{name}:{draw(st.sampled_from(['', ' # hi']))}\n"
    inner = indent + step
    for key in draw(st.lists(st.sampled_from(["command", "cwd", "description"]), min_size=1, unique=True)):
        value = draw(SCALARS).replace("{0}", inner)
        lines += f"{inner}{key}: {value}" + ("" if value.endswith("\n") else "\n")
        lines += draw(NOISE).replace("{0}", inner)
    return lines


@st.composite
def files(draw: st.DrawFn) -> str:
    """A servers.yaml as somebody may have written it."""
    indent, step = draw(st.sampled_from([("  ", "  "), ("    ", "  "), (" ", "   ")]))
    head = draw(st.sampled_from(["", "# top\n\n", "gateway:\n  port: 1\n\n"]))
    tail = draw(st.sampled_from(["", "\n# end\n", "\nx-more: 1\n", "x-more: {a: b} # end"]))
    root = draw(st.sampled_from(["servers:\n", "mcpServers: # all\n"]))
    body = "".join(draw(st.lists(entries(indent, step), max_size=3)))
    return head + root + body + tail


@given(files())
def test_nothing_is_lost(text: str) -> None:
    try:
        before = parse(text, "x.yaml").data
    except ConfigError:
        return  # two entries of one name, say
    after = insert(text, "x.yaml", NEW, "new ones")
    data = parse(after, "x.yaml").data
    root = next(key for key in data if key in ("servers", "mcpServers"))
    assert data[root].pop("n") == {"command": "x"}
    assert data == {**before, root: before[root] or {}}
    remaining = iter(after.splitlines())
    for line in text.splitlines():  # every old line is there, in its order
        assert next(dropwhile(lambda new, old=line: new != old, remaining), None) is not None or not line
