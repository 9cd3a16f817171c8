"""Links in what a server returns lead to that server, also where a template of an earlier one stands for them."""

import json
from collections.abc import Generator
from typing import Any

import pytest

from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._wire import Wire

TOOL: dict[str, Any] = {"name": "show", "inputSchema": {"type": "object"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """`docs` lists a note of its own, and `greedy` before it has a template that matches every note."""
    folder = tmp_path_factory.mktemp("links")
    offers = {
        "greedy": [TOOL, {"uriTemplate": "note:{+any}", "name": "any"}],
        "docs": [TOOL, {"uri": "note:listed", "name": "listed"}],
    }
    for name, offer in offers.items():
        (folder / name).write_text(json.dumps(offer))
    servers = {name: child("tests.servers.turncoat", str(folder / name)) for name in offers}
    with http_gateway(folder, servers, **PATIENT) as gateway:
        yield gateway.base


@pytest.fixture(params=["modern", "handshake"])
def modern(request: pytest.FixtureRequest) -> bool:
    return request.param == "modern"


def agent(base: str, view: str, modern: bool) -> Wire:
    url = f"{base}/mcp{view}"
    return Wire(HttpChannel(url, {} if modern else open_session(url)), modern)


@pytest.mark.parametrize("uri", ["note:listed", "note:unlisted", "other:unlisted"])
@pytest.mark.parametrize("server", ["greedy", "docs"])
def test_a_link_leads_to_its_own_server(base: str, modern: bool, server: str, uri: str) -> None:
    wire = agent(base, "", modern)
    link = wire.call(f"{server}__show", link=uri).result["content"][1]
    is_anothers = server == "docs" and uri.startswith("note:")
    assert link["uri"] == (f"docs+{uri}" if is_anothers else uri)
    if uri.startswith("note:"):
        (content,) = wire.ask("resources/read", {"uri": link["uri"]}).result["contents"]
        assert content["text"].endswith(f"/{server}")
        assert content["uri"] == link["uri"]


def test_by_itself_a_server_has_its_own_links(base: str, modern: bool) -> None:
    link = agent(base, "/docs", modern).call("show", link="note:listed").result["content"][1]
    assert link["uri"] == "note:listed"
