"""Over stdio: a server that needs a login offers it through URL elicitation, with a page on this machine."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.interaction._gateway import PATIENT, config_file
from tests.logins.authority import Authority, authority
from tests.logins.team import Browser, query_of
from tests.support import ROOT, wait_until

pytestmark = pytest.mark.anyio


@dataclass
class Person:
    """Whoever sits at the desk: agrees to visit pages, and logs in there by and by."""

    server: Authority
    asked: list[str] = field(default_factory=list[str])
    changes: list[str] = field(default_factory=list[str])

    async def answer(self, context: Any, params: Any) -> types.ElicitResult:
        self.asked.append(params.url)
        return types.ElicitResult(action="accept")

    async def hear(self, message: Any) -> None:
        self.changes.append(getattr(message, "method", ""))

    async def log_in(self) -> None:
        await wait_until(lambda: self.asked, 30)
        link = self.asked[-1]
        parts = urlsplit(link)
        assert (parts.hostname, parts.path) == ("127.0.0.1", "/connect/up")
        base = f"{parts.scheme}://{parts.netloc}"
        async with httpx2.AsyncClient(timeout=30) as client:
            browser = Browser(base, client)
            shown = await browser.open(link)
            assert 'type="password"' not in shown.text
            await browser.post(link, "")
            onward = browser.onward()
            assert query_of(onward)["redirect_uri"] == f"{base}/callback"
            done = await browser.open(f"{base}/callback?" + str(httpx2.QueryParams(self.server.approve(onward))))
            assert "You are logged in to up" in done.text


@asynccontextmanager
async def at_a_desk(folder: Path, server: Authority, mode: Any) -> AsyncGenerator[tuple[Client, Person]]:
    path = config_file(folder, {"up": {"url": server.url}}, **PATIENT)
    args = ["-m", "gateway", "stdio", "-c", str(path)]
    person = Person(server)
    transport = stdio_client(StdioServerParameters(command=sys.executable, args=args, cwd=str(ROOT)))
    options: dict[str, Any] = {"elicitation_callback": person.answer, "message_handler": person.hear}
    async with Client(transport, mode=mode, cache=None, read_timeout_seconds=60, **options) as client:
        yield client, person


async def tools(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_tool_asks_and_the_tools_are_there(tmp_path: Path, mode: str) -> None:
    async with authority() as (server, _), at_a_desk(tmp_path, server, mode) as (client, person):

        async def is_offered() -> bool:
            return await tools(client) == ["up__login"]

        await wait_until(is_offered, 30)
        async with anyio.create_task_group() as tg:
            tg.start_soon(person.log_in)
            assert "You are logged in to up" in str((await client.call_tool("up__login", {})).content)
        assert await tools(client) == ["up__a"]
        assert "a" in str((await client.call_tool("up__a", {})).content)
        assert (tmp_path / "state" / "logins").is_dir()


async def test_nobody_else_on_this_machine_can_log_in_for_them(tmp_path: Path) -> None:
    async with authority() as (server, _), at_a_desk(tmp_path, server, "legacy") as (client, person):

        async def is_offered() -> bool:
            return await tools(client) == ["up__login"]

        await wait_until(is_offered, 30)
        async with anyio.create_task_group() as tg:
            tg.start_soon(person.log_in)
            await client.call_tool("up__login", {})
        parts = urlsplit(person.asked[-1])
        base = f"{parts.scheme}://{parts.netloc}"
        async with httpx2.AsyncClient(timeout=30) as http:
            browser = Browser(base, http)
            for link in (f"{base}/connect/up", f"{base}/connect/up?for={'0' * 32}"):
                await browser.open(link)
                assert (await browser.post(link, "")).status_code == 403
            rebound = await http.get(person.asked[-1], headers={"host": "evil.example"})
            assert rebound.status_code == 421
            assert (await http.get(f"{base}/mcp")).status_code == 404
            assert (await http.get(f"{base}/upstreams")).status_code == 404
        assert len(server.registered) == 1
