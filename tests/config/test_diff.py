"""What a reload does about each difference, as a table."""

import json
from typing import Any

import pytest

from gateway.config import Config, GatewaySettings, ServerConfig
from gateway.config.reload.diff import LIVE_KEYS, LIVE_SETTINGS, Diff, diff

from .conftest import Load

SERVERS = {"a": {"command": "a"}, "b": {"url": "http://b/"}, "off": {"command": "off", "disabled": True}}


@pytest.fixture
def between(config: Load) -> Any:
    """`(old, new)`, each `(servers, **settings)` as in a file: the difference."""

    def between(old: dict[str, Any], new: dict[str, Any]) -> Diff:
        return diff(loaded(config, old), loaded(config, new))

    return between


def loaded(config: Load, given: dict[str, Any]) -> Config:
    return config(json.dumps({"servers": SERVERS} | given), "servers.json")


def changed(name: str, **keys: Any) -> dict[str, Any]:
    return {"servers": {**SERVERS, name: {**SERVERS[name], **keys}}}


SAME: dict[str, Any] = {}

TABLE: dict[str, tuple[dict[str, Any], dict[str, tuple[str, ...]]]] = {
    "nothing": (SAME, {}),
    "their order": ({"servers": dict(reversed(SERVERS.items()))}, {}),
    "a new one": ({"servers": {**SERVERS, "c": {"command": "c"}}}, {"added": ("c",)}),
    "a new one that is disabled": ({"servers": {**SERVERS, "c": {"command": "c", "disabled": True}}}, {}),
    "one is gone": ({"servers": {"b": SERVERS["b"]}}, {"removed": ("a",)}),
    "one is disabled": (changed("a", disabled=True), {"removed": ("a",)}),
    "one is enabled": (changed("off", disabled=False), {"added": ("off",)}),
    "one that is disabled is another": (changed("off", command="other"), {}),
    "another program": (changed("a", command="other"), {"replaced": ("a",)}),
    "other arguments": (changed("a", args=["-v"]), {"replaced": ("a",)}),
    "another variable": (changed("a", env={"TOKEN": "x"}), {"replaced": ("a",)}),
    "another address": (changed("b", url="http://c/"), {"replaced": ("b",)}),
    "another header": (changed("b", headers={"X-Key": "x"}), {"replaced": ("b",)}),
    "another isolation": (changed("a", isolation="session"), {"replaced": ("a",)}),
    "another breaker": (changed("a", breaker={"failures": 9}), {"replaced": ("a",)}),
    "tools": (changed("a", tools=["x"]), {"adjusted": ("a",)}),
    "a time": (changed("a", timeout="5s"), {"adjusted": ("a",)}),
    "a limit": (changed("b", rate_limit={"rpm": 5}), {"adjusted": ("b",)}),
    "words": (changed("b", description="Other", tags=["x"]), {"adjusted": ("b",)}),
    "both kinds": (changed("a", timeout="5s", args=["-v"]), {"replaced": ("a",)}),
    "policy": ({"gateway": {"policy": [{"who": ["*"], "deny": ["x"]}]}}, {"settings": ("policy",)}),
    "rates": ({"gateway": {"rate_limit": {"default_rpm": 5}}}, {"settings": ("rate_limit.default_rpm",)}),
    "all at once": (
        {"servers": {"a": {"command": "other"}, "c": {"command": "c"}}, "gateway": {"page_size": 5}},
        {"added": ("c",), "removed": ("b",), "replaced": ("a",), "settings": ("page_size",)},
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_a_difference_asks_for(between: Any, case: str) -> None:
    new, expected = TABLE[case]
    found = between(SAME, new)
    assert (found.changes, found.needs_restart) == (expected, ())
    assert found.config.servers.keys() == new.get("servers", SERVERS).keys()


def test_what_needs_a_restart_is_named_and_stays(between: Any) -> None:
    settings = {"port": 9, "auth": {"enabled": True}, "page_size": 5}
    found = between(SAME, {"gateway": settings})
    assert found.needs_restart == ("auth.enabled", "port")
    assert found.changes == {"settings": ("page_size",)}
    in_force = found.config.gateway
    assert (in_force.port, in_force.auth.enabled, in_force.page_size) == (8080, False, 5)


def test_it_is_named_until_it_is_taken_back(between: Any, config: Load) -> None:
    later = diff(between(SAME, {"gateway": {"port": 9}}).config, loaded(config, {"gateway": {"port": 9}}))
    assert later.needs_restart == ("port",)
    assert later.changes == {}
    assert diff(later.config, loaded(config, SAME)).needs_restart == ()


def test_every_name_is_one() -> None:
    assert set(GatewaySettings.model_fields) >= LIVE_SETTINGS
    assert set(ServerConfig.model_fields) >= LIVE_KEYS
