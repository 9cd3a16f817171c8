"""How an agent and the gateway meet: initialize, server/discover, capabilities, identity, ping."""

from collections.abc import Generator

import pytest

from tests.interaction._connect import FRONTS, VERSIONS, Cell
from tests.interaction._http import HttpChannel, sse
from tests.interaction._requirements import requirement
from tests.interaction._wire import Channel, Wire, request
from tests.servers.peers import OPENING

REVISIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")


@pytest.fixture(params=["http", "sse"])
def newcomer(request: pytest.FixtureRequest, raw_base: str) -> Generator[Channel]:
    """A connection on which nothing was said yet."""
    if request.param == "http":
        yield HttpChannel(f"{raw_base}/mcp")
    else:
        with sse(raw_base) as channel:
            yield channel


@requirement("open:revision")
@pytest.mark.parametrize("version", [*REVISIONS, "2026-07-28", "1999-01-01"])
def test_initialize_agrees_on_the_revision_asked_for_or_offers_the_latest(newcomer: Channel, version: str) -> None:
    *_, answer = newcomer.exchange(request("initialize", OPENING | {"protocolVersion": version}))
    assert answer["result"]["protocolVersion"] == (version if version in REVISIONS else REVISIONS[-1])


@requirement("open:initialize")
def test_initialize_says_who_answers_and_what_it_can(newcomer: Channel) -> None:
    *_, answer = newcomer.exchange(request("initialize", OPENING))
    result = answer["result"]
    assert result["serverInfo"]["name"] == "mcp-gateway"
    assert result["capabilities"]["tools"] == {"listChanged": True}
    assert "resultType" not in result, "the era does not know it"


@requirement("open:initialize")
def test_initialize_without_a_revision_is_refused(newcomer: Channel) -> None:
    *_, answer = newcomer.exchange(request("initialize", {"capabilities": {}}))
    assert answer["error"]["code"] == -32602


@requirement("open:discover")
@pytest.mark.parametrize("wire", [front for front in FRONTS if front.endswith("modern")], indirect=True)
def test_discover_says_who_answers_and_what_it_can(wire: Wire) -> None:
    result = wire.ask("server/discover").result
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["resultType"] == "complete"
    assert result["ttlMs"] >= 0
    assert result["cacheScope"] in ("public", "private")
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "mcp-gateway"
    assert result["capabilities"]["tools"] == {"listChanged": True}


@requirement("open:era")
def test_each_era_has_its_own_way_to_open(wire: Wire) -> None:
    foreign = "initialize" if wire.modern else "server/discover"
    assert wire.ask(foreign, OPENING).error["code"] == -32601


@requirement("ping")
def test_ping_is_answered_in_the_era_that_has_it(wire: Wire) -> None:
    answer = wire.ask("ping").message
    if wire.modern:
        assert answer["error"]["code"] == -32601
    else:
        assert answer["result"] == {}


@requirement("open:capabilities", "view:own")
@pytest.mark.anyio
async def test_the_sdk_agrees_with_the_gateway(cell: Cell) -> None:
    client = cell.client
    assert client.protocol_version == VERSIONS[cell.agent.era]
    capabilities = client.server_capabilities
    assert capabilities.tools
    assert capabilities.tools.list_changed
    assert capabilities.prompts
    assert capabilities.prompts.list_changed
    assert capabilities.resources
    assert capabilities.resources.subscribe
    assert capabilities.completions is not None
    assert client.instructions
    if cell.own:
        assert client.instructions == "A server for tests."
    else:
        assert f"`{cell.upstream}__*`" in client.instructions, "the heading says what the upstream's tools are called"


@requirement("view:own")
@pytest.mark.anyio
async def test_an_upstream_seen_alone_keeps_its_identity(cell: Cell) -> None:
    info = cell.client.server_info
    assert info
    assert info.name == (cell.upstream if cell.own else "mcp-gateway")
