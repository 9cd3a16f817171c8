"""A real authorization server as a process, and logging in there as a person with a browser would, by the SDK's client.

It is npm's `oidc-provider`, fetched once into the tests' cache with the registry's ordinary client.
"""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.public.packages import FETCH_SECONDS, NODE_MAJOR, NOT_THERE, OutOfReach
from tests.support import free_port, listens, run_process

OIDC_PROVIDER: Final = "9.13.3"
PROGRAM: Final = Path(__file__).with_name("authorization_server.mjs")

REDIRECT: Final = "http://127.0.0.1:9/callback"
"""Where the browser is sent in the end. Nobody listens there: the address alone says it all."""
MAX_REDIRECTS: Final = 10


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """One that runs. It knows alice (read, write), bob (read), root (read, write, admin), and late, whose tokens have
    expired when she gets them; see the program."""

    url: str
    """Its issuer identifier."""

    def events(self) -> list[str]:
        """What it did, as it calls that."""
        return httpx2.get(f"{self.url}/events", timeout=30).json()

    def log_in(
        self, server_url: str, person: str = "alice", client_id: str = "", scope: str = "", token: str = ""
    ) -> OAuthClientProvider:
        """What to give `httpx2.AsyncClient(auth=…)`, or an MCP transport's client, so that it logs in when it must.

        Args:
            client_id: `console`, which may ask for every scope; by default a client registers itself.
            scope: all that the person consents to the first time.
            token: an access token that the client holds from before.
        """
        browser = Browser(person, scope)
        metadata = OAuthClientMetadata(
            client_name="a test",
            redirect_uris=[AnyUrl(REDIRECT)],
            grant_types=["authorization_code"],
            token_endpoint_auth_method="none",
        )
        known = OAuthClientInformationFull(client_id=client_id, **metadata.model_dump()) if client_id else None
        held = OAuthToken(access_token=token) if token else None
        return OAuthClientProvider(server_url, metadata, Memory(known, held), browser.open, browser.result)

    async def token(self, server_url: str, person: str = "alice", scope: str = "") -> str:
        """An access token for a protected resource that runs: by its challenge and metadata, dynamic registration, and
        the authorization code with PKCE."""
        auth = self.log_in(server_url, person, scope=scope)
        async with httpx2.AsyncClient(auth=auth, timeout=30) as client:
            await client.post(server_url, json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
        return held(auth)


def held(auth: OAuthClientProvider) -> str:
    """The access token that a client got."""
    tokens = auth.context.current_tokens
    assert tokens is not None, "the server asked for no token"
    return tokens.access_token


def claims_in(token: str) -> dict[str, Any]:
    """What is in a token, whoever signed it."""
    return jwt.decode(token, options={"verify_signature": False})


class Browser:
    """A person at a browser, who clicks on, but the first time may strike out all that is asked for but `scope`."""

    def __init__(self, person: str, scope: str = "") -> None:
        self._person = person
        self._scope = scope
        self._landed = ""

    async def open(self, url: str) -> None:
        changed = {"login_hint": self._person} | ({"scope": self._scope} if self._scope else {})
        self._scope = ""
        url = str(httpx2.URL(url).copy_merge_params(changed))
        async with httpx2.AsyncClient(timeout=30) as client:
            for _ in range(MAX_REDIRECTS):
                response = await client.get(url)
                assert response.is_redirect, response.text
                url = str(response.url.join(response.headers["location"]))
                if url.startswith(REDIRECT):
                    self._landed = url
                    return
        raise AssertionError(f"still redirected after {MAX_REDIRECTS} times: {url}")

    async def result(self) -> AuthorizationCodeResult:
        said = {name: values[0] for name, values in parse_qs(urlsplit(self._landed).query).items()}
        assert "code" in said, said
        return AuthorizationCodeResult(code=said["code"], state=said.get("state"), iss=said.get("iss"))


class Memory:
    """The SDK's `TokenStorage`, for the length of a test."""

    def __init__(self, client: OAuthClientInformationFull | None, tokens: OAuthToken | None) -> None:
        self._client = client
        self._tokens = tokens

    async def get_tokens(self) -> OAuthToken | None:
        return self._tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self._tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self._client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self._client = client_info


@contextmanager
def authorization_server(*, pages: bool = False, **environment: str) -> Generator[AuthorizationServer]:
    """Run one on a free port.

    Args:
        pages: whether people log in and consent on the pages that it comes with.
        environment: what it is told besides.

    Raises:
        OutOfReach: it is not to be had on this machine.
    """
    modules = fetch()
    port = free_port()
    command = ["node", str(PROGRAM), str(port), str(modules), *(["pages"] if pages else [])]
    with run_process(command, ready=lambda: listens(port), env=environment):
        yield AuthorizationServer(f"http://127.0.0.1:{port}")


def fetch() -> Path:
    """The folder whose `node_modules` has `oidc-provider`, installed now if it is not there whole.

    Raises:
        OutOfReach: it is neither there nor to be had.
    """
    version = _run(["node", "--version"]).strip()
    if int(version.lstrip("v").partition(".")[0]) < NODE_MAJOR:
        raise OutOfReach(f"Node.js {version} is older than {NODE_MAJOR}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-gateway-tests" / "oidc"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / OIDC_PROVIDER
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            manifest = {"private": True, "dependencies": {"oidc-provider": OIDC_PROVIDER}}
            (folder / "package.json").write_text(json.dumps(manifest))
            _run(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1"], folder)
            (folder / ".complete").touch()
    return folder


def _run(command: list[str], folder: Path | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=FETCH_SECONDS)
    except FileNotFoundError:
        raise OutOfReach(f"there is no {command[0]} on PATH") from None
    except subprocess.TimeoutExpired:
        raise OutOfReach(f"{command[0]} took longer than {FETCH_SECONDS:g} s") from None
    assert not any(word in done.stderr for word in NOT_THERE), done.stderr
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise OutOfReach(f"{command[0]} could not fetch oidc-provider: {' / '.join(said)[-400:]}")
    return done.stdout
