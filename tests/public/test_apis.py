"""A public HTTP server from the registries behind a gateway: Prism, which holds requests to a document."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._gateway import PATIENT, http_gateway
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._wire import Wire
from tests.public.packages import NODE_MAJOR, OutOfReach, kept, node_major, npm_install
from tests.support import free_port, listens, run_process

PACKAGES: Final = {"@stoplight/prism-cli": "5.14.2"}

PET: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "tag": {"type": "string"}},
    "example": {"id": 7, "name": "Ada", "tag": "cat"},
}
ANSWER: Final = {"200": {"description": "A pet.", "content": {"application/json": {"schema": PET}}}}
DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.0.3",
    "info": {"title": "Pets", "version": "1.0.0"},
    "servers": [{"url": "https://pets.example"}],
    "security": [{"key": []}],
    "paths": {
        "/pets": {
            "get": {
                "operationId": "findPets",
                "parameters": [
                    {"name": "tags", "in": "query", "required": True, "explode": False,
                     "schema": {"type": "array", "minItems": 2, "items": {"type": "string", "enum": ["cat", "dog"]}}},
                    {"name": "age", "in": "query", "style": "deepObject", "required": True,
                     "schema": {"type": "object", "required": ["min"], "properties": {"min": {"type": "string"}}}},
                    {"name": "X-Limit", "in": "header", "required": True, "schema": {"type": "integer"}},
                ],
                "responses": ANSWER,
            },
            "post": {
                "operationId": "addPet",
                "requestBody": {"required": True, "content": {"application/json": {"schema": PET}}},
                "responses": ANSWER,
            },
        },
        "/pets/{petId}": {
            "parameters": [{"name": "petId", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"operationId": "getPetById", "responses": ANSWER},
        },
    },
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Pet-Key"}}},
}  # fmt: skip


@pytest.fixture(scope="module")
def prism(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, Path]]:
    """Where Prism listens, and the document that it goes by."""
    try:
        if node_major() < NODE_MAJOR:
            raise OutOfReach("Node.js is too old")
        folder = kept("prism", PACKAGES, lambda folder: npm_install(folder, PACKAGES))
    except OutOfReach as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("prism") / "pets.json"
    path.write_text(json.dumps(DOCUMENT))
    port = free_port()
    args = ["node", str(folder / "node_modules" / ".bin" / "prism"), "mock", "-p", str(port), str(path)]
    with run_process(args, ready=lambda: listens(port), within=120):
        yield f"http://127.0.0.1:{port}", path


@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
def test_what_prism_takes_for_right(prism: tuple[str, Path], tmp_path: Path, modern: bool) -> None:
    url, path = prism
    pets = {"openapi": {"document": str(path), "credentials": {"key": "k" * 8}}, "url": url}
    strangers = {"openapi": str(path), "url": url, "tools": ["get_*"]}
    with http_gateway(tmp_path, {"pets": pets, "strangers": strangers}, **PATIENT) as gateway:
        endpoint = f"{gateway.base}/mcp"
        wire = Wire(HttpChannel(endpoint, {} if modern else open_session(endpoint)), modern)
        ada = PET["example"]
        assert wire.call("pets__getPetById", petId=7).result["structuredContent"] == ada
        assert wire.call("pets__addPet", body=ada).result["structuredContent"] == ada
        arguments: dict[str, Any] = {"tags": ["cat", "dog"], "age": {"min": "2"}, "X-Limit": 3}
        assert wire.call("pets__findPets", **arguments).result["structuredContent"] == ada
        wrong = wire.call("pets__findPets", **{**arguments, "tags": ["cow", "dog"]}).result
        assert wrong["isError"] is True
        assert "must be equal to one of the allowed values: cat, dog" in wrong["content"][0]["text"]
        refused = wire.call("strangers__getPetById", petId=7).result
        assert refused["content"][0]["text"].startswith("HTTP 401 Unauthorized")
