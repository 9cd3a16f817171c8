"""What the gateway says of a server that each logs in to for themselves: to each, how it is for them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.interaction._http import post
from tests.interaction._wire import request
from tests.logins.authority import authority
from tests.logins.team import Team, team
from tests.servers.wire import encode
from tests.support import ROOT, wait_until
from tests.upstream.ends import Got, response

pytestmark = pytest.mark.anyio


async def upstream(here: Team, who: str, path: str = "/upstreams/up") -> dict[str, Any]:
    answer = await here.rest(who, "GET", path)
    assert answer.status_code == 200, answer.text
    content = answer.json()
    return content["upstreams"][0] if "upstreams" in content else content


async def list_tools(here: Team, who: str) -> None:
    headers = {"X-Api-Key": here.keys[who]}
    status, _ = await anyio.to_thread.run_sync(post, f"{here.base}/mcp", request("tools/list"), headers)
    assert status == 200


@pytest.mark.parametrize("login", ["each", "auto"])
async def test_it_is_for_each_what_it_is_for_them(tmp_path: Path, login: str) -> None:
    async with (
        authority() as (server, _),
        team(tmp_path, {"up": {"url": server.url, "auth": {"login": login}}}) as here,
    ):

        async def wants_login() -> bool:
            return (await upstream(here, "ann"))["state"] == "login needed"

        await wait_until(wants_login, 30)  # "auto": the server says so first
        mine = (await here.rest("ann", "GET", "/connections")).json()["connections"][0]["connect"]
        for path in ("/upstreams", "/upstreams/up", "/status"):
            found = await upstream(here, "ann", path)
            assert (found["state"], found["connect"]) == ("login needed", mine)
            assert found["reason"] == f"you have not logged in yet; open {mine}"
            others = await upstream(here, "bob", path)
            assert others["state"] == "login needed"
            assert others["connect"] != mine, "a link that is marked for one"
        await (await here.browser()).log_in(server, mine, here.keys["ann"])
        for path in ("/upstreams", "/upstreams/up", "/status"):
            found = await upstream(here, "ann", path)
            assert (found["state"], found["reason"], found["connect"]) == ("ready", None, None)
            found = await upstream(here, "bob", path)
            assert (found["state"], mine in found["reason"]) == ("login needed", False)
        await here.rest("ann", "DELETE", "/connections/up")
        assert (await upstream(here, "ann"))["state"] == "login needed"


async def test_it_counts_what_each_has(tmp_path: Path) -> None:
    async with authority() as (server, _), team(tmp_path, {"up": {"url": server.url, "auth": "each"}}) as here:
        assert (await upstream(here, "ann"))["tools"] == 1, "the way to log in"
        await (await here.browser()).log_in(server, here.link(), here.keys["ann"])

        async def listed(got: Got) -> None:
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in "abc"]
            result = {"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "result": result})))

        server.mcp.on["tools/list"] = listed

        async def has_three() -> bool:
            await list_tools(here, "ann")
            return (await upstream(here, "ann"))["tools"] == 3

        await wait_until(has_three, 30)
        assert (await upstream(here, "bob"))["tools"] == 1


async def test_the_command_shows_the_link_whole_and_finds_nothing_wrong(tmp_path: Path) -> None:
    async with authority() as (server, _), team(tmp_path, {"up": {"url": server.url, "auth": "each"}}) as here:
        command = [sys.executable, "-m", "gateway", "status", "--url", here.base]
        env = {**os.environ, "MCP_GATEWAY_KEY": here.keys["ann"], "COLUMNS": "100", "NO_COLOR": "1"}
        run = lambda: subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)  # noqa: E731
        done = await anyio.to_thread.run_sync(run)
        link = (await upstream(here, "ann"))["connect"]
        assert "login needed" in done.stdout
        assert link in done.stdout.replace("\n", "")
        assert done.returncode == 0, done.stdout + done.stderr


async def test_commands_that_try_servers_do_not_wait_for_what_nobody_has(tmp_path: Path) -> None:
    async with authority() as (server, wire), team(tmp_path, {"up": {"url": server.url, "auth": "each"}}):
        for verb in ("tools", "doctor"):
            command = [sys.executable, "-m", "gateway", verb, "-c", str(tmp_path / "servers.json")]
            run = lambda: subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)  # noqa: E731, B023
            done = await anyio.to_thread.run_sync(run)
            assert done.returncode == 0, done.stdout + done.stderr
            assert ("up__login" in done.stdout) is (verb == "tools")
            assert ("everybody logs in to it for themselves" in done.stdout) is (verb == "doctor")
        assert wire.got == [], "nor ask what only somebody's login would show"


async def test_who_logs_out_takes_what_is_there_then_for_seen_first(tmp_path: Path) -> None:
    servers: dict[str, Any] = {"up": {"auth": "each", "pin": "block"}}
    async with authority() as (server, _):
        servers["up"]["url"], text = server.url, ["Adds."]

        async def listed(got: Got) -> None:
            tools = [{"name": "a", "description": text[-1], "inputSchema": {"type": "object"}}]
            result = {"tools": tools, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
            await got.send(response(encode({"jsonrpc": "2.0", "id": got.json()["id"], "result": result})))

        server.mcp.on["tools/list"] = listed
        async with team(tmp_path, servers, rate_limit={"default_rpm": -1}) as here:

            async def shows() -> bool:
                headers = {"X-Api-Key": here.keys["ann"]}
                _, answer = await anyio.to_thread.run_sync(post, f"{here.base}/mcp", request("tools/list"), headers)
                return [tool.get("description") for tool in answer["result"]["tools"]] == text[-1:]

            for _ in range(2):
                await (await here.browser()).log_in(server, here.link(), here.keys["ann"])
                await wait_until(shows, 30)
                text.append("Adds, and more.")
                await here.rest("ann", "DELETE", "/connections/up")
