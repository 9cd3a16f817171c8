"""JSON with comments and trailing commas, as editors write it, composed into the same nodes that YAML gives.

Not a subset handled by the YAML parser: that one forbids tabs, splits surrogate pairs and knows no `//`. Sharing its
node types means that duplicate keys, depth and line numbers are looked after in one place (`source`).
"""

import json
import re
from typing import Final

from yaml import MappingNode, Mark, Node, ScalarNode, SequenceNode

_TOKEN: Final = re.compile(
    r"""(?P<skip> [ \t\r\n]+ | //[^\r\n]* | /\*(?:[^*]|\*(?!/))*\*/ )
      | (?P<text> "(?:[^"\\\x00-\x1f]|\\.)*" )
      | (?P<mark> [{}\[\]:,] )
      | (?P<number> -?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![\w.+-]) )
      | (?P<word> (?:true|false|null)(?![\w.+-]) )""",
    re.VERBOSE,
)
_TAG: Final = "tag:yaml.org,2002:"
_WORD_TAGS: Final = {"true": "bool", "false": "bool", "null": "null"}
MAX_DEPTH: Final = 64
"""No configuration nests deeper; recursion below is bounded by it."""


class JsonError(ValueError):
    """Not JSON. `line` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def compose(text: str) -> Node:
    """The one value in `text`. Scalars keep the text they were written in; their tags tell them apart.

    Raises:
        JsonError: not JSON with comments, or nested more than `MAX_DEPTH` deep.
    """
    reader = _Reader(text)
    node = reader.value(0)
    if reader.kind != "end":
        raise reader.unexpected("the end of the file")
    return node


class _Reader:
    """One token of lookahead over the text: `kind` and `lexeme` are the next one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._counted_to = 0
        self._line = 0
        self.kind = ""
        self.lexeme = ""
        self._advance()

    def _advance(self) -> None:
        while True:
            self._line += self._text.count("\n", self._counted_to, self._position)
            self._counted_to = self._position
            if self._position == len(self._text):
                self.kind, self.lexeme = "end", ""
                return
            match = _TOKEN.match(self._text, self._position)
            if match is None:
                self.kind, self.lexeme = "garbage", self._text[self._position : self._position + 1]
                return
            self._position = match.end()
            if match.lastgroup != "skip":
                self.kind, self.lexeme = str(match.lastgroup), match.group()
                return

    def unexpected(self, wanted: str) -> JsonError:
        if self.lexeme == '"' or (self.kind == "garbage" and self._text.startswith("/*", self._position)):
            return JsonError(self._line + 1, "text or a comment that begins here is never closed")
        found = {"end": "the end of the file", "text": "text"}.get(self.kind) or repr(self.lexeme)
        return JsonError(self._line + 1, f"expected {wanted}, found {found}")

    def _mark(self) -> Mark:
        return Mark("", 0, self._line, 0, None, 0)

    def _scalar(self) -> ScalarNode:
        mark, lexeme = self._mark(), self.lexeme
        if self.kind == "text":
            try:
                value, tag = str(json.loads(lexeme)), "str"
            except ValueError:
                raise JsonError(self._line + 1, "text has a backslash escape that JSON does not know") from None
        elif self.kind == "number":
            value, tag = lexeme, "str"
        else:
            value, tag = lexeme, _WORD_TAGS[lexeme]
        self._advance()
        return ScalarNode(_TAG + tag, value, mark, mark)

    def value(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise JsonError(self._line + 1, f"nested more than {MAX_DEPTH} deep")
        if self.lexeme == "{":
            return self._mapping(depth)
        if self.lexeme == "[":
            return self._sequence(depth)
        if self.kind in ("text", "number", "word"):
            return self._scalar()
        raise self.unexpected("a value")

    def _mapping(self, depth: int) -> MappingNode:
        mark = self._mark()
        pairs: list[tuple[Node, Node]] = []
        self._advance()
        while self.lexeme != "}":
            if self.kind != "text":
                raise self.unexpected('a key in double quotes or "}"')
            key = self._scalar()
            if self.lexeme != ":":
                raise self.unexpected('":"')
            self._advance()
            pairs.append((key, self.value(depth + 1)))
            self._separator("}")
        self._advance()
        return MappingNode(_TAG + "map", pairs, mark, mark)

    def _sequence(self, depth: int) -> SequenceNode:
        mark = self._mark()
        items: list[Node] = []
        self._advance()
        while self.lexeme != "]":
            items.append(self.value(depth + 1))
            self._separator("]")
        self._advance()
        return SequenceNode(_TAG + "seq", items, mark, mark)

    def _separator(self, close: str) -> None:
        if self.lexeme == ",":
            self._advance()
        elif self.lexeme != close:
            raise self.unexpected(f'"," or "{close}"')
