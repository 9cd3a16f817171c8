"""What `doctor` says of an API."""

import pytest

from gateway.cli.doctor import apis
from gateway.cli.doctor.contact import ServerContact
from gateway.cli.doctor.probe import ServerProbe
from gateway.config.models import ServerConfig
from gateway.openapi.model import CompileOptions
from gateway.openapi.operations import compile_document
from gateway.upstream.api.definition import ApiDefinition
from tests.openapi.documents import Node, document
from tests.upstream.ends import Got, byte_server, response

pytestmark = pytest.mark.anyio

SCHEMES: Node = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "query", "name": "key"},
}
DOCUMENT = document(
    {
        "/open": {"get": {"security": []}},
        "/shut": {"get": {"security": [{"bearer": []}, {"key": []}]}},
        "/far": {"get": {"operationId": "far", "requestBody": {"$ref": "other.yaml"}}},
    },
    components={"securitySchemes": SCHEMES},
)


async def said(url: str, **own: object) -> list[tuple[str, str]]:
    api = ApiDefinition.of(compile_document(DOCUMENT, CompileOptions("api")))
    server = ServerConfig.model_validate({"openapi": "x.yaml", "url": url, **own})
    tried = ServerProbe(ServerContact(True, "", 0.0), "ready", api=api, api_url=url)
    return [(each.kind, each.text) for each in await apis.findings({"api": server}, {"api": tried})]


async def test_what_is_left_out_and_what_proof_is_lacking() -> None:
    async def answer(got: Got) -> None:
        await got.send(response(b"{}"))

    left_out = ("note", "operation 'far' refers to other.yaml, which is another document, and is not read: bundle it")
    lacking = ("note", "1 of its 2 operations want a proof that the file does not have")
    async with byte_server(answer) as server:
        assert await said(server.url) == [left_out, lacking]
        assert await said(server.url, headers={"Authorization": "x"}) == [left_out]
        own = {"document": "x.yaml", "credentials": {"key": "k"}}
        assert await said(server.url, openapi=own) == [left_out]
        own["credentials"] = {"kee": "k"}
        wrong = ("note", "its document has no security scheme 'kee'")
        assert await said(server.url, openapi=own) == [left_out, wrong, lacking]


async def test_an_api_that_is_not_there() -> None:
    kind, text = (await said("http://127.0.0.1:9"))[0]
    assert kind == "problem"
    assert text.startswith("its document is there, but the API is not: nothing listens on 127.0.0.1 port 9")
