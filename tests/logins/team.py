"""A gateway in front of a server that everybody logs in to for themselves: people with keys, and their browsers."""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from gateway.access.key_edit import create
from tests.interaction._gateway import http_gateway
from tests.logins.authority import Authority

PATIENCE: Final = 30.0


@dataclass
class Browser:
    """Somebody's, without script: follows no link by itself, and keeps cookies."""

    base: str
    client: httpx2.AsyncClient
    shown: httpx2.Response | None = None

    async def open(self, link: str) -> httpx2.Response:
        self.shown = await self.client.get(link)
        return self.shown

    async def post(self, link: str, key: str, **more: str) -> httpx2.Response:
        """Type a key into the form that is shown, and send it."""
        assert self.shown is not None
        token = re.search(r'name="token" value="([^"]+)"', self.shown.text)
        form = {"token": token[1] if token else "", "key": key, **more}
        headers = {"origin": self.base, "sec-fetch-site": "same-origin"}
        self.shown = await self.client.post(link, data=form, headers=headers)
        return self.shown

    def onward(self) -> str:
        """Where the page sends it."""
        assert self.shown is not None
        assert self.shown.status_code == 200, self.shown.text
        refresh = re.search(r'http-equiv="refresh" content="0;url=([^"]+)"', self.shown.text)
        assert refresh, self.shown.text
        return unescape(refresh[1])

    async def log_in(self, server: Authority, link: str, key: str) -> httpx2.Response:
        """All the way, as who may."""
        await self.open(link)
        await self.post(link, key)
        return await self.come_back(server.approve(self.onward()))

    async def come_back(self, answer: Mapping[str, str]) -> httpx2.Response:
        return await self.open(f"{self.base}/oauth/callback?{urlencode(answer)}")


@dataclass
class Team:
    base: str
    folder: Path
    keys: dict[str, str] = field(default_factory=dict[str, str])
    """By name."""
    browsers: list[httpx2.AsyncClient] = field(default_factory=list[httpx2.AsyncClient])

    async def __aenter__(self) -> "Team":
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self.browsers:
            await client.aclose()

    def link(self, server: str = "up") -> str:
        return f"{self.base}/connect/{server}"

    async def browser(self) -> Browser:
        client = httpx2.AsyncClient(timeout=PATIENCE)
        self.browsers.append(client)
        return Browser(self.base, client)

    async def rest(self, who: str, method: str, path: str) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=PATIENCE) as client:
            return await client.request(method, f"{self.base}{path}", headers={"x-api-key": self.keys[who]})

    def files(self) -> bytes:
        """All that is written anywhere below the folder, the keys' file apart."""
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())


@asynccontextmanager
async def team(
    folder: Path, servers: Mapping[str, Any], names: tuple[str, ...] = ("ann", "bob"), **settings: Any
) -> AsyncGenerator[Team]:
    """A gateway that runs until the block ends, with a key for each of these."""
    keys = folder / "api_keys.json"
    made = {name: create(keys, name)[0] for name in names}
    given: dict[str, Any] = {
        "auth": {"enabled": True, "api_keys_file": str(keys)},
        "log_level": "debug",
        "log_file": str(folder / "log"),
        **settings,
    }
    with http_gateway(folder, servers, **given) as gateway:
        async with Team(gateway.base, folder, made) as here:
            yield here


def team_of(base: str, folder: Path, keys: Sequence[Mapping[str, str]]) -> Team:
    """Of a gateway that runs, with these entries of its file of keys."""
    return Team(base, folder, {each["owner"]: each["key"] for each in keys})


def query_of(link: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}
