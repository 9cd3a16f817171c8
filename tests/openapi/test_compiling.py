"""Documents as bytes: JSON and YAML, the process of its own, and what a hostile one can bring about."""

import json
import resource
import subprocess
import sys
from typing import Any

import anyio
import msgspec
import pytest

from gateway.openapi import __main__ as program
from gateway.openapi import compiling
from gateway.openapi.compiling import compile_bytes, parse
from gateway.openapi.faults import DocumentFault
from gateway.openapi.model import ApiInfo, CompileOptions, LeftOut, Operation
from gateway.upstream.api.compiler import CompileFailed, compile_apart
from tests.openapi.documents import document, one

pytestmark = pytest.mark.anyio

YAML = """\
openapi: 3.0.0
info: {title: Yes, version: 2026-11-30}
paths:
  /on:
    get:
      operationId: get_on
      parameters:
      - {name: no, in: query, schema: {type: string, enum: [yes, no, on]}}
      responses:
        200:
          content:
            application/json: {schema: {type: object, properties: {on: {type: string, default: 2026-01-01}}}}
        404: {}
"""


def test_yaml_has_text_where_json_has() -> None:
    found = parse(YAML.encode())
    assert found["info"] == {"title": "Yes", "version": "2026-11-30"}
    info, operation = compile_bytes(YAML.encode(), CompileOptions("x"))
    assert isinstance(info, ApiInfo)
    assert isinstance(operation, Operation)
    schema = operation.tool["inputSchema"]
    assert schema["properties"]["no"]["enum"] == ["yes", "no", "on"]
    assert operation.tool["outputSchema"]["properties"]["on"]["default"] == "2026-01-01"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is a page of HTML or XML, or empty"),
        (b"<!DOCTYPE html>", "is a page of HTML or XML, or empty"),
        (b'{ "openapi": ', "is not JSON"),
        (b"a: [", "is neither JSON nor YAML"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"a: !!python/object/apply:os.system [id]", "is neither JSON nor YAML"),
        (b"just text", "is not a JSON or YAML object"),
    ],
)
def test_what_is_no_document(data: bytes, reason: str) -> None:
    with pytest.raises(DocumentFault, match=reason):
        compile_bytes(data, CompileOptions("x"))


def test_too_many_large_tools_are_written_shorter_and_then_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "MAX_TOOLS", 300_000)
    wide = {f"p{n}": {"type": "string", "description": "x" * 100} for n in range(100)}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": wide}}}}
    many = document({f"/{n}": {"post": {"requestBody": body}} for n in range(30)})
    found = compile_bytes(json.dumps(many).encode(), CompileOptions("x"))
    assert not [each for each in found if isinstance(each, LeftOut)]
    words = document({f"/{n}": {"get": {"description": "w " * 1900}} for n in range(120)})
    found = compile_bytes(json.dumps(words).encode(), CompileOptions("x"))
    left_out = [each for each in found if isinstance(each, LeftOut)]
    assert left_out
    assert "choose by `openapi.operations`" in left_out[0].reason
    assert sum(len(msgspec.json.encode(each.tool)) for each in found if isinstance(each, Operation)) <= 300_000


async def test_a_process_of_its_own() -> None:
    found = await compile_apart(json.dumps(one({"operationId": "x"})).encode(), CompileOptions("up"))
    assert [type(each) for each in found] == [ApiInfo, Operation]
    with pytest.raises(CompileFailed, match="neither `openapi` nor `swagger`"):
        await compile_apart(b"{}", CompileOptions("up"))


def _bomb() -> bytes:
    """A gigabyte of YAML, if aliases were copied; and a schema that is large in every way."""
    lines = ["a0: &a0 {type: string}"]
    for n in range(1, 30):
        lines.append(f"a{n}: &a{n} {{type: object, allOf: [{', '.join([f'*a{n - 1}'] * 10)}]}}")
    paths = "paths: {/x: {post: {requestBody: {content: {multipart/form-data: {schema: *a29}}}}}}"
    return "\n".join(["openapi: 3.0.0", *lines, paths]).encode()


async def test_a_hostile_document_ends_in_time_and_alone() -> None:
    with anyio.fail_after(30), pytest.raises(CompileFailed, match="takes more than 1 s"):
        await compile_apart(_bomb(), CompileOptions("up"), 1.0)


async def test_what_ends_the_process_is_a_reason() -> None:
    with pytest.raises(CompileFailed, match=r"unforeseen|nested too deep|more memory"):
        await compile_apart(b"[" * 100_000, CompileOptions("up"))  # libyaml runs out of stack


def test_its_memory_and_time_are_bounded() -> None:
    code = (
        "from gateway.openapi.__main__ import _bound; import resource; _bound();"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_CPU)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    limits = [int(each) for each in done.stdout.split()]
    assert 0 < limits[0] <= program.MEMORY
    assert 0 < limits[1] <= program.SECONDS
    assert resource.getrlimit(resource.RLIMIT_AS)[0] not in limits, "this process is as it was"


def test_a_gateway_without_an_api_imports_nothing_of_all_this() -> None:
    code = (
        "import sys, gateway.app, gateway.cli.serve, gateway.upstream.transport.http;"
        "ours = ('gateway.openapi', 'referencing', 'gateway.upstream.api', 'gateway.upstream.transport.api');"
        "print(sorted(n for n in sys.modules if n.startswith(ours)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_of_plain_values_only(tmp_path: Any) -> None:
    with pytest.raises(DocumentFault):
        parse(b"a: !!binary x\nb: !!set {c}\nd: !!python/name:os.system")
