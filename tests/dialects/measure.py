"""How many tools each API refuses, before and after: what docs/profiles.md says of it.

    python -m tests.dialects.measure [OPENAPI-DOCUMENT]...

Without documents: the tools of public servers in `schemas.jsonl`.
"""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import anyio

from gateway.dialects.adapting import adapt
from gateway.dialects.dialect import DIALECTS
from gateway.openapi.model import CompileOptions
from gateway.upstream.api.compiler import compile_apart
from gateway.upstream.api.definition import ApiDefinition
from tests.dialects.apis import APIS
from tests.dialects.collect import SCHEMAS

Schema = dict[str, Any]


def collected() -> list[Schema]:
    return [json.loads(line)["inputSchema"] for line in SCHEMAS.read_text("utf-8").splitlines()]


async def compiled(paths: Iterable[Path]) -> list[Schema]:
    found: list[Schema] = []
    for path in paths:
        api = ApiDefinition.of(await compile_apart(path.read_bytes(), CompileOptions("api")))
        print(f"{path.name}: {len(api.tools)} tools", file=sys.stderr)
        found += [tool["inputSchema"] for tool in api.tools]
    return found


HEADER: Final = ("dialect", "tools", "refused before", "after", "left out", "arguments changed", "ms each", "at most")


def main(paths: list[str]) -> None:
    schemas = anyio.run(compiled, map(Path, paths)) if paths else collected()
    print("| " + " | ".join(HEADER) + " |")
    for name, refuses in APIS.items():
        before = sum(any(True for _ in refuses(schema)) for schema in schemas)
        times: list[float] = []
        made: list[Any] = []
        for schema in schemas:
            began = time.process_time()
            made.append(adapt(schema, DIALECTS[name]))
            times.append((time.process_time() - began) * 1000)
        shown = [each.schema for each in made if each.schema is not None]
        after = sum(any(True for _ in refuses(schema)) for schema in shown)
        back = sum(each.restore is not None for each in made)
        numbers = (len(schemas), before, after, len(schemas) - len(shown), back)
        spent = (f"{sum(times) / len(times):.2f}", f"{max(times):.0f}")
        print("| " + " | ".join(map(str, (name, *numbers, *spent))) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
