"""One person at a desk: a gateway, a server with the SDK's own authorization server, and the commands."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.forked import popen
from tests.interaction._gateway import PATIENT, http_gateway
from tests.support import ROOT, command, http_server, run_program

SECONDS: Final = 60.0
CANARY: Final = re.compile(r"(access|refresh|code)-[0-9a-f]{32}")
"""What the authorization server gives."""


@dataclass(frozen=True)
class Desk:
    folder: Path
    base: str
    """The gateway's."""
    server: str
    """Origin of the server, and of its authorization server."""

    def verb(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run_program(command("gateway", *arguments, "-c", str(self.folder / "servers.json")))

    def log_in(self, browse: Callable[[str, "subprocess.Popen[bytes]"], None], *more: str) -> tuple[int, str]:
        """`login`, with somebody at a browser; its exit code, and what it says."""
        args = command("gateway", "login", "notes", "--no-browser", *more, "-c", str(self.folder / "servers.json"))
        pipes: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with popen(args, cwd=ROOT, env=os.environ, **pipes) as process:
            try:
                assert process.stdout is not None
                if link := process.stdout.readline().decode().strip():
                    browse(link, process)
                return process.wait(SECONDS), process.stderr.read().decode() if process.stderr else ""
            finally:
                process.kill()

    def state(self) -> dict[str, Any]:
        (found,) = httpx2.get(f"{self.base}/upstreams", timeout=30).json()["upstreams"]
        return found

    def until(self, state: str) -> dict[str, Any]:
        latest = time.monotonic() + SECONDS
        while (found := self.state())["state"] != state:
            assert time.monotonic() < latest, found
            time.sleep(0.05)
        return found

    def log(self) -> list[str]:
        """What the authorization server did."""
        return httpx2.get(f"{self.server}/log", timeout=30).json()


def automatic(link: str, process: "subprocess.Popen[bytes]") -> None:
    page = httpx2.get(link, follow_redirects=True, timeout=30)
    assert "You are logged in to notes" in page.text
    assert "script" not in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cache-control"] == "no-store"


def by_hand(link: str, process: "subprocess.Popen[bytes]") -> None:
    """The browser is on another machine; somebody pastes the address that it could not open."""
    assert process.stdin is not None
    process.stdin.write(b"https://elsewhere.example/callback?code=x&state=y\n")
    process.stdin.write(httpx2.get(link, timeout=30).headers["location"].encode() + b"\n")
    process.stdin.flush()


def forged(link: str, process: "subprocess.Popen[bytes]") -> None:
    """Somebody else's page calls first, with a code and a state of its own."""
    back = httpx2.get(link, timeout=30).headers["location"]
    address, _, query = back.partition("?")
    for wrong in (
        f"{address}?code=evil&state=evil",
        f"{address}?code=evil",
        f"{address.replace('callback', 'x')}?{query}",
    ):
        assert httpx2.get(wrong, timeout=30).status_code in (400, 404)
    rebound = httpx2.get(back, headers={"host": "evil.example"}, timeout=30)
    assert rebound.status_code == 404
    assert "You are logged in" in httpx2.get(back, timeout=30).text


@contextmanager
def desk(folder: Path, *arguments: str) -> Generator[Desk]:
    folder.mkdir(exist_ok=True)
    with http_server("tests.servers.guarded", *arguments) as url:
        entry = {"url": url}
        settings: dict[str, Any] = {"log_file": str(folder / "log"), "log_level": "debug", **PATIENT}
        with http_gateway(folder, {"notes": entry}, **settings) as gateway:
            yield Desk(folder, gateway.base, url.removesuffix("/mcp"))


@pytest.mark.parametrize("browse", [by_hand, forged])
def test_other_ways_in(tmp_path: Path, browse: Callable[[str, "subprocess.Popen[bytes]"], None]) -> None:
    with desk(tmp_path) as here:
        assert here.log_in(browse)[0] == 0
        here.until("ready")
        assert here.log().count("granted") == 1


def test_in_and_out(tmp_path: Path) -> None:
    with desk(tmp_path) as here:
        reason = here.until("login needed")["reason"]
        assert reason.startswith(f"nobody has logged in yet; open {here.base}/connect/notes?for=")
        assert reason.endswith(" or run `mcp-gateway login notes`")
        assert "run `mcp-gateway login notes`" in here.verb("tools").stderr
        assert here.log_in(automatic)[0] == 0
        here.until("ready")
        called = here.verb("call", "notes__who")
        assert called.stdout.rstrip().endswith(" notes"), called
        (login,) = json.loads(here.verb("logins", "--json").stdout)
        assert (login["server"], login["scopes"], login["renews"]) == ("notes", ["notes"], True)
        httpx2.post(f"{here.server}/forget", timeout=30)
        assert here.verb("call", "notes__who").returncode == 0
        assert here.log().count("refreshed") == 1
        out = here.verb("logout", "notes")
        assert "told its authorization server" in out.stderr
        assert here.log()[-1] == "revoked"
        here.until("login needed")
        assert "Nobody is logged in" in here.verb("logins").stderr
        assert here.verb("logout", "notes").returncode == 1
        _no_canary(here)


def _no_canary(here: Desk) -> None:
    """No token, code or refresh token where anybody could read it."""
    files = [path for path in here.folder.rglob("*") if path.is_file()]
    assert here.folder / "log" in files
    texts = [path.read_bytes().decode("latin-1") for path in files]
    texts += [
        httpx2.get(f"{here.base}{path}", timeout=30).text for path in ("/upstreams", "/status", "/metrics", "/info")
    ]
    texts += [here.verb("logins").stdout, here.verb("logins", "--json").stdout]
    assert not any(CANARY.search(text) for text in texts)


def test_what_cannot_be_logged_in_to_says_why(tmp_path: Path) -> None:
    servers = {
        "program": {"command": "x"},
        "machine": {
            "url": "https://a.example/mcp",
            "auth": {"client_credentials": {"client_id": "x", "client_secret": "y" * 8}},
        },
        "closed": {"url": "http://127.0.0.1:9/mcp"},
    }
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"gateway": {"state_dir": str(tmp_path / "state")}, "servers": servers}))
    here = Desk(tmp_path, "", "")
    for name, words in (("program", "nobody logs in"), ("machine", "by itself"), ("closed", "cannot be reached")):
        said = here.verb("login", name, "--no-browser")
        assert said.returncode != 0
        assert words in said.stderr
