"""What a gateway that runs says in its audit log, and what it does while it cannot write it."""

import json
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

from tests.interaction._gateway import PATIENT, Gateway, child, config_file, http_gateway
from tests.interaction._http import fields
from tests.interaction._wire import request
from tests.support import command, run_program, wait_until

pytestmark = pytest.mark.anyio

SECONDS: Final = 30.0
CANARY: Final = "canary-in-an-argument"
KEY: Final = "audit-canary-audit-canary-audit-canary"


@dataclass
class House:
    folder: Path
    gateway: Gateway
    key: str

    @property
    def log(self) -> Path:
        return self.folder / "audit"

    @asynccontextmanager
    async def client(self, key: str | None = None) -> AsyncGenerator[httpx2.AsyncClient]:
        headers = {"x-api-key": key or self.key}
        async with httpx2.AsyncClient(base_url=self.gateway.base, timeout=SECONDS, headers=headers) as made:
            yield made

    async def line(self, **members: Any) -> dict[str, Any]:
        """The first line that has these, once it is there."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            lines = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
            found[:] = [line for line in lines if members.items() <= line.items()]
            return bool(found)

        await wait_until(look, SECONDS)
        return found[0]


def made_key(folder: Path, owner: str, *scopes: str) -> str:
    args = command("gateway", "keys", "create", "--file", str(folder / "keys.json"), "--owner", owner)
    args += [word for scope in scopes for word in ("--scope", scope)]
    return run_program(args).stdout.split()[-1]


@contextmanager
def house(folder: Path, **audit: Any) -> Generator[House]:
    """A gateway with an audit log, and somebody who may do all."""
    key = made_key(folder, "alice", "read", "write", "admin")
    settings: dict[str, Any] = {
        "auth": {"enabled": True, "api_keys_file": str(folder / "keys.json")},
        "audit": {"file": str(folder / "audit"), "key": KEY, **audit},
        "log_file": str(folder / "gateway.log"),
        "rate_limit": {"default_rpm": -1},
        "policy": [{"who": ["*"], "deny": ["up__test_error_handling"]}],
        **PATIENT,
    }
    with http_gateway(folder, {"up": child("tests.servers.everything")}, **settings) as gateway:
        yield House(folder, gateway, key)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    rules = [
        {"tools": ["*simple_text"], "arguments": "redact", "mask": ["private", "deep.*"]},
        {"tools": ["*image*"], "arguments": "off"},
    ]
    with house(tmp_path_factory.mktemp("audit"), arguments="hash", rules=rules) as home:
        yield home


async def call(http: httpx2.AsyncClient, tool: str = "test_simple_text", **arguments: Any) -> httpx2.Response:
    message = request("tools/call", {"name": f"up__{tool}", "arguments": arguments}, modern=True)
    return await http.post("/mcp", json=message, headers=fields(message))


async def test_a_call_is_said_with_who_and_what(home: House) -> None:
    async with home.client() as http:
        answer = await call(http, private=CANARY, api_key=CANARY, deep={"inner": CANARY}, plain="shown")
    line = await home.line(request_id=answer.headers["x-request-id"])
    assert (line["event"], line["target"], line["upstream"], line["outcome"]) == (
        *("call", "up__test_simple_text", "up", "ok"),
    )
    assert (line["owner"], line["address"]) == ("alice", "127.0.0.1")
    assert line["principal"].startswith("key:")
    assert line["arguments"] == {"private": "***", "api_key": "***", "deep": {"inner": "***"}, "plain": "shown"}


async def test_arguments_are_hashed_or_left_out_by_rule(home: House) -> None:
    async with home.client() as http:
        ids = [
            (await call(http, "test_audio_content", **arguments)).headers["x-request-id"]
            for arguments in ({"a": CANARY, "b": 1}, {"b": 1, "a": CANARY}, {"a": CANARY, "b": 2})
        ]
        silent = (await call(http, "test_image_content", a=CANARY)).headers["x-request-id"]
        large = (await call(http, "test_audio_content", a=CANARY * 10_000)).headers["x-request-id"]
    hashes = [(await home.line(request_id=id))["arguments_hash"] for id in ids]
    assert hashes[0] == hashes[1] != hashes[2]
    assert not [name for name in await home.line(request_id=silent) if name.startswith("arguments")]
    assert (await home.line(request_id=large))["arguments_bytes"] > 200_000


async def test_what_is_refused_is_said(home: House) -> None:
    async with home.client() as http, home.client("wrong") as stranger:
        unknown = await stranger.get("/upstreams")
        await call(stranger)
        denied = await call(http, "test_error_handling")
        view = await http.post("/mcp/nobody", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        host = await http.get("/mcp", headers={"host": "evil.example"})
        hidden = await http.delete("/mcp", headers={"mcp-session-id": "stolen"})
        agent = (await http.post("/agents/register", json={"agent_name": "bot", "requested_scopes": ["read"]})).json()
        token = {"x-agent-token": agent["token"], "x-api-key": ""}
        del http.headers["x-api-key"]
        del token["x-api-key"]
        scope = await http.get("/log-level", headers=token)
    for answer, outcome in (
        (unknown, "unauthenticated"),
        (denied, "unknown_tool"),
        (view, "unknown_upstream"),
        (host, "forbidden"),
        (hidden, "no_session"),
        (scope, "forbidden"),
    ):
        line = await home.line(request_id=answer.headers["x-request-id"])
        assert (line["event"], line["outcome"]) == ("refused", outcome), line
    assert (await home.line(request_id=hidden.headers["x-request-id"]))["owner"] == "alice"
    assert (await home.line(request_id=scope.headers["x-request-id"]))["principal"].startswith("agent:")


async def test_what_is_changed_is_said(home: House) -> None:
    await home.line(what="pins")  # until it is known what it offers, it is there for nobody whom the policy restricts
    async with home.client() as http:
        session = (await http.post("/agents/register", json={"agent_name": "worker"})).json()["session"]["id"]
        await http.delete(f"/agents/sessions/{session}")
        await http.post("/upstreams/up/restart")
        await http.put("/log-level", json={"level": "debug"})
    made_key(home.folder, "bob", "read")
    config = json.loads((home.folder / "servers.json").read_text())
    config["gateway"]["page_size"] = 77
    (home.folder / "servers.json").write_text(json.dumps(config))
    assert (await home.line(what="agent_registered", agent_name="worker"))["owner"] == "alice"
    assert (await home.line(what="agent_revoked", agent=session))["owner"] == "alice"
    assert (await home.line(what="revoked"))["principals"] == [f"agent:{session}"]
    assert (await home.line(what="upstream_restarted"))["upstream"] == "up"
    assert (await home.line(what="log_level"))["level"] == "debug"
    assert len((await home.line(what="keys"))["added"]) == 1
    assert (await home.line(what="config"))["settings"] == ["page_size"]
    assert (await home.line(what="pins"))["upstreams"] == ["up"]


async def test_a_flood_of_refusals_is_counted_and_not_written_out(home: House) -> None:
    before = home.log.read_text().count("\n") if home.log.exists() else 0
    async with home.client("guess") as stranger:
        for _ in range(60):
            await stranger.get("/upstreams")
    async with home.client() as http:
        await home.line(request_id=(await call(http)).headers["x-request-id"])
    assert home.log.read_text().count("\n") - before < 50


async def test_it_is_whole_and_holds_no_secret(home: House) -> None:
    args = command("gateway", "audit", "verify", "-c", str(home.folder / "servers.json"))
    ended = run_program(args)
    assert (ended.returncode, ended.stderr) == (0, "")
    text = home.log.read_text()
    for secret in (CANARY, KEY, home.key.partition("_")[2][20:]):
        assert secret not in text


@pytest.mark.parametrize("on_failure", ["refuse", "continue"])
async def test_a_full_disk_refuses_calls_or_lets_them_pass(tmp_path: Path, on_failure: str) -> None:
    """The folder is taken away: the file cannot be opened anew, as none can on a disk that has failed."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with house(tmp_path, file=str(folder / "audit"), on_failure=on_failure) as home:
        async with home.client() as http:
            assert "result" in (await call(http)).json()
            os.rename(folder, tmp_path / "gone")

            async def is_noticed() -> bool:
                await call(http)
                return '"the audit log cannot be written"' in log_of(home)

            await wait_until(is_noticed, SECONDS)
            assert "mcp_gateway_audit_trouble 1.0" in (await http.get("/metrics")).text
            answer = await call(http)
            registered = await http.post("/agents/register", json={"agent_name": "late"})
            listed = await http.get("/upstreams")
            if on_failure == "refuse":
                assert "The audit log cannot be written" in answer.json()["error"]["message"]
                assert (registered.status_code, registered.json()["error"]["code"]) == (503, "audit_not_written")
            else:
                assert "result" in answer.json()
                assert registered.status_code == 201
            assert listed.status_code == 200
            folder.mkdir()

            async def works() -> bool:
                return "result" in (await call(http)).json() and (folder / "audit").exists()

            await wait_until(works, SECONDS)
    (tmp_path / "key").write_text(KEY)
    files = [str(tmp_path / "gone" / "audit"), str(folder / "audit")]
    options = ["--key-file", str(tmp_path / "key"), "--heads", str(tmp_path / "state" / "audit")]
    args = command("gateway", "audit", "verify", *files, *options)
    ended = run_program(args)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def log_of(home: House) -> str:
    return (home.folder / "gateway.log").read_text()


@pytest.mark.parametrize(
    "audit", [{"key": KEY}, {"key": KEY, "file": "a", "stream": "stderr"}, {"key": "short", "file": "a"}]
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, audit: dict[str, str]) -> None:
    config = config_file(tmp_path, {}, audit=audit)
    args = command("gateway", "serve", "-c", str(config))
    ended = run_program(args)
    assert ended.returncode == 2
    assert "gateway.audit" in ended.stderr
    assert KEY not in ended.stderr


def test_what_cannot_be_written_at_the_start_is_said(tmp_path: Path) -> None:
    config = config_file(tmp_path, {}, audit={"key": KEY, "file": str(tmp_path / "nowhere" / "audit")})
    args = command("gateway", "serve", "-c", str(config))
    ended = run_program(args)
    assert (ended.returncode, "Traceback" in ended.stderr) == (3, False)
    assert "gateway.audit" in ended.stderr
    assert "No such file or directory" in ended.stderr
