"""Writes one server's entry as YAML, the way a person would: short lists on one line, quotes where they are needed."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import yaml

from gateway.config.reading.source import mapping, sequence

LINE: Final = 100
"""Columns beyond which a list is written one item a line."""
_PLAIN: Final = re.compile(r"(?:[A-Za-z0-9_./$\\]|~(?=/)|-(?=[A-Za-z0-9-]))[A-Za-z0-9_./$\\~@%+=:{}()?&#,;*!-]*")
_WORDS: Final = re.compile(rf"{_PLAIN.pattern}(?: [A-Za-z0-9_./$~@%+=:{{}}()?&,;*!-]+)*")
_FLOW_MARKS: Final = frozenset(",[]{}:?")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""What YAML allows in quotes as it is (YAML 1.1, section 5.1), less the line separators."""


def entry(name: str, values: Mapping[str, Any], indent: int, step: int) -> list[str]:
    """The lines of `name: …`, without line breaks."""
    return [" " * indent + scalar(name) + ":", *lines_of(values, indent + step, step)]


def lines_of(values: Mapping[str, Any], indent: int, step: int) -> list[str]:
    """The lines of a mapping, without line breaks."""
    lines: list[str] = []
    for key, value in values.items():
        head = " " * indent + scalar(key) + ":"
        if (items := mapping(value)) is not None:
            lines += [head, *lines_of(items, indent + step, step)] if items else [head + " {}"]
        elif (elements := sequence(value)) and mapping(elements[0]) is not None:
            lines.append(head)
            for item in elements:
                inner = lines_of(mapping(item) or {}, indent + step + 2, step)
                lines += [" " * (indent + step) + "- " + inner[0].lstrip(), *inner[1:]]
        elif (elements := sequence(value)) is not None:
            flow = f"{head} [{', '.join(scalar(item, flow=True) for item in elements)}]"
            block = [head, *(" " * (indent + step) + "- " + scalar(item) for item in elements)]
            lines += [flow] if len(flow) <= LINE else block
        else:
            lines.append(f"{head} {scalar(value)}")
    return lines


def scalar(value: Any, *, flow: bool = False) -> str:
    """One value on one line. Text that YAML could take for something else is quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    plain = _WORDS.fullmatch(text) and ": " not in text and not text.endswith(":") and _is_text(text)
    return text if plain and not (flow and _FLOW_MARKS & set(text)) else _quoted(text)


def _is_text(text: str) -> bool:
    """Whether every YAML reader takes it for text: not 12, 1e3, on, null, 12:30 or 2026-01-01."""
    resolver: Any = yaml.resolver.Resolver()
    return bool(resolver.resolve(yaml.ScalarNode, text, (True, False)) == "tag:yaml.org,2002:str")


def _quoted(text: str) -> str:
    """In double quotes. JSON's escapes are YAML's, too, but JSON needs fewer."""
    return "".join(
        character if _PRINTABLE.match(character) and character not in "\u2028\u2029" else _escaped(character)
        for character in json.dumps(text, ensure_ascii=False)
    )


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
