"""What a gateway starts with, what it refuses to start with, and what it leaves on disk."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.access.door import Door, ask, http, rpc, tools
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway
from tests.interaction._http import fields
from tests.interaction._wire import request
from tests.support import STARTUP_SECONDS, command, free_port, run_program

DEV = "dev-key-alice-001"
RAW = {"raw": child("tests.servers.raw")}
ENABLED = {"enabled": True}


def test_without_keys_a_developer_has_the_one_that_everybody_knows(tmp_path: Path) -> None:
    with http_gateway(tmp_path, RAW, auth=ENABLED, **PATIENT) as gateway:
        door = Door(gateway.base, tmp_path)
        assert "raw__echo" in tools(ask(door, DEV, rpc("tools/list")))
        assert ask(door, "dev-key-alice-002", rpc("tools/list")).status_code == 401


def test_without_authentication_everybody_is_the_same_principal(tmp_path: Path) -> None:
    """On the REST side too, which trusts the principal that the door puts into the scope."""
    with http_gateway(tmp_path, RAW, **PATIENT) as gateway:
        door = Door(gateway.base, tmp_path)
        for headers in ({}, {"X-Api-Key": "anything"}):
            assert "raw__echo" in tools(ask(door, None, rpc("tools/list"), **headers))
            assert http("GET", f"{door.base}/config/info", headers=headers).json()["configuration"] is not None
        listing = request("tools/list", modern=True)
        result = ask(door, None, listing, "/mcp/raw", **fields(listing)).json()["result"]
        assert (result["cacheScope"], result["ttlMs"]) == ("public", 60_000)
        made = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}).json()
        assert made["session"]["registered_by"] == "anonymous"


@pytest.mark.parametrize(
    ("settings", "keys", "complaint"),
    [
        ({"host": "0.0.0.0"}, None, "without a key"),
        ({"auth": ENABLED, "environment": "production"}, None, "nobody could come in"),
        ({"auth": ENABLED, "host": "0.0.0.0"}, None, "nobody could come in"),
        ({"auth": ENABLED, "environment": "production"}, {"key": DEV}, "a key that everybody knows"),
        ({"auth": ENABLED, "host": "0.0.0.0"}, {"key": DEV}, "a key that everybody knows"),
        ({"auth": ENABLED}, {"key": "cAnArY", "scopes": "all"}, "keys.json: [0].scopes"),
        ({"metrics": {"host": "192.0.2.1"}}, None, "Cannot listen on 192.0.2.1"),
    ],
)
def test_it_does_not_start(
    tmp_path: Path, settings: dict[str, Any], keys: dict[str, Any] | None, complaint: str
) -> None:
    if keys is not None:
        (tmp_path / "keys.json").write_text(json.dumps([keys | {"owner": "alice"}]))
        settings = settings | {"auth": settings["auth"] | {"api_keys_file": str(tmp_path / "keys.json")}}
    path = config_file(tmp_path, RAW, **settings)
    args = command("gateway", "serve", "--port", str(free_port()), "-c", str(path))
    done = run_program(args, timeout=STARTUP_SECONDS)
    assert done.returncode in (2, 3)
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert "cAnArY" not in done.stdout + done.stderr


def test_metrics_have_an_address_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    with http_gateway(tmp_path, RAW, metrics={"host": "127.0.0.1", "port": port}, **PATIENT) as gateway:
        assert ask(Door(gateway.base, tmp_path), None, rpc("tools/list")).status_code == 200
        counted = http("GET", f"http://127.0.0.1:{port}/metrics").text
        assert 'mcp_gateway_requests_total{method="tools/list",outcome="ok",upstream=""} 1.0' in counted
        assert 'mcp_gateway_upstream_state{state="ready",upstream="raw"} 1.0' in counted
        assert http("GET", f"{gateway.base}/metrics").status_code == 404
        assert http("GET", f"http://127.0.0.1:{port}/health").status_code == 404


def test_what_it_leaves_on_disk_holds_no_credential(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps([{"key": "cAnArY-key", "owner": "alice"}]))
    auth = ENABLED | {"api_keys_file": str(tmp_path / "keys.json")}
    with http_gateway(tmp_path, RAW, auth=auth, **PATIENT) as gateway:
        door = Door(gateway.base, tmp_path)
        headers = {"X-Api-Key": "cAnArY-key"}
        token: str = http("POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers=headers).json()[
            "token"
        ]
        assert ask(door, None, rpc("tools/list"), **{"X-Agent-Token": token}).status_code == 200
        run_program(command("gateway", "keys", "hash", str(tmp_path / "keys.json"))).check_returncode()
        gateway.process.terminate()
        assert gateway.process.wait(STARTUP_SECONDS) == 0
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"agents.json", "catalogue.json", "keys.json", "signing-key.json"} <= {path.name for path in left}
    for path in left:
        data = path.read_bytes()
        assert not [part for part in ("cAnArY-key", *token.split(".")) if part.encode() in data], path
        if path.name in ("agents.json", "keys.json", "signing-key.json", "state.key"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
