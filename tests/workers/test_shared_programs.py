"""A program that several workers share runs once, whatever becomes of a worker."""

import os
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.access.door import http
from tests.interaction._gateway import child
from tests.support import alive
from tests.workers.supervised import Supervised, call, descendants, supervised, wait_for, words_of

RAW = "tests.servers.raw"


@pytest.fixture(scope="module", params=["handshake", "modern"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Generator[Supervised]:
    """A server of either era."""
    servers = {"raw": child(RAW, "--era", request.param)}
    with supervised(tmp_path_factory.mktemp("shared"), servers) as running:
        yield running


def running(gateway: Supervised) -> set[int]:
    """Pids of the programs that run now."""
    return {pid for pid in descendants(gateway.supervisor.pid) if RAW in words_of(pid)}


def asked(gateway: Supervised) -> int:
    """Which process answers a call."""
    status, answer = call(gateway, "raw__process")
    assert status == 200, answer
    assert "result" in answer, answer
    return answer["result"]["structuredContent"]["pid"]


def pids(gateway: Supervised) -> set[int]:
    """Which processes answer, once both workers have one that does."""
    found: set[int] = set()
    before = len(gateway.served())

    def both() -> bool:
        status, answer = call(gateway, "raw__process")
        if status == 200 and "result" in answer:
            found.add(answer["result"]["structuredContent"]["pid"])
        return {*gateway.served()[before:]} == {1, 2}

    wait_for(both)
    return found


def test_it_runs_once_and_both_workers_reach_it(gateway: Supervised) -> None:
    assert pids(gateway) == running(gateway)
    assert len(running(gateway)) == 1


def test_the_death_of_a_worker_is_no_concern_of_it(gateway: Supervised) -> None:
    before = running(gateway)
    victim = min(gateway.workers())
    os.kill(victim, signal.SIGKILL)
    assert asked(gateway) in before  # at once, by the other
    wait_for(lambda: len(gateway.workers()) == 2 and victim not in gateway.workers())
    assert pids(gateway) == before == running(gateway)


def test_it_is_started_anew_once_for_both_when_it_dies(gateway: Supervised) -> None:
    (before,) = running(gateway)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: is_another(gateway, before))
    assert pids(gateway) == running(gateway)
    assert len(running(gateway)) == 1


def test_whoever_runs_it_may_die_too(gateway: Supervised) -> None:
    (before,) = running(gateway)
    (host,) = {pid for pid in descendants(gateway.supervisor.pid) if any("host.py" in word for word in words_of(pid))}
    os.kill(host, signal.SIGKILL)
    wait_for(lambda: not alive(before))
    wait_for(lambda: is_another(gateway, before))
    assert pids(gateway) == running(gateway)


def test_a_restart_is_one_for_all_workers(gateway: Supervised) -> None:
    (before,) = running(gateway)
    assert http("POST", f"{gateway.base}/upstreams/raw/restart").status_code == 202
    wait_for(lambda: is_another(gateway, before))
    assert pids(gateway) == running(gateway)
    assert len(running(gateway)) == 1


def is_another(gateway: Supervised, before: int) -> bool:
    status, answer = call(gateway, "raw__process")
    return status == 200 and "result" in answer and answer["result"]["structuredContent"]["pid"] != before


def test_each_worker_has_its_own_where_that_is_wanted(tmp_path: Path) -> None:
    with supervised(tmp_path, {"raw": child(RAW, per_worker=True)}) as gateway:
        assert len(pids(gateway)) == 2
