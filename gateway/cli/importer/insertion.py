"""Puts new entries into the text of a servers.yaml and leaves every line that is there as it is.

The YAML parser only tells where things stand; the text itself is never written anew. Whatever the result, it is parsed
again: unless all that was there is there unchanged, and the new entries mean what they should, nothing is done.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from gateway.cli.importer import yaml_text
from gateway.config.reading.entries import ROOTS
from gateway.config.reading.source import mapping, parse
from gateway.errors import ConfigError

STEP: Final = 2
_COMMENT: Final = re.compile(r"([ \t]*)#")
_BOM: Final = "\ufeff"


class CannotInsert(Exception):
    """The file is written in a way that leaves no room; the message says in which."""


@dataclass(frozen=True, slots=True)
class _Room:
    """Where new entries go."""

    position: int
    """In the text; always the beginning of a line, or the end."""
    indent: int
    """Of the entries' names."""
    step: int = STEP
    """By how much more their keys are indented."""
    airy: bool = True
    """Whether blank lines stand between entries."""
    lead: bool = False
    """Whether something stands before that is to be kept at a distance."""
    before: str = ""
    """What has to come first."""
    text: str = ""
    """The text to insert into, with at most an empty value taken out."""


def insert(text: str, name: str, new: Mapping[str, Mapping[str, Any]], comment: str) -> str:
    """The text of file `name` with entries added to its `servers:` (or `mcpServers:`).

    Raises:
        CannotInsert: the file has no place for them, or the outcome would not be what it should.
        ConfigError: the file is not valid YAML.
    """
    old = parse(text, name)
    if old.json:
        raise CannotInsert("it is JSON, and import writes YAML")
    room = _room(text.removeprefix(_BOM), old.data)
    end = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    lines = [" " * room.indent + "# " + comment] if comment else []
    for index, (server, values) in enumerate(new.items()):
        lines += [""] if index and room.airy else []
        lines += yaml_text.entry(server, values, room.indent, room.step)
    if room.lead and room.airy:
        lines.insert(0, "")
    block = room.before.replace("\n", end) + end.join(lines) + end
    head, tail = room.text[: room.position], room.text[room.position :]
    if head and not head.endswith("\n"):
        head += end
    result = (_BOM if text.startswith(_BOM) else "") + head + block + tail
    _verify(result, name, old.data, new)
    return result


def _verify(result: str, name: str, old: Any, new: Mapping[str, Mapping[str, Any]]) -> None:
    root = _root_key(old)
    before: dict[str, Any] = dict(mapping(old) or {})
    wanted = {**before, root: {**(mapping(before.get(root)) or {}), **new}}
    try:
        found = parse(result, name).data
    except ConfigError as error:
        raise CannotInsert(f"the outcome would not be valid ({error.message})") from None
    if found != wanted or list(found) != list(wanted) or list(found[root]) != list(wanted[root]):
        raise CannotInsert("the outcome would not mean what it should")


def _root_key(data: Any) -> str:
    return next((key for key in mapping(data) or {} if key in ROOTS), ROOTS[0])


# --- Finding room -------------------------------------------------------------------------------------------------


def _room(text: str, data: Any) -> _Room:
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    if tree is None or data is None:
        return _at_end(text)
    if not isinstance(tree, yaml.MappingNode) or tree.flow_style:
        raise CannotInsert("it is not a block of keys, one a line")
    key, servers = next(((key, value) for key, value in tree.value if key.value == _root_key(data)), (None, None))
    if key is None or servers is None:
        return _at_end(text)
    column = int(key.start_mark.column)
    if isinstance(servers, yaml.MappingNode) and servers.value and not servers.flow_style:
        if servers.start_mark.index < key.end_mark.index:
            raise CannotInsert(f"its `{key.value}` is an alias")
        return _after_last(text, servers)
    is_empty = isinstance(servers, yaml.MappingNode) and not servers.value
    if is_empty or (isinstance(servers, yaml.ScalarNode) and servers.tag.endswith(":null")):
        return _in_empty(text, key, servers, column)
    kind = "written in braces" if isinstance(servers, yaml.MappingNode) else "not a mapping of names to servers"
    raise CannotInsert(f"its `{key.value}` is {kind}")


def _at_end(text: str) -> _Room:
    before = "\n" if text.strip() and not text.endswith("\n\n") else ""
    return _Room(len(text), STEP, before=f"{before}{ROOTS[0]}:\n", text=text)


def _in_empty(text: str, key: yaml.Node, value: yaml.Node, column: int) -> _Room:
    start, end = int(value.start_mark.index), int(value.end_mark.index)
    if text[start:end].strip():  # `{}`, `null` or `~`, for which there is no longer a place
        text = text[:start].rstrip(" ") + text[end:]
    return _Room(next_line(text, int(key.end_mark.index)), column + STEP, text=text)


def _after_last(text: str, servers: yaml.MappingNode) -> _Room:
    indent = int(servers.start_mark.column)
    pairs: list[tuple[yaml.Node, yaml.Node]] = servers.value
    first = pairs[0][1]
    is_block = isinstance(first, yaml.MappingNode) and not first.flow_style
    step = int(first.start_mark.column) - indent if is_block else STEP
    ends = [max(end_of(key, set()), end_of(value, set())) for key, value in pairs]
    position = next_line(text, max(ends))
    gaps = [text[end : int(key.start_mark.index)] for end, (key, _) in zip(ends, pairs[1:], strict=False)]
    airy = not gaps or any(re.search(r"\n[ \t]*\r?\n", gap) for gap in gaps)
    return _Room(past_comments(text, position, indent), indent, step if step > 0 else STEP, airy, lead=True, text=text)


def end_of(node: yaml.Node, seen: set[int]) -> int:
    """Where the last character of a node stands. PyYAML ends a block only where the next token begins."""
    if id(node) in seen:
        return 0
    seen.add(id(node))
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        if isinstance(node, yaml.MappingNode):
            return max(end_of(part, seen) for pair in node.value for part in pair)
        return max(end_of(item, seen) for item in node.value)
    return int(node.end_mark.index)


def next_line(text: str, position: int) -> int:
    """The beginning of the first line that does not begin before `position`."""
    if position and text[position - 1] == "\n":
        return position
    line_break = text.find("\n", position)
    return len(text) if line_break == -1 else line_break + 1


def past_comments(text: str, position: int, indent: int) -> int:
    """Comments that are indented deeper than the entries belong to the last one."""
    following = position
    while following < len(text):
        end = next_line(text, following + 1)
        line = text[following:end]
        comment = _COMMENT.match(line)
        if comment is not None and len(comment[1]) > indent:
            position = end
        elif line.strip():
            break
        following = end
    return position
