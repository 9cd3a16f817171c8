"""The ways in as the configuration says them: who is let in, and whose agents still are when it changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.access.api_keys import PREFIX
from gateway.access.entry import Authenticators
from gateway.config.models import GatewaySettings
from gateway.errors import Unauthenticated
from gateway.request import ANONYMOUS, Principal
from tests.oauth.local_issuer import RESOURCE, local_issuer

pytestmark = pytest.mark.anyio

ISSUER = "https://issuer.example"
OAUTH = {"issuer": ISSUER, "resource": RESOURCE}

Enter = Callable[..., Authenticators]


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"id": "alices", "key": "key-of-alice-0123456789abcdef", "owner": "alice"}]))
    return str(path)


@pytest.fixture
def enter(tmp_path: Path) -> Enter:
    """Makes the entry of a gateway with these `auth` settings, on the same state, as after a restart."""

    def enter(**auth: Any) -> Authenticators:
        settings = GatewaySettings.model_validate({"state_dir": str(tmp_path / "state"), "auth": auth})
        return Authenticators(settings, loopback=True, on_revoked=lambda ids: None, observe=lambda limit, allowed: None)

    return enter


async def found(entry: Authenticators, headers: dict[str, str], address: str) -> Principal:
    """Who sent them, at once or later."""
    known = entry.recognise(headers, address)
    return known.principal if known is not None else await entry.authenticate(headers, address)


async def test_what_is_said_of_an_authorization_server_counts(enter: Enter) -> None:
    said = {
        "resource": RESOURCE,
        "allow_private": True,
        "audiences": ["api://gateway"],
        "owner_claim": "email",
        "groups_claim": "roles",
        "scope_names": {"mcp:call": "write"},
        "default_scopes": [],
        "claims": [{"claim": "department", "value": "eng*", "scopes": ["admin"], "upstreams": ["github"]}],
    }
    async with local_issuer() as issuer, anyio.create_task_group() as tg:
        entry = enter(enabled=True, oauth={"issuer": issuer.url, **said})
        tg.start_soon(entry.run)
        claims = {"aud": "api://gateway", "email": "a@example.com", "roles": ["dev"], "department": "engineering"}
        token = issuer.token(scope="mcp:call read", **claims)
        principal = await found(entry, {"authorization": f"Bearer {token}"}, "192.0.2.1")
        nobody = await found(entry, {"authorization": f"Bearer {issuer.token(scope='read')}"}, "192.0.2.1")
        assert (principal.owner, principal.groups) == ("a@example.com", {"dev"})
        assert (principal.scopes, principal.upstreams) == ({"write", "admin"}, {"github"})
        assert (nobody.scopes, nobody.upstreams) == (set(), set())
        tg.cancel_scope.cancel()


@pytest.mark.parametrize(
    "who", [Principal(f"{PREFIX}alices", "api_key", "alice"), Principal(f"oauth:{ISSUER}|bob", "oauth", "bob")]
)
async def test_an_agent_is_good_while_its_principal_could_come_in(enter: Enter, keys: str, who: Principal) -> None:
    both = {"enabled": True, "api_keys_file": keys, "oauth": OAUTH}
    token, _ = await enter(**both).agents.register(who, "agent", "1")
    assert (await enter(**both).agents.authenticate(token)).root == who.id


@pytest.mark.parametrize(
    ("who", "others"),
    [
        (f"{PREFIX}alices", {"oauth": OAUTH}),
        (f"{PREFIX}gone", {}),
        (f"oauth:{ISSUER}|bob", {}),
        (f"oauth:{ISSUER}|bob", {"oauth": {**OAUTH, "issuer": f"{ISSUER}/other"}}),
        (ANONYMOUS.id, {"oauth": OAUTH}),
    ],
)
async def test_an_agent_ends_with_the_way_its_principal_came_in(
    enter: Enter, keys: str, who: str, others: dict[str, Any]
) -> None:
    token, _ = await enter().agents.register(Principal(who), "agent", "1")
    now = others or {"api_keys_file": keys}
    with pytest.raises(Unauthenticated):
        await enter(enabled=True, **now).agents.authenticate(token)
