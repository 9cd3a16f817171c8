"""Takes an entry out of the text of a servers.yaml and leaves every other line as it is.

As with `insertion`, the result is parsed again: unless all else is there unchanged, nothing is done.
"""

from typing import Any

import yaml

from gateway.cli.importer.insertion import CannotInsert, end_of, next_line, past_comments
from gateway.config.reading.entries import ROOTS
from gateway.config.reading.source import mapping, parse
from gateway.errors import ConfigError


def remove(text: str, name: str, server: str) -> str:
    """The text of file `name` without that server, which it has.

    Raises:
        CannotInsert: the file is written in a way that does not let it go.
        ConfigError: the file is not valid YAML.
    """
    old = parse(text, name)
    if old.json:
        raise CannotInsert("it is JSON, and only YAML is edited")
    bom = "\ufeff" if text.startswith("\ufeff") else ""
    body = text.removeprefix(bom)
    start, end = _lines_of(body, server)
    result = bom + body[:start] + body[end:]
    _verify(result, name, old.data, server)
    return result


def _lines_of(text: str, server: str) -> tuple[int, int]:
    tree = yaml.compose(text, Loader=yaml.SafeLoader)
    roots: list[tuple[yaml.Node, yaml.Node]] = tree.value if isinstance(tree, yaml.MappingNode) else []
    for root, servers in roots:
        if root.value not in ROOTS or not isinstance(servers, yaml.MappingNode):
            continue
        for key, value in servers.value:
            if key.value == server:
                if servers.flow_style:
                    raise CannotInsert(f"its `{root.value}` is written in braces")
                return _with_space(text, key, value, int(servers.start_mark.column))
    raise CannotInsert("the server does not stand there by its name")


def _with_space(text: str, key: yaml.Node, value: yaml.Node, indent: int) -> tuple[int, int]:
    """From the line of its name to the end of its last, with its comments and one of the blank lines around it."""
    start = text.rfind("\n", 0, int(key.start_mark.index)) + 1
    last = max(int(key.end_mark.index), end_of(value, set()) if value.start_mark.index > key.start_mark.index else 0)
    end = past_comments(text, next_line(text, last), indent)
    before = text[:start].rstrip(" \t\r\n")
    is_apart = text[len(before) : start].count("\n") > 1
    if is_apart and (not text[end:].strip() or text[end:].lstrip(" \t").startswith(("\n", "\r\n"))):
        start = next_line(text, len(before))
    return start, end


def _verify(result: str, name: str, old: Any, server: str) -> None:
    wanted: dict[str, Any] = dict(mapping(old) or {})
    for root in ROOTS:
        if (servers := mapping(wanted.get(root))) is not None and server in servers:
            wanted[root] = {key: value for key, value in servers.items() if key != server} or None
    try:
        found = parse(result, name).data
    except ConfigError as error:
        raise CannotInsert(f"the outcome would not be valid ({error.message})") from None
    if found != wanted:
        raise CannotInsert("the outcome would not mean what it should")
