"""The comparison itself must notice: each way in which the gateway can be worse, or the list wrong."""

import json
from pathlib import Path

import pytest

from tests.conformance.compare import Known, clients_differ, failing, servers_differ, surprises
from tests.conformance.known import KNOWN
from tests.conformance.suite import Checks, read_results

ONE = Checks({("a", "SUCCESS"): 2, ("b", "INFO"): 1})

SERVERS = {
    "equal": (ONE, ONE, False),
    "a check fewer": (ONE, Checks({("a", "SUCCESS"): 2}), True),
    "made less often": (ONE, Checks({("a", "SUCCESS"): 1, ("b", "INFO"): 1}), True),
    "one more": (ONE, ONE + Checks({("c", "SUCCESS"): 1}), True),
    "another outcome": (ONE, Checks({("a", "SUCCESS"): 2, ("b", "FAILURE"): 1}), True),
    "not run": (ONE, Checks(), True),
}


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_must_be_the_same(kind: str) -> None:
    direct, through, differ = SERVERS[kind]
    assert bool(servers_differ({"x": direct}, {"x": through})) is differ
    assert bool(servers_differ({"x": through}, {"x": direct})) is differ


CLIENTS = {
    "equal": (ONE, ONE, False),
    "passes more": (ONE, ONE + Checks({("c", "SUCCESS"): 1}), False),
    "passes less": (ONE, Checks({("a", "SUCCESS"): 1}), True),
    "passes and fails": (ONE, ONE + Checks({("a", "FAILURE"): 1}), True),
    "is warned": (ONE, ONE + Checks({("c", "WARNING"): 1}), True),
    "fails as before": (Checks({("a", "FAILURE"): 1}), Checks({("a", "FAILURE"): 1}), False),
    "not run": (ONE, Checks(), True),
}


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_client_must_be_as_good(kind: str) -> None:
    direct, through, differ = CLIENTS[kind]
    assert bool(clients_differ({"x": direct}, {"x": through})) is differ


def test_a_known_difference_must_be_just_that() -> None:
    known = [Known("r", ["way"], {"x": {"a"}}, "because")]
    only_a = servers_differ({"x": ONE}, {"x": Checks({("b", "INFO"): 1})})
    both = servers_differ({"x": ONE}, {})
    assert surprises(only_a, known, "r", "way") == []
    assert surprises([], known, "r", "other") == []
    assert "no difference any more" in surprises([], known, "r", "way")[0]
    assert surprises(only_a, known, "r", "other") == ["x: a SUCCESS (2) directly, nothing through the gateway"]
    assert surprises(only_a, known, "other", "way")
    assert surprises(both, known, "r", "way")


def test_what_fails_without_the_gateway_proves_nothing() -> None:
    bad = Checks({("a", "FAILURE"): 1})
    assert failing({"x": ONE, "y": bad, "tasks-z": bad}) == ["y: a FAILURE directly"]


def test_every_known_difference_has_its_reason() -> None:
    assert all(entry.reason and entry.ways and entry.checks for entry in KNOWN)


def test_results_are_read_by_scenario(tmp_path: Path) -> None:
    folder = tmp_path / "server-server-stateless-2026-01-02T03-04-05-678Z"
    folder.mkdir()
    checks = [{"id": "a", "status": "SUCCESS"}, {"id": "a", "status": "SUCCESS"}, {"id": "b", "status": "INFO"}]
    (folder / "checks.json").write_text(json.dumps(checks))
    assert read_results(tmp_path, "server-") == {"server-stateless": ONE}
