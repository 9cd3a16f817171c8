"""Reports what becomes of OpenAPI documents: how many operations, how many valid tools, and why the others are none.

    uv run scripts/apis.py github.json stripe.json kubernetes.json …

Each tool's schemas are checked against JSON Schema's own, and the tool with the SDK's types. Exits with 1 when an
operation is neither a valid tool nor left out with a reason. The table in docs/apis.md was made by it.
"""

import re
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import jsonschema
import mcp_types
import msgspec

from gateway.openapi.model import Compiled, CompileOptions, Elsewhere, LeftOut, Operation
from gateway.upstream.api import parts
from gateway.upstream.api.compiler import CompileFailed, compile_apart
from gateway.upstream.api.definition import ApiDefinition

Validator: Any = jsonschema.Draft202012Validator


@dataclass(frozen=True)
class Report:
    """What became of one document."""

    name: str
    spec: str
    size: int
    seconds: float
    operations: int
    tools: int
    bytes: int
    outputs: int
    left_out: tuple[LeftOut, ...]
    faults: tuple[str, ...]
    """Tools that are none by the specification, and operations that nobody named."""


async def compiled(path: Path, data: bytes) -> list[Compiled]:
    """With the documents of its folder that it refers to."""
    options = CompileOptions("api", name=path.name)
    found = await compile_apart(data, options)
    if not isinstance(found[0], Elsewhere):
        return found
    get = parts.from_folder(path.parent)
    others = await parts.collect(found[0].names, path.name, get, 32 * 2**20, parts.MAX_FILES)
    options = msgspec.structs.replace(options, unavailable=others.unavailable)
    return await compile_apart(data, options, others=others.documents)


async def report(path: Path, data: bytes) -> Report:
    """
    Raises:
        CompileFailed: it is no document that can be used.
    """
    began, name = time.perf_counter(), path.name
    api = ApiDefinition.of(await compiled(path, data))
    seconds = time.perf_counter() - began
    faults = [fault for operation in api.operations.values() for fault in faults_of(operation)]
    named = {*api.operations, *(each.name for each in api.left_out)}
    if len(named) != api.info.operations:
        faults.append(f"{api.info.operations - len(named)} operations are neither tools nor left out")
    sizes = [len(mcp_types.Tool.model_validate(tool).model_dump_json(by_alias=True)) for tool in api.tools]
    outputs = sum("outputSchema" in tool for tool in api.tools)
    about = name, api.info.spec, len(data), seconds, api.info.operations, len(api.tools), sum(sizes), outputs
    return Report(*about, api.left_out, tuple(faults))


def faults_of(operation: Operation) -> list[str]:
    """What is wrong with a tool."""
    faults: list[str] = []
    for key in ("inputSchema", "outputSchema"):
        if key in operation.tool:
            try:
                Validator.check_schema(operation.tool[key])
                Validator(operation.tool[key]).is_valid({})  # finds references that lead nowhere
            except Exception as error:
                faults.append(f"{operation.name}: {key}: {type(error).__name__}: {str(error)[:200]}")
            if operation.tool[key].get("type") != "object":
                faults.append(f"{operation.name}: {key} is of no object")
    try:
        mcp_types.Tool.model_validate(operation.tool)
    except ValueError as error:
        faults.append(f"{operation.name}: {error}")
    return faults


def main(paths: list[str]) -> int:
    print("| document | version | size | operations | valid tools | left out | output schemas | tools | time |")
    print("|---|---|---|---|---|---|---|---|---|")
    details: list[str] = []
    is_bad = False
    for path in map(Path, paths):
        try:
            found = anyio.run(report, path, path.read_bytes())
        except CompileFailed as error:
            details.append(f"{path.name}: {error}")
            is_bad = True
            continue
        valid = found.tools - len(found.faults)
        print(
            f"| {found.name} | {found.spec} | {found.size / 1e6:.2f} MB | {found.operations} | {valid} "
            f"| {len(found.left_out)} | {found.outputs} | {found.bytes / 1e6:.2f} MB | {found.seconds:.1f} s |"
        )
        reasons = Counter(re.sub(r" \(.*?\)", "", each.reason) for each in found.left_out)
        details += [f"{found.name}: {count} × {reason}" for reason, count in reasons.items()]
        details += [f"{found.name}: FAULT: {fault}" for fault in found.faults]
        is_bad = is_bad or bool(found.faults)
    print("\n" + "\n".join(details) if details else "")
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
