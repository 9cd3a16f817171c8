"""Collects the input schemas of public servers' tools into `schemas.jsonl`: `python -m tests.dialects.collect`.

The servers are those of `tests/search/servers.yaml`. What models read and no API refuses (descriptions, titles,
examples) is left out.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final, cast

import yaml

from tests.search import collect as search

SCHEMAS: Final = Path(__file__).parent / "schemas.jsonl"
_WORDS: Final = ("description", "title", "examples", "example", "$comment")
_NAMED: Final = ("properties", "patternProperties", "$defs", "definitions")
_VALUES: Final = ("enum", "const", "default", "required")


def bare(schema: Any) -> Any:
    """A schema without words."""
    if isinstance(schema, list):
        return [bare(each) for each in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    made: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key in _NAMED and isinstance(value, dict):
            made[key] = {name: bare(each) for name, each in cast("dict[str, Any]", value).items()}
        elif key not in _WORDS:
            made[key] = value if key in _VALUES else bare(value)
    return made


def line(server: str, tool: dict[str, Any]) -> str:
    found = {"server": server, "tool": tool["name"], "inputSchema": bare(tool["inputSchema"])}
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")) + "\n"


def main() -> None:
    servers: dict[str, dict[str, Any]] = yaml.safe_load((search.HERE / "servers.yaml").read_text())["servers"]
    lines: list[str] = []
    for name, server in servers.items():
        tools = search.listed(name, server)
        print(f"{name}: {len(tools)} tools", file=sys.stderr)
        lines += [line(name, tool) for tool in tools]
    SCHEMAS.write_text("".join(lines))


if __name__ == "__main__":
    main()
