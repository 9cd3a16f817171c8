"""Documents that refer to others: which of them are read, from where, and what is said of those that are not."""

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.config.models import ServerConfig
from gateway.openapi.bundling import BUNDLE, bundled, elsewhere, named
from gateway.upstream.api import parts
from gateway.upstream.api.source import ApiSource, DocumentUnusable
from tests.openapi.documents import Node, document
from tests.support import wait_until
from tests.upstream.ends import ByteServer, Got, byte_server, response

pytestmark = pytest.mark.anyio

Files = Mapping[str, Any]
"""Name → content; what is no text is written as JSON."""

PET: Node = {"type": "object", "properties": {"name": {"type": "string"}, "tag": {"$ref": "tag.yaml"}}}
SHARED: Node = {"parameters": {"id": {"name": "id", "in": "path", "required": True, "schema": {"$ref": "#/ids"}}}}
FILES: Files = {
    "api.yaml": document(
        {
            "/pets/{id}": {"$ref": "paths/pet.yaml"},
            "/tags": {
                "get": {"operationId": "tags", "responses": {"200": {"$ref": "paths/pet.yaml#/get/responses/200"}}},
            },
        },
        components={"schemas": {"Size": {"type": "integer", "maximum": 9}}},
    ),
    "paths/pet.yaml": {
        "parameters": [{"$ref": "../shared.json#/parameters/id"}],
        "get": {
            "operationId": "pet",
            "parameters": [{"name": "size", "in": "query", "schema": {"$ref": "../api.yaml#/components/schemas/Size"}}],
            "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "../models/pet.json"}}}}},
        },
    },
    "shared.json": {**SHARED, "ids": {"type": "string", "pattern": "^p"}},
    "models/pet.json": PET,
    "models/tag.yaml": "type: object\nproperties: {parent: {$ref: tag.yaml}, words: {$ref: 'a%20b.yaml#/words'}}\n",
    "models/a b.yaml": "words: {type: array, items: {type: string}}\n",
}  # fmt: skip


def write(folder: Path, files: Files) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / "api.yaml"


def source(place: Path | str, **more: Any) -> ApiSource:
    url = more.pop("url", "http://127.0.0.1:9")
    own = {"openapi": {"document": str(place), **more}, "url": url}
    return ApiSource("api", ServerConfig.model_validate(own))


def left_out(api: Any) -> dict[str, str]:
    return {each.name: each.reason for each in api.left_out}


async def test_files_beside_the_document_are_part_of_it(tmp_path: Path) -> None:
    api = await source(write(tmp_path, FILES)).prepare()
    assert not api.left_out
    schema = api.operations["pet"].tool["inputSchema"]
    assert schema["properties"] == {
        "id": {"type": "string", "pattern": "^p"},
        "size": {"type": "integer", "maximum": 9},
    }
    for name in ("pet", "tags"):
        output = api.operations[name].tool["outputSchema"]
        tag = json.dumps(output)
        assert "#/$defs/tag.yaml" in tag or "#/$defs/models_tag.yaml" in tag, "it contains itself"
        assert '"words"' in tag


