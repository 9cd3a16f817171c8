"""A real API (FastAPI), and a real gateway in front of it."""

import json
from collections.abc import Generator, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from tests.interaction._gateway import PATIENT, Entry, http_gateway
from tests.interaction._http import HttpChannel, open_session, sent
from tests.interaction._wire import Wire
from tests.support import command, free_port, listens, run_process

CREDENTIALS: Final = {"HTTPBearer": "bearer-canary", "APIKeyHeader": "header-canary", "APIKeyQuery": "query-canary"}


@pytest.fixture(scope="package")
def library() -> Generator[str]:
    """Base URL of the API."""
    port = free_port()
    with run_process(command("tests.servers.library", "--port", str(port)), ready=lambda: listens(port)):
        yield f"http://127.0.0.1:{port}"


def entry(library: str, **more: Any) -> Entry:
    """Its entry in a configuration."""
    openapi = {"document": f"{library}/openapi.json", "credentials": CREDENTIALS, **more.pop("openapi", {})}
    return {"openapi": openapi, "url": library, **more}


@pytest.fixture(scope="package")
def base(library: str, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Base URL of a gateway in front of the API."""
    own = entry(library, headers={"X-Own": "own", "Cookie": "sid=own"}, openapi={"resources": ["*"]})
    with http_gateway(tmp_path_factory.mktemp("gateway"), {"library": own}, **PATIENT) as gateway:
        yield gateway.base


@pytest.fixture(params=["modern", "handshake"])
def wire(request: pytest.FixtureRequest, base: str) -> Wire:
    """An agent at the merged catalogue, in each era."""
    modern = request.param == "modern"
    return Wire(HttpChannel(f"{base}/mcp", {} if modern else open_session(f"{base}/mcp")), modern)


class Seen:
    """What the API was asked."""

    def __init__(self, library: str) -> None:
        self._library = library

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with sent("GET", f"{self._library}/seen") as response:
            return iter([each for each in json.loads(response.read()) if each["path"] != "/openapi.json"])

    @property
    def last(self) -> dict[str, Any]:
        return [*self][-1]


@pytest.fixture
def seen(library: str) -> Seen:
    """What the API is asked from now on."""
    with sent("DELETE", f"{library}/seen") as response:
        assert response.status == 200
    return Seen(library)


def change(library: str, **edition: int) -> None:
    """Have the API have another document, or be down for a while."""
    body = json.dumps(edition).encode()
    with sent("PUT", f"{library}/edition", body, {"Content-Type": "application/json"}) as response:
        assert response.status == 200


def origin(url: str) -> str:
    return urlsplit(url).netloc
