"""From the text of a file to plain data, and the line each value stands on.

Two syntaxes, one result. A scalar stays the text it was written in, except `true`, `false` and `null`: what a number
means is for the field to say, and so a version `1.10`, a PIN `0123` or a time `12:30` in `env` arrive as they were
written. (YAML 1.1 would make 1.1, 83 and 750 of them, and a boolean of `on`.)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import yaml

from gateway import blocking
from gateway.config.reading.jsonc import MAX_DEPTH, JsonError
from gateway.config.reading.jsonc import compose as compose_json
from gateway.errors import ConfigError

Place = tuple[str | int, ...]
"""Keys and indexes from the root to a value, e.g. `("servers", "github", "args", 0)`."""

MAX_BYTES: Final = 4 * 2**20
MAX_VALUES: Final = 100_000
"""Counted with aliases expanded: nine lines of YAML can mean a billion values."""

_LOOKS_LIKE_JSON: Final = re.compile(r"\s*(?:[{\[]|//|/\*)")
_TAG: Final = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class ConfigDocument:
    """One parsed file."""

    name: str
    """The path as it was given; messages name the file so."""
    data: Any
    """Dicts, lists, text, booleans and None."""
    lines: Mapping[Place, int] = field(repr=False)
    """Place → line, from 1. A value in a mapping has the line of its key."""
    json: bool

    @property
    def folder(self) -> Path:
        """What relative paths in the file are relative to."""
        return Path(self.name).absolute().parent

    def line(self, place: Place) -> int:
        """The line of a value, or of the nearest thing around it that was written."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def written(self, place: Place) -> Any:
        """The value at `place` before anything was expanded; None when there is none."""
        value = self.data
        for step in place:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
        return value


def mapping(value: Any) -> dict[str, Any] | None:
    """`value`, typed, if it is a mapping."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def sequence(value: Any) -> list[Any] | None:
    """`value`, typed, if it is a list."""
    return cast("list[Any]", value) if isinstance(value, list) else None


def read_text(path: Path, name: str) -> str:
    """The text of a UTF-8 file of at most `MAX_BYTES`, with or without a byte order mark.

    Raises:
        ConfigError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        data = blocking.read(path, MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{name}: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError(f"{name}: cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name}: is larger than {MAX_BYTES >> 20} MiB; is it the right file?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: is not UTF-8; save the file as UTF-8") from None


def read(path: Path) -> ConfigDocument:
    """Read and parse a file.

    Raises:
        ConfigError: as `read_text` and `parse`.
    """
    return parse(read_text(path, str(path)), str(path))


def parse(text: str, name: str) -> ConfigDocument:
    """Parse YAML, JSON, or JSON with comments; the ending of `name` decides, else how the text begins.

    Raises:
        ConfigError: a syntax error, a duplicate key, or a document out of all proportion; names the line.
    """
    text = text.removeprefix("\ufeff")
    ending = Path(name).suffix.lower()
    is_json = ending in (".json", ".jsonc") or (ending not in (".yaml", ".yml") and bool(_LOOKS_LIKE_JSON.match(text)))
    try:
        node: yaml.Node | None = compose_json(text) if is_json else _Loader(text).get_single_node()
        builder = _Builder(name)
        data = builder.build(node, (), 0) if node is not None else None
    except JsonError as error:
        raise ConfigError(f"{name}:{error.line}: {error}") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_yaml_message(name, error)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{name}:{line}: contains a character that YAML forbids; remove it") from None
    except (ValueError, OverflowError):
        raise ConfigError(f"{name}: contains an escape or number that YAML does not know") from None
    return ConfigDocument(name, data, builder.lines, is_json)


def _yaml_message(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    what = error.problem or error.context or "is not YAML"
    if "'\\t'" in what:
        what += "; indent with spaces"
    elif "'{'" in what or "'}'" in what:
        what += '; inside { } and [ ] a value with ${…} needs quotes: "${…}"'
    elif error.context and error.context_mark and error.context_mark.line + 1 != line:
        what += f" ({error.context}, which began on line {error.context_mark.line + 1})"
    return f"{name}:{line}: {what}"


class _Loader(yaml.SafeLoader):
    """Composes nodes. Of YAML 1.1's implicit types it keeps booleans spelt `true`/`false`, null, and merge keys."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH + 1:  # before the parser's own recursion, which is slow in finding its end
            mark = cast("yaml.Mark", self.peek_event().start_mark)  # pyright: ignore[reportUnknownMemberType]
            raise yaml.MarkedYAMLError(problem=f"nested more than {MAX_DEPTH} deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(_TAG + "bool", re.compile(r"(true|false)\Z"), list("tf"))  # pyright: ignore[reportUnknownMemberType]
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"(null|~|)\Z"), ["n", "~", ""])  # pyright: ignore[reportUnknownMemberType]
_Loader.add_implicit_resolver(_TAG + "merge", re.compile(r"<<\Z"), ["<"])  # pyright: ignore[reportUnknownMemberType]
_TEXT_TAGS: Final = frozenset(_TAG + kind for kind in ("str", "int", "float", "merge"))


class _Builder:
    """Nodes → data, with the line of every place."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self.lines: dict[Place, int] = {}

    def _error(self, node: yaml.Node, what: str) -> ConfigError:
        return ConfigError(f"{self._name}:{_line(node)}: {what}")

    def build(self, node: yaml.Node, place: Place, depth: int) -> Any:
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._error(node, f"has more than {MAX_VALUES} values (aliases count each time)")
        if depth > MAX_DEPTH:
            raise self._error(node, f"nested more than {MAX_DEPTH} deep, or an alias inside what it stands for")
        self.lines.setdefault(place, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            return self._mapping(node, place, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            return [self.build(item, (*place, index), depth + 1) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        raise self._error(node, f"the tag {node.tag!r} means nothing here; remove it")

    def _scalar(self, node: yaml.ScalarNode) -> str | bool | None:
        value = self._encodable(node)
        if node.tag in _TEXT_TAGS:
            return value
        if node.tag == _TAG + "bool" and value in ("true", "false"):
            return value == "true"
        if node.tag == _TAG + "null":
            return None
        raise self._error(node, f"the tag {node.tag!r} means nothing here; remove it")

    def _encodable(self, node: yaml.ScalarNode) -> str:
        value = str(node.value)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self._error(node, "text contains half of a surrogate pair; write the character itself") from None
        return value

    def _mapping(self, node: yaml.MappingNode, place: Place, depth: int) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self._error(key_node, "a key must be text; quote values that begin with { or [")
            if key_node.tag == _TAG + "merge":
                merged += value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                continue
            key = self._encodable(key_node)
            here = (*place, key)
            if key in data:
                raise self._error(key_node, f"the key {key!r} is already on line {self.lines[here]}; keep one")
            self.lines[here] = _line(key_node)
            data[key] = self.build(value_node, here, depth + 1)
        for source in merged:
            data = self._merge(data, source, place, depth)
        return data

    def _merge(self, data: dict[str, Any], source: yaml.Node, place: Place, depth: int) -> dict[str, Any]:
        """YAML's `<<`: what is already there wins."""
        if not isinstance(source, yaml.MappingNode):
            raise self._error(source, "<< merges mappings only")
        outer, self.lines = self.lines, {}
        inherited: dict[str, Any] = self.build(source, place, depth + 1)
        inner, self.lines = self.lines, outer
        added = {key: value for key, value in inherited.items() if key not in data}
        for where, line in inner.items():
            if len(where) > len(place) and where[len(place)] in added:
                self.lines.setdefault(where, line)
        return {**data, **added}


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1
