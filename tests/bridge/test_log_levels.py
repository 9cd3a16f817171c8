"""Who hears which log messages, and how verbose that makes an upstream."""

from typing import Any

import pytest

from gateway.bridge.log_levels import LogRequests, most_verbose
from gateway.protocol import LOG_LEVELS
from gateway.request import ANONYMOUS, wants
from gateway.server.agents import ConnectedAgent

HANDSHAKE, MODERN = "2025-11-25", "2026-07-28"


def agent(version: str, level: str | None) -> ConnectedAgent:
    return ConnectedAgent(ANONYMOUS, None, version, log_level=level)


@pytest.mark.parametrize("version", [HANDSHAKE, MODERN])
@pytest.mark.parametrize("asked", LOG_LEVELS)
@pytest.mark.parametrize("level", LOG_LEVELS)
def test_a_message_is_wanted_at_the_level_asked_for_and_above(version: str, asked: str, level: str) -> None:
    wanted = LOG_LEVELS.index(level) >= LOG_LEVELS.index(asked)
    assert wants(agent(version, asked), {"level": level, "data": ""}) is wanted


def test_who_asked_for_nothing_hears_what_its_era_says() -> None:
    assert wants(agent(HANDSHAKE, None), {"level": "debug"})
    assert not wants(agent(MODERN, None), {"level": "emergency"})


@pytest.mark.parametrize("params", [{}, {"level": "loud"}, {"level": None}, {"level": 7}])
def test_a_level_nobody_knows_is_not_withheld(params: dict[str, Any]) -> None:
    assert wants(agent(HANDSHAKE, "emergency"), params)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [([], None), ([None], None), (["error", None, "info"], "info"), (["alert"], "alert"), (LOG_LEVELS, "debug")],
)
def test_the_most_verbose_level_counts(levels: list[str | None], expected: str | None) -> None:
    assert most_verbose(levels) == expected


def test_an_upstream_becomes_only_ever_more_verbose_for_requests() -> None:
    requests = LogRequests()
    assert requests.level("up", [None, "error"]) == "error"
    assert requests.asks("up", "warning")
    assert not requests.asks("up", "error"), "it says more already"
    assert requests.asks("up", "info")
    assert requests.level("up", [None, "error"]) == "info"
    assert requests.level("up", ["debug"]) == "debug", "sessions count too"
    assert requests.level("other", ["alert"]) == "alert"
    assert requests.level("other", []) is None
