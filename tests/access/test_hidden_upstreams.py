"""An upstream of which somebody may use nothing: to them the gateway does not have it, whatever they ask."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.access.door import Door, ask, elsewhere, http, open_session, rpc
from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.servers.shy import asked
from tests.support import wait_until

EVERYTHING_OF_VAULT = ["vault__*", "memo://vault", "doc://vault/*"]


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    """Alice may everything, Bob nothing of `vault`, Carol only documents that are open."""
    folder: Path = tmp_path_factory.mktemp("hidden")
    entries = [{"key": f"key-{name}", "owner": name, "rate_limit_rpm": -1} for name in ("alice", "bob", "carol")]
    (folder / "keys.json").write_text(json.dumps(entries))
    policy = [
        {"who": ["bob"], "deny": EVERYTHING_OF_VAULT},
        {"who": ["carol"], "deny": ["vault__*", "doc://vault/secret*"]},
    ]
    servers = {name: child("tests.servers.shy", name) for name in ("shop", "vault")}
    auth = {"enabled": True, "api_keys_file": str(folder / "keys.json")}
    with http_gateway(folder, servers, auth=auth, policy=policy, **PATIENT) as gateway:
        door = Door(gateway.base, folder)
        anyio.run(wait_until, lambda: all(state == "ready" for state in states(door, "alice").values()), 60.0)
        yield door


def states(door: Door, who: str) -> dict[str, str]:
    """Upstream → its state, as somebody sees it."""
    answer = http("GET", f"{door.base}/upstreams", headers={"X-Api-Key": f"key-{who}"})
    return {each["name"]: each["state"] for each in answer.json()["upstreams"]}


def opening(version: str = "2025-11-25") -> dict[str, Any]:
    return rpc("initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {}})


def test_its_endpoint_is_that_of_an_upstream_nobody_has(door: Door) -> None:
    hidden, unknown = (ask(door, "key-bob", opening(), f"/mcp/{name}") for name in ("vault", "nothing"))
    assert hidden.status_code == unknown.status_code == 404
    assert hidden.text.replace("vault", "X") == unknown.text.replace("nothing", "X")
    assert ask(door, "key-alice", opening(), "/mcp/vault").status_code == 200
    assert ask(door, "key-carol", opening(), "/mcp/vault").status_code == 200
    assert ask(door, "key-bob", opening(), "/mcp/shop").status_code == 200


def test_its_instructions_are_not_told(door: Door) -> None:
    told = {who: ask(door, f"key-{who}", opening()).json()["result"]["instructions"] for who in ("alice", "bob")}
    assert "What vault is for." in told["alice"]
    assert "vault" not in told["bob"]
    assert "What shop is for." in told["bob"]


def test_the_rest_side_does_not_know_it(door: Door) -> None:
    def get(who: str, path: str) -> Any:
        return http("GET", door.base + path, headers={"X-Api-Key": f"key-{who}"})

    shown = {
        who: [each["name"] for each in get(who, "/upstreams").json()["upstreams"]] for who in ("alice", "bob", "carol")
    }
    assert shown == {"alice": ["shop", "vault"], "bob": ["shop"], "carol": ["shop", "vault"]}
    assert get("bob", "/upstreams/vault").status_code == 404
    assert get("alice", "/upstreams/vault").status_code == 200


def test_a_level_reaches_only_who_may_be_used(door: Door) -> None:
    session = open_session(door, "key-bob")
    level = rpc("logging/setLevel", {"level": "critical"})
    assert ask(door, "key-bob", level, **session).json()["result"] == {}
    heard = {name: _levels(door, name) for name in ("shop", "vault")}
    assert "critical" in heard["shop"]
    assert "critical" not in heard["vault"]


def test_a_level_set_at_one_upstream_stays_there(door: Door) -> None:
    session = open_session(door, "key-alice", "/mcp/vault")
    ask(door, "key-alice", rpc("logging/setLevel", {"level": "emergency"}), "/mcp/vault", **session)
    assert "emergency" in _levels(door, "vault")
    assert "emergency" not in _levels(door, "shop")


def _levels(door: Door, upstream: str) -> list[str]:
    """The levels that an upstream was ever asked for."""
    answer = ask(door, "key-alice", rpc("tools/call", {"name": f"{upstream}__asked"})).json()
    return [each["params"]["level"] for each in asked(answer) if each["method"] == "logging/setLevel"]


@pytest.mark.parametrize("who", ["alice", "carol", "bob"])
def test_only_what_may_be_read_is_suggested(door: Door, who: str) -> None:
    ref = {"type": "ref/resource", "uri": "doc://vault/{id}"}
    answer = ask(door, f"key-{who}", rpc("completion/complete", {"ref": ref, "argument": {"name": "id", "value": ""}}))
    if who == "bob":
        assert "error" in answer.json()
        return
    completion = answer.json()["result"]["completion"]
    if who == "alice":
        assert completion == {"values": ["open", "secret"], "total": 2, "hasMore": False}
    else:
        assert completion == {"values": ["open"], "hasMore": False}


# --- The public endpoints -----------------------------------------------------------------------------------------


def public(door: Door, path: str, key: str | None = None) -> httpx2.Response:
    answer = http("GET", door.base + path, headers={"X-Api-Key": key} if key is not None else elsewhere())
    assert answer.status_code == 200
    return answer


@pytest.mark.parametrize(
    ("key", "names"),
    [(None, set[str]()), ("key-wrong", set[str]()), ("key-bob", {"shop"}), ("key-alice", {"shop", "vault"})],
)
def test_readiness_names_what_the_caller_may_know(door: Door, key: str | None, names: set[str]) -> None:
    answer = public(door, "/readyz", key).json()
    assert (answer["status"], set(answer["upstreams"])) == ("ready", names)


@pytest.mark.parametrize("key", [None, "key-wrong", "key-bob"])
def test_metrics_sum_upstreams_up_for_who_may_not_know_them_all(door: Door, key: str | None) -> None:
    _levels(door, "vault")
    text = public(door, "/metrics", key).text
    assert "vault" not in text
    assert "shop" not in text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert len(samples) == len({(sample.name, *sorted(sample.labels.items())) for sample in samples})
    assert 'mcp_gateway_upstream_state{state="ready"} 2.0' in text
    assert 'mcp_gateway_requests_total{method="tools/call",outcome="ok"}' in text


def test_metrics_name_upstreams_to_who_may_use_them_all(door: Door) -> None:
    text = public(door, "/metrics", "key-alice").text
    assert 'mcp_gateway_upstream_state{state="ready",upstream="vault"} 1.0' in text


def test_names_can_be_made_public(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text(json.dumps([{"key": "key-alice", "owner": "alice"}]))
    auth = {"enabled": True, "api_keys_file": str(tmp_path / "keys.json")}
    with http_gateway(tmp_path, {"shop": child("tests.servers.shy", "shop")}, auth=auth, public_names=True) as gateway:
        door = Door(gateway.base, tmp_path)
        assert set(public(door, "/readyz").json()["upstreams"]) == {"shop"}
        assert 'upstream="shop"' in public(door, "/metrics").text
