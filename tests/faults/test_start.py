"""A server that hangs, fails or is slow to start: nobody waits for it but who has to, and everybody is told."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._connect import VERSIONS
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway, stdio_command
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._wire import Pipe, Wire, piped, request, shake_hands
from tests.servers.peers import SECONDS
from tests.support import wait_until

FOR_EVER: Final = 2 * SECONDS
"""Longer than an agent of these tests has patience for."""
GOOD: Final = child("tests.servers.raw")
HANGS: Final = {"command": "sleep", "args": ["1000"], "connect_timeout": FOR_EVER}
FAILS: Final = {"command": "false"}


def names(wire: Wire) -> set[str]:
    return {tool["name"].partition("__")[0] for tool in wire.listed("tools/list", "tools")}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """A gateway in front of a good server, one that hangs and one that fails."""
    servers = {"good": GOOD, "hangs": HANGS, "fails": FAILS}
    with http_gateway(tmp_path_factory.mktemp("start"), servers, startup_wait=10) as gateway:
        yield f"{gateway.base}/mcp"


@pytest.fixture(params=VERSIONS)
def wire(request: pytest.FixtureRequest, url: str) -> Wire:
    modern = request.param == "modern"
    return Wire(HttpChannel(url, {} if modern else open_session(url)), modern)


def alone(wire: Wire, name: str) -> Wire:
    """The same agent at the endpoint of one server."""
    assert isinstance(wire.channel, HttpChannel)
    url = f"{wire.channel.url}/{name}"
    return Wire(HttpChannel(url, {} if wire.modern else open_session(url)), wire.modern)


def opened(wire: Wire) -> dict[str, Any]:
    if wire.modern:
        return wire.ask("server/discover").result
    assert isinstance(wire.channel, HttpChannel)
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    *_, answer = HttpChannel(wire.channel.url).exchange(request("initialize", opening))
    return answer["result"]


def test_opening_waits_for_nobody(tmp_path: Path) -> None:
    config = config_file(tmp_path, {"hangs": HANGS}, startup_wait=FOR_EVER)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        pipe.send(request("tools/list"))
        *_, answer = pipe.exchange(request("ping"))
        assert answer["result"] == {}


def test_what_may_yet_come_is_declared(wire: Wire) -> None:
    capabilities = opened(wire)["capabilities"]
    assert capabilities["tools"] == capabilities["prompts"] == {"listChanged": True}
    assert capabilities["resources"] == {"listChanged": True, "subscribe": True}
    assert {"completions", "logging"} <= capabilities.keys()


def test_a_listing_waits_once_for_what_never_comes(wire: Wire) -> None:
    for _ in range(30):  # were each to wait, it would take minutes
        assert names(wire) == {"good"}


@pytest.mark.parametrize("name", ["hangs", "fails"])
def test_who_asks_for_what_is_away_is_told(wire: Wire, name: str) -> None:
    assert names(wire) == {"good"}
    for error in (
        wire.call(f"{name}__anything").error,
        wire.ask("prompts/get", {"name": f"{name}__anything"}).error,
        alone(wire, name).ask("tools/list").error,
        alone(wire, name).ask("resources/templates/list").error,
        alone(wire, name).call("anything").error,
    ):
        assert error["code"] == -32010
        assert error["data"]["upstream"] == name
        assert error["data"]["state"] == ("starting" if name == "hangs" else "backing off")
    assert wire.call("absent__anything").error["code"] == -32602


@pytest.mark.anyio
async def test_one_that_is_up_and_has_listed_nothing_yet_is_not_called_ready(tmp_path: Path) -> None:
    mute = child("tests.servers.bad", "--on", "tools/list=silent", timeout=FOR_EVER)
    with http_gateway(tmp_path, {"mute": mute}, startup_wait=0) as gateway:
        wire = Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True)

        def reason() -> str:
            return wire.call("mute__anything").error["message"]

        await wait_until(lambda: reason() == "Upstream 'mute' is starting: what it offers is not known yet.", SECONDS)
        assert wire.call("mute__anything").error["data"]["state"] == "starting"


def test_the_instructions_name_what_is_away(wire: Wire) -> None:
    assert names(wire) == {"good"}
    assert "Not available at the moment, with all their tools: `hangs`, `fails`." in opened(wire)["instructions"]


def test_a_list_that_fails_is_an_error_at_its_own_endpoint(tmp_path: Path) -> None:
    with http_gateway(tmp_path, {"good": GOOD, "bad": child("tests.servers.refusing")}, **PATIENT) as gateway:
        assert names(Wire(HttpChannel(f"{gateway.base}/mcp"), modern=True)) == {"good"}
        wire = Wire(HttpChannel(f"{gateway.base}/mcp/bad"), modern=True)
        assert "the disk is full" in wire.ask("tools/list").error["message"]
        assert wire.ask("prompts/list").result["prompts"] == []


@pytest.mark.anyio
async def test_one_that_did_not_come_up_last_time_is_not_waited_for(tmp_path: Path) -> None:
    """The snapshot remembers; and the one that was well is listed before it is up."""
    snapshot = tmp_path / "state" / "catalogue.json"
    fails = {**HANGS, "connect_timeout": 1}
    with started(tmp_path, {"good": GOOD, "hangs": fails}, startup_wait=FOR_EVER) as pipe:
        assert names(Wire(pipe, modern=False)) == {"good"}
        await wait_until(lambda: '"hangs"' in snapshot.read_text() if snapshot.exists() else False)
    with started(tmp_path, {"good": GOOD, "hangs": HANGS}, startup_wait=FOR_EVER) as pipe:
        assert names(Wire(pipe, modern=False)) == {"good"}


@pytest.mark.anyio
async def test_what_comes_late_is_announced(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    late = child("tests.servers.gate", "--slow-start", str(gate))
    with started(tmp_path, {"good": GOOD, "late": late}, startup_wait=0) as pipe:
        wire = Wire(pipe, modern=False)
        await wait_until(lambda: names(wire) == {"good"}, timeout=SECONDS)
        gate.touch()
        while pipe.receive().get("method") != "notifications/tools/list_changed":
            pass
        await wait_until(lambda: names(wire) == {"good", "late"})


@contextmanager
def started(folder: Path, servers: dict[str, Any], **settings: Any) -> Generator[Pipe]:
    """A gateway as a desktop client starts it; hands are shaken."""
    with piped(stdio_command(config_file(folder, servers, **settings))) as pipe:
        shake_hands(pipe)
        yield pipe
