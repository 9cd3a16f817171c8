"""Two workers on one address, and what becomes of calls when one of them ends, however that comes."""

import os
import re
import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.access.door import http
from tests.interaction._http import open_session, post
from tests.interaction._wire import request
from tests.support import alive
from tests.workers.supervised import Load, Supervised, call, descendants, supervised, wait_for


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Generator[Supervised]:
    """For tests that leave both workers as they are, or wait until there are two again."""
    with supervised(tmp_path_factory.mktemp("workers")) as running:
        assert call(running)[0] == 200
        yield running


def value(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    lines = [line for line in text.splitlines() if re.match(rf"{name}[{{ ]", line)]
    wanted = [line for line in lines if all(f'{key}="{each}"' in line for key, each in labels.items())]
    return sum(float(line.rpartition(" ")[2]) for line in wanted)


def test_connections_are_shared_out_among_the_workers(gateway: Supervised) -> None:
    before = len(gateway.served())
    with Load(gateway) as load:
        load.wait_for(400)
    assert not load.lost, load.outcomes
    wait_for(lambda: len(gateway.served()) >= before + 400)
    served = gateway.served()[before:]
    assert min(served.count(1), served.count(2)) > len(served) / 4


def test_a_session_is_known_whichever_worker_is_asked(gateway: Supervised) -> None:
    session = open_session(gateway.url)
    before = len(gateway.served())
    echo = {"name": "all__echo", "arguments": {"message": "hello"}}

    def both_have_answered() -> bool:
        status, answer = post(gateway.url, request("tools/call", echo), session)
        assert status == 200, answer
        assert "result" in answer, answer
        return {*gateway.served()[before:]} == {1, 2}

    wait_for(both_have_answered)


def test_a_session_that_was_ended_has_ended_at_both(gateway: Supervised) -> None:
    session = open_session(gateway.url)
    assert http("DELETE", gateway.url, headers=session).status_code in (200, 204)
    wait_for(lambda: all(post(gateway.url, request("ping"), session)[0] == 404 for _ in range(8)), 5)


def test_each_worker_answers_for_all_with_the_metrics(gateway: Supervised) -> None:
    wait_for(lambda: value(gateway.metrics(), "mcp_gateway_workers") == 2)

    def calls() -> float:
        return value(gateway.metrics(), "mcp_gateway_requests_total", method="tools/call", outcome="ok")

    before, made = calls(), len(gateway.served())
    for _ in range(20):
        assert call(gateway)[0] == 200
    wait_for(lambda: len(gateway.served()) == made + 20)
    assert {*gateway.served()[made:]} == {1, 2}
    for _ in range(4):  # whichever is asked
        assert calls() == before + 20
    text = gateway.metrics()
    assert value(text, "mcp_gateway_upstream_state", state="ready") == 1  # and not two
    assert value(text, "mcp_gateway_store_nodes") == 2
    assert text.count("mcp_gateway_build_info{") == 1


def test_each_worker_says_for_all_what_goes_on(gateway: Supervised) -> None:
    def calls() -> int:
        status = http("GET", f"{gateway.base}/status").json()
        return sum(each["requests"] for each in status["calls"] if each["target"] == "all__echo")

    before, made = calls(), len(gateway.served())
    for _ in range(12):
        assert call(gateway)[0] == 200
    wait_for(lambda: len(gateway.served()) == made + 12)
    assert {*gateway.served()[made:]} == {1, 2}
    assert [calls() for _ in range(4)] == [before + 12] * 4  # whichever is asked


def test_the_log_level_is_changed_for_all(gateway: Supervised) -> None:
    assert http("PUT", f"{gateway.base}/log-level", json={"level": "debug", "seconds": 60}).status_code == 200
    wait_for(lambda: {line["worker"] for line in gateway.log() if line["event"] == "log level changed"} == {1, 2})
    assert http("PUT", f"{gateway.base}/log-level", json={"level": None}).status_code == 200


def test_the_log_says_which_worker_it_is(gateway: Supervised) -> None:
    said = {line.get("worker") for line in gateway.log() if line["event"] == "upstream ready"}
    assert said == {1, 2}


def test_a_worker_that_is_killed_takes_nothing_but_its_own_calls_with_it(gateway: Supervised) -> None:
    counted = value(gateway.metrics(), "mcp_gateway_requests_total", method="tools/call", outcome="ok")
    with Load(gateway, threads=8) as load:
        load.wait_for(50)
        before = gateway.workers()
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        load.wait_for(100)
        wait_for(lambda: len(gateway.workers()) == 2 and victim not in gateway.workers())
        made = load.answered
        wait_for(lambda: value(gateway.metrics(), "mcp_gateway_workers") == 2)
        load.wait_for(50)
    assert load.lost <= 8, load.outcomes  # one a thread, at most
    assert value(gateway.metrics(), "mcp_gateway_worker_deaths_total") >= 1
    assert value(gateway.metrics(), "mcp_gateway_requests_total", method="tools/call", outcome="ok") >= counted
    assert made
    assert any(line["event"] == "worker died" and line["worker"] == before[victim] for line in gateway.log())


def test_workers_are_replaced_in_turn_and_no_call_is_lost(gateway: Supervised) -> None:
    before = {*gateway.workers()}
    with Load(gateway, threads=6) as load:
        load.wait_for(20)
        gateway.supervisor.send_signal(signal.SIGUSR1)
        wait_for(lambda: len(now := {*gateway.workers()}) == 2 and not now & before, 120)
        load.wait_for(50)
    assert not load.lost, load.outcomes
    assert any(line["event"] == "workers were replaced" for line in gateway.log())


def test_limits_hold_over_both(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    keys.write_text('[{"id": "a", "key": "key-a", "owner": "a", "rate_limit_rpm": 1}]')
    auth = {"enabled": True, "api_keys_file": str(keys)}
    with supervised(tmp_path, auth=auth, rate_limit={"default_rpm": 1, "burst_allowance": 39}) as gateway:

        def knock(_: int) -> int:
            return post(gateway.url, request("tools/list", modern=True), {"X-Api-Key": "key-a"})[0]

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(knock, range(160)))
        assert {*statuses} == {200, 429}
        assert {1, 2} == {*gateway.served("tools/list")}
        assert 39 <= statuses.count(200) <= 41 + value(gateway.metrics(), "mcp_gateway_store_share_decisions_total")


def test_a_stop_lets_calls_finish_and_leaves_no_process(tmp_path: Path) -> None:
    with supervised(tmp_path) as gateway:
        assert call(gateway)[0] == 200
        all = descendants(gateway.supervisor.pid)
        assert len(all) > 4  # workers, a store, guardians and servers
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(call, gateway, "all__slow", seconds=3) for _ in range(4)]
            wait_for(lambda: value(gateway.metrics(), "mcp_gateway_requests_in_flight") >= 4)
            gateway.supervisor.send_signal(signal.SIGTERM)
            answers = [each.result() for each in asked]
        assert all_are_answered(answers)
        assert gateway.supervisor.wait(30) == 0
        wait_for(lambda: not any(alive(pid) for pid in all), 10)


def all_are_answered(answers: list[tuple[int, dict[str, object]]]) -> bool:
    return all(status == 200 and "result" in answer for status, answer in answers)


def test_a_supervisor_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    with supervised(tmp_path) as gateway:
        assert call(gateway)[0] == 200
        all = descendants(gateway.supervisor.pid)
        gateway.supervisor.kill()
        wait_for(lambda: not any(alive(pid) for pid in all), 30)
