"""Logins at servers and authorization servers that others wrote, by `mcp-gateway login` and a gateway that runs:

- FastMCP's server, with `oidc-provider` as its authorization server: by registration, and by the document that the
  gateway publishes (CIMD);
- FastMCP's OAuth proxy, which logs people in at `oidc-provider` and is an authorization server itself;
- the SDK's example of an authorization server, with its resource server.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import httpx2
import msgspec
import pytest

from gateway.logins.record import Login
from gateway.logins.vault import FileVault
from tests.certificates import issue
from tests.interaction._gateway import http_gateway
from tests.logins.test_desk import Desk
from tests.oauth.authorization_server import AuthorizationServer, authorization_server
from tests.public.packages import OutOfReach, Packages, sdk_source
from tests.public.pages import click_through
from tests.support import free_port, listens, run_process

FASTMCP: Final = Path(__file__).with_name("fastmcp_logins.py")
STATE_KEYS: Final = ["k" * 32]
ANSWERS: Final = {"login": "alice", "password": "anything", "action": "approve"}
START_SECONDS: Final = 90.0

Walk = Callable[[str], str]
"""Opens a link, goes through the pages, and returns the last one's text."""


def by_forms(link: str) -> str:
    return click_through(link, ANSWERS).text


@dataclass(frozen=True)
class GuardedPlace(Desk):
    """A gateway before a server of somebody else's, which it calls `notes`."""

    @property
    def vault(self) -> FileVault:
        return FileVault(self.folder / "state" / "logins", STATE_KEYS)

    def login(self) -> Login:
        """The one there is."""
        (found,) = anyio.run(self.vault.all)
        return found

    def enter(self, walk: Walk = by_forms) -> str:
        """Log in on the pages; what the command says."""

        def browse(link: str, process: "subprocess.Popen[bytes]") -> None:
            last = walk(link)
            assert "You are logged in to notes" in last, last[-900:]

        code, said = self.log_in(browse)
        assert code == 0, said
        return said

    def call(self, tool: str = "who") -> str:
        done = self.verb("call", f"notes__{tool}")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def renewed(self) -> tuple[Login, Login]:
        """Have whoever looks next find that the access token has ended. The login before that and afterwards."""
        before = self.login()
        anyio.run(self.vault.put, msgspec.structs.replace(before, expires=1.0, renew_at=1.0))
        assert self.call().startswith("alice with")
        return before, self.login()

    def leave(self) -> None:
        assert "told its authorization server" in self.verb("logout", "notes").stderr


@contextmanager
def gateway_before(folder: Path, url: str, **settings: Any) -> Generator[GuardedPlace]:
    with http_gateway(folder, {"notes": {"url": url}}, state_keys=STATE_KEYS, **settings) as gateway:
        yield GuardedPlace(folder, gateway.base, "")


@contextmanager
def fastmcp(packages: Packages, kind: str, **environment: str) -> Generator[tuple[str, AuthorizationServer]]:
    """A FastMCP server's URL, and the authorization server where people log in in the end."""
    port = free_port()
    with authorization_server(pages=True, PROXY=f"http://127.0.0.1:{port}", **environment) as issuer:
        program = [str(packages.programs / "python"), str(FASTMCP), kind, str(port), issuer.url]
        with run_process(program, ready=lambda: listens(port), within=START_SECONDS):
            yield f"http://127.0.0.1:{port}/mcp", issuer


@dataclass(frozen=True)
class Remote:
    """FastMCP's server, and `oidc-provider`, which fetches documents from a gateway with that certificate."""

    url: str
    issuer: AuthorizationServer
    tls: dict[str, str]

    def events(self) -> Counter[str]:
        return Counter(self.issuer.events())


@pytest.fixture(scope="module")
def remote(packages: Packages, tmp_path_factory: pytest.TempPathFactory) -> Generator[Remote]:
    certificate, key = issue("localhost").write(tmp_path_factory.mktemp("tls"), "gateway")
    with fastmcp(packages, "remote", NODE_EXTRA_CA_CERTS=str(certificate)) as (url, issuer):
        yield Remote(url, issuer, {"cert": str(certificate), "key": str(key)})


def test_registered_at_oidc_provider(remote: Remote, tmp_path: Path) -> None:
    before = remote.events()
    with gateway_before(tmp_path, remote.url) as here:
        here.until("login needed")
        assert remote.issuer.url in here.enter()
        here.until("ready")
        first, second = here.renewed()
        assert second.refresh != first.refresh
        here.leave()
        here.until("login needed")
    events = remote.events() - before
    assert events["registration_create.success"] == events["refresh_token.consumed"] == 1
    assert events["grant.revoked"]
    used = {"grant_type": "refresh_token", "refresh_token": second.refresh, "client_id": second.registered.id}
    again = httpx2.post(f"{remote.issuer.url}/token", data=used, timeout=30)
    assert again.json()["error"] == "invalid_grant"


def test_known_by_the_document_that_the_gateway_publishes(remote: Remote, tmp_path: Path) -> None:
    before, port = remote.events(), free_port()
    public = {"public_url": f"https://localhost:{port}", "port": port, "tls": remote.tls}
    with gateway_before(tmp_path, remote.url, **public) as here:
        here.enter()
        first, second = here.renewed()
        assert first.registered.id == f"https://localhost:{port}/client-metadata.json"
        assert second.refresh != first.refresh
        here.leave()
    events = remote.events() - before
    assert events["registration_create.success"] == 0
    assert events["grant.revoked"]


def test_fastmcps_proxy(packages: Packages, tmp_path: Path) -> None:
    with fastmcp(packages, "proxy") as (url, issuer), gateway_before(tmp_path, url) as here:
        here.until("login needed")
        here.enter()
        here.until("ready")
        first, second = here.renewed()
        assert first.issuer != issuer.url
        assert second.refresh != first.refresh
        here.leave()
        here.until("login needed")


@pytest.fixture(scope="module")
def example() -> Path:
    """The folder of the SDK's example, as it is."""
    try:
        return sdk_source() / "examples" / "servers" / "simple-auth"
    except OutOfReach as error:
        pytest.skip(f"needs the SDK's examples: {error}")


@contextmanager
def example_runs(packages: Packages, example: Path) -> Generator[str]:
    """The URL of its resource server, which wants tokens that are for it and nobody else."""
    python, own, other = str(packages.programs / "python"), free_port(), free_port()
    commands = {
        own: ["auth_server", "--port", str(own)],
        other: ["server", "--port", str(other), "--auth-server", f"http://localhost:{own}", "--oauth-strict"],
    }
    with ExitStack() as stack:
        for port, (module, *arguments) in commands.items():
            program = [python, "-m", f"mcp_simple_auth.{module}", *arguments]
            ready = lambda port=port: listens(port)  # noqa: E731
            stack.enter_context(run_process(program, ready=ready, cwd=example, within=START_SECONDS))
        yield f"http://localhost:{other}/mcp"


def test_the_sdks_example(packages: Packages, example: Path, tmp_path: Path) -> None:
    """It gives no refresh tokens, and takes none back."""
    with example_runs(packages, example) as url, gateway_before(tmp_path, url) as here:
        here.until("login needed")
        here.enter(lambda link: click_through(link, {}).text)
        here.until("ready")
        assert "timezone" in json.loads(here.call("get_time"))
        assert here.login().refresh is None
        assert here.verb("logout", "notes").returncode == 0
        here.until("login needed")
