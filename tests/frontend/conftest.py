"""One HTTP gateway for all tests of its endpoints: small caps, quick keep-alives, two upstreams over stdio."""

from collections.abc import Generator
from typing import Final

import pytest

from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel
from tests.interaction._wire import Wire

MAX_BODY: Final = 64 * 1024
KEEPALIVE: Final = 0.4


@pytest.fixture(scope="package")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """Base URL of a gateway in front of `raw` and `all` (everything)."""
    servers = {"raw": child("tests.servers.raw"), "all": child("tests.servers.everything")}
    settings = {"max_request_bytes": MAX_BODY, "keepalive": KEEPALIVE, **PATIENT}
    with http_gateway(tmp_path_factory.mktemp("front"), servers, **settings) as gateway:
        assert Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True).ask("tools/list").result["tools"]
        yield gateway.base


@pytest.fixture
def url(base: str) -> str:
    """Where the merged catalogue is."""
    return f"{base}/mcp"