SECRET = {"type": "object", "properties": {"canary": {"type": "string"}}}


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("../secret.json", "refers to ../secret.json, which is outside the folder of the first document"),
        ("sub/../../secret.json#/a", "refers to ../secret.json#/a, which is outside the folder"),
        ("link.json", "refers to link.json, which is outside the folder"),
        (".hidden.json", "refers to .hidden.json, which is hidden"),
        ("/etc/hostname", "refers to /etc/hostname, which is not in the folder"),
        ("file:///etc/hostname", "refers to file:///etc/hostname, which is not in the folder"),
        ("http://127.0.0.1:9/x.json", "refers to http://127.0.0.1:9/x.json, which is not in the folder"),
        ("//127.0.0.1/x.json", "refers to //127.0.0.1/x.json, which is not in the folder"),
        ("gone.json", "refers to gone.json, which cannot be read (No such file or directory)"),
        ("folder", "refers to folder, which cannot be read"),
        ("pipe", "refers to pipe, which cannot be read"),
        ("text.md", "refers to text.md, which is neither JSON nor YAML"),
        ("other.json#/nowhere", "which is not there"),
        ("a\\b.json", "which is not in the folder"),
    ],
)
async def test_what_is_not_read_costs_only_whose_it_is_and_is_named(tmp_path: Path, ref: str, reason: str) -> None:
    inside = tmp_path / "inside"
    body = {"content": {"application/json": {"schema": {"$ref": ref}}}}
    found = document({"/a": {"post": {"operationId": "bad", "requestBody": body}, "get": {"operationId": "good"}}})
    path = write(inside, {"api.yaml": found, ".hidden.json": SECRET, "text.md": "a: [", "other.json": {}})
    (tmp_path / "secret.json").write_text(json.dumps(SECRET))
    (inside / "link.json").symlink_to(tmp_path / "secret.json")
    (inside / "folder").mkdir()
    os.mkfifo(inside / "pipe")
    api = await source(path).prepare()
    assert list(api.operations) == ["good"]
    assert reason in left_out(api)["bad"]
    assert "canary" not in json.dumps(api.tools) + left_out(api)["bad"]


async def test_how_many_and_how_much_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: Node = {f"/{n}": {"$ref": f"p{n}.json"} for n in range(6)}
    files = {f"p{n}.json": {"get": {"operationId": f"o{n}", "description": "x" * 2000}} for n in range(6)}
    path = write(tmp_path, {"api.yaml": document(paths), **files})
    few = await source(path, max_bytes=9000).prepare()
    assert 0 < len(few.operations) < 6
    assert all("`openapi.max_bytes`" in reason for reason in left_out(few).values())
    monkeypatch.setattr(parts, "MAX_FILES", 2)
    two = await source(path).prepare()
    assert len(two.operations) == 2
    assert all(
        "is one too many: 2 documents are read at most; bundle them" in reason for reason in left_out(two).values()
    )
    chain = {f"c{n}.json": {"$ref": f"c{n + 1}.json"} for n in range(5)}
    monkeypatch.setattr(parts, "MAX_ROUNDS", 3)
    monkeypatch.setattr(parts, "MAX_FILES", 100)
    far = await source(write(tmp_path, {"api.yaml": document({"/x": {"$ref": "c0.json"}}), **chain})).prepare()
    assert "c3.json, which is more than 3 documents away" in str(left_out(far))


async def test_a_change_of_any_of_the_files_is_a_change(tmp_path: Path) -> None:
    api = source(write(tmp_path, FILES))
    await api.prepare()
    changes: list[int] = []
    api.follow(lambda: changes.append(1))
    async with anyio.create_task_group() as tg:
        tg.start_soon(api.run)
        shared = {**SHARED, "ids": {"type": "integer"}}
        (tmp_path / "shared.json").write_text(json.dumps(shared))

        def is_changed() -> bool:
            os.utime(tmp_path / "shared.json")  # in case it was written before it was watched
            return bool(changes)

        await wait_until(is_changed, 20)
        assert api.definition is not None
        assert api.definition.operations["pet"].tool["inputSchema"]["properties"]["id"] == {"type": "integer"}
        known = api.definition
        (tmp_path / "shared.json").unlink()
        with pytest.raises(DocumentUnusable, match=r"refers to shared.json, which cannot be read"):
            await api._read(is_conditional=True)  # pyright: ignore[reportPrivateUsage]
        assert api.definition is known, "what was known stands"
        tg.cancel_scope.cancel()


# --- From the network -------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(files: Files) -> AsyncGenerator[ByteServer]:
    async def answer(got: Got) -> None:
        name = got.target.partition("?")[0].removeprefix("/v1/").replace("%20", " ")
        content = files.get(name)
        if isinstance(content, bytes):
            await got.send(content)
        elif content is None:
            await got.send(response(b"", "404 Not Found"))
        else:
            text = content if isinstance(content, str) else json.dumps(content)
            await got.send(response(text.encode()))

    async with byte_server(answer) as server:
        yield server


