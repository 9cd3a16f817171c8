"""Logins in the suite's client scenarios: by the SDK's own client, and at a gateway, by whoever runs it.

The suite's authorization servers let everybody in at once: a browser has nothing to do but to follow the link.
"""

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from tests.support import command, wait_until

REDIRECT: Final = "http://127.0.0.1:3999/callback"
PUBLIC: Final = "https://conformance-test.local"
"""The suite knows a client whose metadata is there, by name; it does not look."""
DOCUMENT: Final = f"{PUBLIC}/client-metadata.json"
MAX_LOGINS: Final = 3
PATIENCE: Final = 60.0
"""Seconds."""


def context() -> dict[str, Any]:
    """What the suite tells its client besides."""
    return json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))


# --- The SDK's client ----------------------------------------------------------------------------------------------


class Storage:
    """`TokenStorage` in memory."""

    def __init__(self, client: OAuthClientInformationFull | None = None) -> None:
        self.tokens: OAuthToken | None = None
        self.client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def provider(url: str) -> OAuthClientProvider:
    """The SDK's, as the scenario wants it."""
    given = context()
    if "private_key_pem" in given:
        signed = SignedJWTParameters(
            issuer=given["client_id"],
            subject=given["client_id"],
            signing_algorithm=given["signing_algorithm"],
            signing_key=given["private_key_pem"],
        )
        return PrivateKeyJWTOAuthProvider(url, Storage(), given["client_id"], signed.create_assertion_provider())
    if os.environ["MCP_CONFORMANCE_SCENARIO"] == "auth/client-credentials-basic":
        return ClientCredentialsOAuthProvider(url, Storage(), given["client_id"], given["client_secret"])
    client = None
    if "client_id" in given:
        client = OAuthClientInformationFull(
            client_id=given["client_id"],
            client_secret=given["client_secret"],
            redirect_uris=[AnyUrl(REDIRECT)],
            token_endpoint_auth_method="client_secret_basic",
            issuer=given.get("issuer"),
        )
    came: dict[str, str] = {}

    async def redirect(link: str) -> None:
        came.update(await follow(link))

    async def callback() -> AuthorizationCodeResult:
        return AuthorizationCodeResult(code=came["code"], state=came.get("state"), iss=came.get("iss"))

    metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(REDIRECT)], client_name="test")
    return OAuthClientProvider(url, metadata, Storage(client), redirect, callback, DOCUMENT)


async def follow(link: str) -> dict[str, str]:
    """What a browser that opens the link comes back with."""
    async with httpx2.AsyncClient(timeout=30) as http:
        location = (await http.get(link)).headers["location"]
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


# --- A gateway -----------------------------------------------------------------------------------------------------


def auth(folder: Path) -> dict[str, Any]:
    """What a gateway's file says of the suite's server, in the scenario's terms."""
    given, scenario = context(), os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    if "private_key_pem" in given:
        key = folder / "key.pem"
        key.write_text(given["private_key_pem"])
        machine = {"client_id": given["client_id"], "private_key_file": str(key)}
        return {"client_credentials": {**machine, "algorithm": given["signing_algorithm"]}}
    if scenario == "auth/client-credentials-basic":
        return {"client_credentials": {"client_id": given["client_id"], "client_secret": given["client_secret"]}}
    if "idp_id_token" in given:
        token = folder / "id_token"
        token.write_text(given["idp_id_token"])
        idp = {
            "issuer": given["idp_issuer"],
            "token_endpoint": given["idp_token_endpoint"],
            "client_id": given["idp_client_id"],
            "id_token_file": str(token),
        }
        return {"enterprise": {"idp": idp, "client_id": given["client_id"], "client_secret": given["client_secret"]}}
    if "valid_jwt" in given:
        token = folder / "token"
        token.write_text(given["valid_jwt"])
        return {"workload": {"token_file": str(token), "client_id": given["client_id"]}}
    if "client_id" in given:
        return {"client_id": given["client_id"], "client_secret": given["client_secret"]}
    return {}


async def settled(base: str, upstream: str) -> tuple[str, str]:
    """The state of the upstream and its reason, once it is ready, or waits for somebody."""
    found: dict[str, Any] = {}

    async def look() -> bool:
        async with httpx2.AsyncClient(timeout=10) as http:
            listed = (await http.get(f"{base}/upstreams")).json()["upstreams"]
        found.update(next(each for each in listed if each["name"] == upstream))
        return found["state"] in ("ready", "degraded", "login needed", "backing off")

    await wait_until(look, PATIENCE)
    return found["state"], str(found["reason"])


def wanted_command(words: str) -> list[str]:
    """The command that is named, or one that does what the page at a link does: with the scopes in it."""
    if found := re.search(r"`mcp-gateway (login [^`]+)`", words):
        return found[1].split()
    if found := re.search(r"https?://[^\s?]+/connect/(\w+)\??([^\s,]*)", words):
        scopes = " ".join(parse_qs(found[2]).get("scope", [])).split()
        return ["login", found[1], *(word for scope in scopes for word in ("--scope", scope))]
    return []


async def log_in(config: Path, words: str) -> bool:
    """Do what a state or an error asks for, as somebody at a terminal would. Returns whether it went well."""
    arguments = wanted_command(words)
    if not arguments:
        return False
    code, said = await _login(config, arguments)
    if code and "log out first" in said:
        await anyio.run_process(command("gateway", "logout", arguments[1], "-c", str(config)), check=False)
        code, said = await _login(config, arguments)
    print(said, file=sys.stderr)
    return code == 0


async def _login(config: Path, arguments: list[str]) -> tuple[int, str]:
    args = command("gateway", *arguments, "--no-browser", "-c", str(config))
    async with await anyio.open_process(args) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        text = b""
        with anyio.move_on_after(PATIENCE):
            async for piece in process.stdout:
                text += piece
                if text.endswith(b"\n"):
                    async with httpx2.AsyncClient(timeout=30, follow_redirects=True) as browser:
                        await browser.get(text.decode().strip())
                    break
        said = b"".join([piece async for piece in process.stderr]).decode()
        return await process.wait(), said
