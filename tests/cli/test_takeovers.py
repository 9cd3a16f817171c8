"""A server that would take over another's URIs: what a gateway does, and what the verbs say and approve."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.access.door import Door
from tests.interaction._gateway import PATIENT, Entry, child, http_gateway
from tests.interaction._http import HttpChannel
from tests.interaction._wire import Wire
from tests.support import wait_until

from .conftest import Program

pytestmark = pytest.mark.anyio

NOTE: dict[str, Any] = {"uri": "note:1", "name": "note"}
NOTES: dict[str, Any] = {"uriTemplate": "note:{number}", "name": "notes"}

Serve = Callable[..., Entry]


@pytest.fixture
def serve(folder: Path) -> Serve:
    """`serve(name, *offer, **settings)`: the entry of a server that offers this."""

    def entry(name: str, *offer: dict[str, Any], **settings: Any) -> Entry:
        (folder / name).write_text(json.dumps(offer))
        return child("tests.servers.turncoat", str(folder / name), **settings)

    return entry


def reader(door: Door, uri: str) -> str:
    """Which server answers."""
    contents = Wire(HttpChannel(f"{door.base}/mcp", {}), True).ask("resources/read", {"uri": uri}).result["contents"]
    return Path(contents[0]["text"]).name


@pytest.mark.parametrize(("offer", "blocked"), [(NOTE, "old"), (NOTES, "new")])
async def test_an_inserted_server_waits_until_somebody_approves(
    folder: Path, program: Program, serve: Serve, offer: dict[str, Any], blocked: str
) -> None:
    def verb(*args: str) -> Any:
        return program(*args, "-c", str(folder / "servers.json"))

    old = serve("old", NOTE, pin="block" if blocked == "old" else "warn")
    with http_gateway(folder, {"old": old}, **PATIENT) as gateway:
        assert reader(Door(gateway.base, folder), "note:1") == "old"
        file = folder / "state" / "owners.json"
        await wait_until(file.exists, 30)
    assert file.stat().st_mode & 0o777 == 0o600
    (folder / "state" / "catalogue.json").unlink(missing_ok=True)

    new = serve("new", offer, pin="block" if blocked == "new" else "warn")
    with http_gateway(folder, {"new": new, "old": old}, **PATIENT) as gateway:
        door = Door(gateway.base, folder)
        await wait_until(lambda: reader(door, "new+note:1") == "new", 30)
        assert reader(door, "note:1") == "old"
        different = verb("pins", "diff", "--json")
        assert different.returncode == 1
        found = {each["server"]: each["takeovers"] for each in json.loads(different.stdout)}
        name = offer.get("uri") or offer["uriTemplate"]
        kind = "resources" if "uri" in offer else "templates"
        assert found == {"new": [{"kind": kind, "name": name, "of": "old"}], "old": []}
        listed = lambda: " ".join(verb("pins", "list").stdout.split())  # noqa: E731
        await wait_until(lambda: "as pinned, takes over 1 URI" in listed(), 30)  # what is pinned is written soon
        assert reader(door, "note:1") == "old"

        assert verb("pins", "approve", "new", "note:9").returncode == 2
        done = verb("pins", "approve", "new", name)
        assert done.returncode == 0, done.stderr
        await wait_until(lambda: reader(door, "note:1") == "new", 30)
        assert reader(door, "old+note:1") == "old"

    with http_gateway(folder, {"new": new, "old": old}, **PATIENT) as gateway:
        assert reader(Door(gateway.base, folder), "note:1") == "new"


async def test_what_is_approved_before_any_gateway_has_seen_it_counts(
    folder: Path, program: Program, serve: Serve
) -> None:
    old, new = serve("old", NOTE), serve("new", NOTE, pin="block")
    with http_gateway(folder, {"old": old}, **PATIENT) as gateway:
        assert reader(Door(gateway.base, folder), "note:1") == "old"
        await wait_until((folder / "state" / "owners.json").exists, 30)
    config = {"gateway": {"state_dir": str(folder / "state"), "port": 1}, "servers": {"new": new, "old": old}}
    (folder / "servers.json").write_text(json.dumps(config))
    doctor = program("doctor", "--json", "-c", str(folder / "servers.json"))
    (problem,) = [each for each in json.loads(doctor.stdout)["findings"] if each.get("server") == "new"]
    assert (problem["kind"], doctor.returncode) == ("problem", 1)
    assert "what stays 'old''s until somebody approves it: note:1" in problem["text"]
    assert "pins approve new" in problem["remedy"]

    assert program("pins", "diff", "-c", str(folder / "servers.json")).returncode == 1
    assert program("pins", "approve", "new", "-c", str(folder / "servers.json")).returncode == 0
    with http_gateway(folder, {"new": new, "old": old}, **PATIENT) as gateway:
        assert reader(Door(gateway.base, folder), "note:1") == "new"


async def test_what_is_remembered_and_cannot_be_read_stops_a_gateway_that_blocks(
    folder: Path, program: Program, serve: Serve
) -> None:
    state = folder / "state"
    state.mkdir()
    (state / "owners.json").write_text("{")
    servers = {"a": serve("a", NOTE, pin="block")}
    config = {"gateway": {"state_dir": str(state), "port": 0}, "servers": servers}
    (folder / "servers.json").write_text(json.dumps(config))
    done = program("serve", "-c", str(folder / "servers.json"))
    assert done.returncode not in (0, 1)
    assert "owners.json: who owned which URI cannot be read" in " ".join(done.stderr.split())
    assert (state / "owners.json").read_text() == "{"
