"""What is shown of the configuration, and that no secret ever is."""

import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from gateway import __version__
from gateway.rest.masking import safe_url
from gateway.upstream.link import State
from tests.rest.house import TIME, House, house
from tests.support import free_port, wait_until

pytestmark = pytest.mark.anyio

CANARIES = ("canary", "cnry")
"""One of them is in every secret below, and in nothing else. The second is in secrets that are too short for text to be
searched for them."""

SERVERS: dict[str, dict[str, Any]] = {
    "time": {
        **TIME,
        "args": [*TIME["args"], "--api-key=canary-argument"],
        "env": {"TOKEN": "canary-env-value", "HOME": "/canary/home", "PIN": "cnry"},
        "description": "What time is it?",
        "tags": ["clock"],
    },
    "remote": {
        "url": "http://me:canary-password@127.0.0.1:{port}/canary-long-part-of-a-path/mcp?token=canary-query",
        "headers": {"Authorization": "Bearer canary-header-value", "X-Other": "cnry"},
    },
    "off": {"disabled": True, "command": "nothing", "env": {"KEY": "canary-of-a-disabled-one"}},
}
SETTINGS: dict[str, Any] = {
    "environment": "staging",
    "auth": {
        "enabled": True,
        "api_keys_file": "keys.json",
        "agent_tokens": {"signing_key": "canary" * 8, "previous_signing_key": "canary-previous" * 4},
    },
    "rate_limit": {"default_rpm": 90},
    "max_sessions_per_principal": 77,
}


@pytest.fixture(scope="module")
async def vault(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    servers = {name: {**server} for name, server in SERVERS.items()}
    servers["remote"]["url"] = servers["remote"]["url"].format(port=free_port())
    async with house(tmp_path_factory.mktemp("vault"), servers, **SETTINGS) as vault:
        upstreams = vault.gateway.upstreams
        await wait_until(lambda: upstreams["remote"].status.state is State.BACKING_OFF)
        await wait_until(lambda: upstreams["time"].status.state in (State.READY, State.BACKING_OFF), 30)
        yield vault


async def test_no_secret_is_in_any_answer(vault: House) -> None:
    described = (await vault.ask(None, "GET", "/openapi.json")).json()["paths"]
    asked = 0
    for path, operations in described.items():
        for method in operations:
            for name in ("time", "remote", "off"):
                answer = await vault.ask("alice", method.upper(), re.sub(r"\{\w+\}", name, path))
                assert not [canary for canary in CANARIES if canary in answer.text], f"{method} {path}"
                asked += 1
    assert asked == 45


async def test_an_error_that_quotes_a_secret_is_shown_without_it(vault: House, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = vault.gateway.upstreams["remote"]
    status = type(remote.status)(State.BACKING_OFF, "it said: canary-header-value is not known")
    monkeypatch.setattr(type(remote), "status", property(lambda self: status))
    shown = (await vault.ask("carol", "GET", "/upstreams/remote")).json()
    assert shown["reason"] == shown["last_error"] == "it said: *** is not known"


async def test_without_admin_one_learns_what_a_client_has_to_know(vault: House) -> None:
    assert (await vault.ask("dora", "GET", "/config/info")).json() == {
        "version": __version__,
        "environment": "staging",
        "auth_methods": ["api_key", "agent_token"],
        "limits": {
            "requests_per_minute": 90,
            "burst": 10,
            "max_request_bytes": 4 * 2**20,
            "max_sessions": 10_000,
            "max_sessions_per_principal": 77,
        },
        "configuration": None,
    }


async def test_with_admin_one_sees_it_all_but_the_secrets(vault: House) -> None:
    shown = (await vault.ask("alice", "GET", "/config/info")).json()["configuration"]
    assert shown["files"] == [str(vault.gateway.current.config.path)]
    assert shown["gateway"]["rate_limit"] == {"default_rpm": 90, "burst_allowance": 10}
    assert shown["gateway"]["auth"]["api_keys_file"].endswith("keys.json")
    assert shown["gateway"]["auth"]["agent_tokens"]["signing_key"] == "***"
    assert list(shown["servers"]) == ["time", "remote", "off"]
    time, remote = shown["servers"]["time"], shown["servers"]["remote"]
    assert (time["command"], time["args"]) == (TIME["command"], ["***"] * 4)
    assert time["env"] == {"TOKEN": "***", "HOME": "***", "PIN": "***"}
    assert (time["description"], time["tags"], time["url"]) == ("What time is it?", ["clock"], None)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\*\*\*/mcp", remote["url"])
    assert remote["headers"] == {"Authorization": "***", "X-Other": "***"}
    assert remote["timeout"] == 60.0


async def test_everything_that_is_configured_is_shown(vault: House) -> None:
    shown = (await vault.ask("alice", "GET", "/config/info")).json()["configuration"]
    config = vault.gateway.current.config
    assert shown["gateway"].keys() == config.gateway.model_dump().keys()
    assert shown["servers"]["remote"].keys() == config.servers["remote"].model_dump().keys()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://example.com/mcp", "https://example.com/mcp"),
        ("https://user:pass@example.com:8443/mcp?key=1#x", "https://example.com:8443/mcp"),
        ("https://token@example.com", "https://example.com"),
        ("http://[::1]:9/mcp", "http://[::1]:9/mcp"),
        ("https://hooks.example.com/s/0123456789abcdef01234/mcp", "https://hooks.example.com/s/***/mcp"),
        ("http://[broken/x", "***"),
        ("http://host:99999999/x", "***"),
    ],
)
async def test_urls_are_shown_without_credentials(url: str, shown: str) -> None:
    assert safe_url(url) == shown