def base_of(server: ByteServer) -> str:
    return server.url.removesuffix("/mcp")


async def test_what_has_the_same_origin_is_fetched_with_the_files_headers() -> None:
    async with serving(FILES) as server:
        base = base_of(server)
        own = {"openapi": f"{base}/v1/api.yaml", "url": f"{base}/api", "headers": {"Authorization": "canary"}}
        api = await ApiSource("api", ServerConfig.model_validate(own)).prepare()
        assert not api.left_out
        assert api.operations["pet"].tool["inputSchema"]["properties"]["size"] == {"type": "integer", "maximum": 9}
        assert {got.target for got in server.got} == {f"/v1/{name.replace(' ', '%20')}" for name in FILES}
        assert len(server.got) == len(FILES), "each once"
        assert {got.headers["authorization"] for got in server.got} == {"canary"}
        server.got.clear()
        elsewhere = await source(f"{base}/v1/api.yaml").prepare()
        assert elsewhere.tools == api.tools
        assert not any("authorization" in got.headers for got in server.got), "the API is elsewhere"


async def test_nothing_else_is_fetched() -> None:
    async with serving({"x.json": SECRET}) as other:
        far = base_of(other)
        refs = [
            f"{far}/v1/x.json",
            "file:///etc/hostname",
            "ftp://h/x",
            "http://169.254.169.254/x",
            "moved.json",
            "gone.json",
        ]
        paths = {
            f"/{n}": {"get": {"operationId": f"o{n}", "parameters": [{"$ref": ref}]}} for n, ref in enumerate(refs)
        }
        moved = response(b"", "302 Found", {"Location": f"{far}/v1/x.json"})
        async with serving({"api.yaml": document(paths), "moved.json": moved}) as server:
            api = await source(f"{base_of(server)}/v1/api.yaml").prepare()
        assert not api.operations
        reasons = left_out(api)
        for n in range(4):
            assert "is not where the document that refers to it is, and is not fetched: bundle it" in reasons[f"o{n}"]
        assert "moved.json, which leads to another origin" in reasons["o4"]
        assert "gone.json, which answered with HTTP status 404" in reasons["o5"]
        assert not other.got


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "within", "expected"),
    [
        ("#/a", "api.yaml", ("api.yaml", "/a")),
        ("b.yaml#/a/b", "api.yaml", ("b.yaml", "/a/b")),
        ("./b.yaml", "x/api.yaml", ("x/b.yaml", "")),
        ("../../b.yaml", "x/api.yaml", ("../b.yaml", "")),
        ("b%20c.yaml", "api.yaml", ("b c.yaml", "")),
        ("https://h/x#/a", "api.yaml", ("https://h/x", "/a")),
        ("../b.yaml", "https://h/x/y/api.yaml", ("https://h/x/b.yaml", "")),
        ("/b.yaml", "https://h/x/y/api.yaml", ("https://h/b.yaml", "")),
    ],
)
def test_names(ref: str, within: str, expected: tuple[str, str]) -> None:
    assert named(ref, within) == expected


def test_what_stands_in_examples_is_no_reference_and_what_stands_twice_is_changed_once() -> None:
    schema: Node = {"$ref": "b.yaml#/x"}
    found: Node = {"example": {"$ref": "e.yaml"}, "properties": {"$ref": {"type": "string"}, "a": schema, "b": schema}}
    assert elsewhere(found, "a.yaml") == {"b.yaml"}
    twice: Node = {"$ref": "#/y"}
    other: Node = {"x": twice, "z": twice, "y": {"$ref": "a.yaml#/properties/a~1b%25"}}
    whole = bundled({"a.yaml": found, "b.yaml": other}, "a.yaml")
    assert whole["properties"]["a"] == whole["properties"]["b"] == {"$ref": f"#/{BUNDLE}/b.yaml/x"}
    here = {"$ref": f"#/{BUNDLE}/b.yaml/y"}
    assert whole[BUNDLE]["b.yaml"] == {"x": here, "z": here, "y": {"$ref": "#/properties/a~1b%25"}}
