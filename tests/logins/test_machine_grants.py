"""Private keys, token exchange, ID-JAG and workload identity, at an authorization server that verifies what it is told.

The canary is the agent's own token: it may be seen by who exchanges it, and by nobody else.
"""

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config.models import Config
from gateway.errors import GatewayError, LoginNeeded, UpstreamUnavailable
from gateway.logins.logins import Logins
from gateway.logins.record import Login, RegisteredClient
from gateway.logins.vault import FileVault
from gateway.request import Method, Principal
from gateway.server.agents import ConnectedAgent
from gateway.upstream.guardian import Guardian
from gateway.upstream.link import State
from gateway.upstream.upstream import Upstream
from tests.logins.signing import GRANTS, SECRET, TYPES, Signing, signing
from tests.logins.test_machines import no_vault
from tests.oauth.local_issuer import SigningKey, signing_key
from tests.support import wait_until
from tests.upstream.ends import ByteServer, Hears, ask, config, supervised, text_of

pytestmark = pytest.mark.anyio

ME = {"client_id": "gw", "client_secret": SECRET}


@pytest.fixture
async def guardian(anyio_backend: object) -> AsyncGenerator[Guardian]:
    guardian = Guardian()
    yield guardian
    await guardian.aclose()


@dataclass
class House:
    """An upstream, and those who call it."""

    up: Upstream
    logins: Logins
    recorded: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])

    def come(self, name: str, token: str, seconds: float = 3600) -> ConnectedAgent:
        """An agent of somebody whom the gateway lets in by that token."""
        principal = Principal(f"oauth:issuer|{name}", "oauth", expires=time.time() + seconds)
        self.logins.subjects.note(principal, token)
        return ConnectedAgent(principal, None, "2026-07-28")

    async def call(self, agent: ConnectedAgent | None = None) -> str:
        return text_of(await ask(self.up, "tools/call", {"name": "a", "arguments": {}}, agent=agent))


@asynccontextmanager
async def house(server: Signing, guardian: Guardian, vault: Any = no_vault, **auth: Any) -> AsyncGenerator[House]:
    entry = config(server.url, auth=auth, connect_timeout=5)
    recorded: list[tuple[str, dict[str, Any]]] = []

    def record(what: str, whose: Principal | None, **fields: Any) -> None:
        recorded.append((whose.id if whose is not None else "", {"what": what, **fields}))

    logins = Logins(Config(servers={"up": entry}, path=Path("servers.yaml")), vault, record)
    up = Upstream("up", entry, Hears(), guardian, credentials=logins.source("up", entry))
    async with supervised(up) as tasks:
        tasks.start_soon(logins.run)
        await wait_until(lambda: up.status.state is not State.STOPPED, 30)
        yield House(up, logins, recorded)


def exchanging(server: Signing, **changed: Any) -> dict[str, Any]:
    return {"token_exchange": {"issuer": server.origin, **ME, **changed}}


def of_grant(server: Signing, grant: str) -> list[dict[str, str]]:
    return [form for form in server.requests if form["grant_type"].removeprefix(GRANTS) == grant]


def tools_called_with(wire: ByteServer) -> list[str]:
    return [got.headers["authorization"][7:] for got in wire.got if b"tools/call" in got.body]


def assert_seen_only_at(token: str, wires: Sequence[ByteServer], *targets: str) -> None:
    shown = {got.target for wire in wires for got in wire.got if token in f"{got.target}{got.headers}{got.body}"}
    assert shown == set(targets)


def pem(key: SigningKey) -> bytes:
    return key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


# --- The gateway's own key --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "EdDSA"])
async def test_a_private_key_proves_who_we_are(guardian: Guardian, tmp_path: Path, algorithm: str) -> None:
    key, other = signing_key("gw-key", algorithm), signing_key("other-key", algorithm)
    file = tmp_path / "key.pem"
    file.write_bytes(pem(key))
    async with signing(client_keys={"gw": key.private.public_key()}) as (server, wire):
        own = {"client_id": "gw", "private_key_file": str(file), "key_id": "k1", "scopes": ["one"]}
        async with house(server, guardian, client_credentials=own) as it:
            assert await it.call() == "a"
            (form,) = server.requests
            assert (form["client"], form["scope"], form["resource"]) == ("gw", "one", server.url)
            assert jwt.get_unverified_header(form["client_assertion"]) == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
            assert_seen_only_at(form["client_assertion"], [wire], "/token")
            server.client_keys["gw"] = other.private.public_key()  # it was replaced, here and there
            file.write_bytes(pem(other))
            server.good.clear()
            assert await it.call() == "a"
            assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read: No such file"),
        (b"canary", "no private key in PEM"),
        ("RS256", "another type than ES256"),
    ],
)
async def test_a_key_that_cannot_be_used(guardian: Guardian, tmp_path: Path, content: Any, reason: str) -> None:
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(pem(signing_key("x", content)) if isinstance(content, str) else content)
    async with signing() as (server, _):
        own = {"client_id": "gw", "private_key_file": str(file), "algorithm": "ES256"}
        async with house(server, guardian, client_credentials=own) as it:
            with pytest.raises(UpstreamUnavailable, match=reason) as caught:
                await it.call()
    assert "canary" not in caught.value.message
    assert server.requests == []


# --- Token exchange ---------------------------------------------------------------------------------------------------


async def test_each_principal_is_asked_for_in_their_own_name(guardian: Guardian) -> None:
    async with signing() as (server, wire), house(server, guardian, **exchanging(server, scopes=["tickets"])) as it:
        tokens = {name: server.bearer(name) for name in ("alice", "bob")}
        for name, token in tokens.items():
            assert await it.call(it.come(name, token)) == "a"
        subjects = [jwt.decode(sent, options={"verify_signature": False}) for sent in tools_called_with(wire)]
        assert [(each["sub"], each["act"], each["aud"]) for each in subjects] == [
            ("alice", {"sub": "gw"}, server.url),
            ("bob", {"sub": "gw"}, server.url),
        ]
        forms = of_grant(server, "token-exchange")
        assert [form["subject_token"] for form in forms] == list(tokens.values())
        fixed = {"subject_token_type": f"{TYPES}access_token", "resource": server.url, "scope": "tickets"}
        assert all(form.items() >= fixed.items() and form["client"] == "gw" for form in forms)
        assert [id for id, _ in it.recorded] == ["oauth:issuer|alice", "oauth:issuer|bob"]
        act = {"what": "token exchange", "upstream": "up", "act": '{"sub": "gw"}', "scope": "tickets"}
        assert all(what.items() >= act.items() for _, what in it.recorded)
        for token in tokens.values():
            assert_seen_only_at(token, [wire], "/token")


async def test_audience_resource_and_kind_are_as_the_file_says(guardian: Guardian) -> None:
    named = {"audience": "crm", "resource": "https://crm.example/api", "subject_token_type": "jwt"}
    async with signing() as (server, _), house(server, guardian, **exchanging(server, **named)) as it:
        assert await it.call(it.come("alice", server.bearer())) == "a"
        (form,) = of_grant(server, "token-exchange")
        assert (form["audience"], form["resource"]) == ("crm", "https://crm.example/api")
        assert form["subject_token_type"] == f"{TYPES}jwt"


@pytest.mark.parametrize(("method", "what"), [("api_key", "an API key"), ("agent_token", "an agent's token")])
async def test_who_came_with_no_access_token_is_told(guardian: Guardian, method: Method, what: str) -> None:
    """Not even if the principal behind an agent is known by one."""
    async with signing() as (server, wire), house(server, guardian, **exchanging(server)) as it:
        it.come("alice", server.bearer())
        theirs = Principal("agent:1", method, root="oauth:issuer|alice")
        with pytest.raises(UpstreamUnavailable, match=f"an OAuth access token, and they came with {what}"):
            await it.call(ConnectedAgent(theirs, None, "2026-07-28"))
        assert of_grant(server, "token-exchange") == []
        assert tools_called_with(wire) == []


async def test_or_logs_in_where_the_file_says_so(guardian: Guardian, tmp_path: Path) -> None:
    """Whose login does not depend on any token, and does not end with those of others."""
    vault = FileVault(tmp_path / "logins", ["k" * 32])
    carol = ConnectedAgent(Principal("key:carol", "api_key"), None, "2026-07-28")
    async with signing() as (server, wire):
        auth = exchanging(server, otherwise="login")
        async with house(server, guardian, lambda: vault, **auth) as it:
            alice = it.come("alice", server.bearer("alice"))
            assert await it.call(alice) == "a"
            with pytest.raises(LoginNeeded, match="mcp-gateway login up"):
                await it.call(carol)
            theirs = server.issue()["access_token"]
            where: Any = {"server": "up", "url": server.url, "issuer": server.origin, "resource": server.url}
            known = RegisteredClient("gw"), f"{server.origin}/token"
            await vault.put(
                Login(
                    principal="key:carol",
                    owner="carol",
                    registered=known[0],
                    token_endpoint=known[1],
                    access=theirs,
                    **where,
                )
            )
            await wait_until(lambda: _calls(it, carol), 60)
            assert (tools_called_with(wire)[-1], await it.call(alice)) == (theirs, "a")
            it.logins.end_those_of(frozenset({"oauth:issuer|alice"}))
            assert await it.call(carol) == "a"
            assert len(of_grant(server, "token-exchange")) == 1


async def test_a_hundred_first_calls_are_one_exchange(guardian: Guardian) -> None:
    async with signing() as (server, _), house(server, guardian, **exchanging(server)) as it:
        agent = it.come("alice", server.bearer())
        async with anyio.create_task_group() as tg:
            for _ in range(100):
                tg.start_soon(it.call, agent)
        assert len(of_grant(server, "token-exchange")) == 1


async def test_what_was_exchanged_ends_with_what_it_was_given_for(guardian: Guardian) -> None:
    async with signing() as (server, wire), house(server, guardian, **exchanging(server)) as it:
        agent = it.come("alice", server.bearer(), seconds=3)
        assert await it.call(agent) == "a"
        first = tools_called_with(wire)
        await wait_until(lambda: it.logins.subjects.of("oauth:issuer|alice") is None, 30)
        await wait_until(lambda: _credentials(it, agent) == {}, 30)
        with pytest.raises(GatewayError, match="has expired; send the request with a new one"):
            await it.call(agent)
        again = server.bearer()
        it.come("alice", again)
        await wait_until(lambda: _calls(it, agent), 60)
        assert len(of_grant(server, "token-exchange")) == 2
        assert tools_called_with(wire)[-1] not in first


def _credentials(it: House, agent: ConnectedAgent) -> object:
    source = it.logins.source_of("up")
    return dict(source.of(agent.opener).headers) if source is not None else None  # pyright: ignore[reportOptionalMemberAccess]


async def _calls(it: House, agent: ConnectedAgent) -> bool:
    try:
        return await it.call(agent) == "a"
    except GatewayError:
        return False


async def test_who_is_revoked_has_nothing_any_more(guardian: Guardian) -> None:
    async with signing() as (server, wire), house(server, guardian, **exchanging(server)) as it:
        alice, bob = it.come("alice", server.bearer("alice")), it.come("bob", server.bearer("bob"))
        assert (await it.call(alice), await it.call(bob)) == ("a", "a")
        it.logins.end_those_of(frozenset({"oauth:issuer|alice"}))
        assert _credentials(it, alice) == {}
        before = len(tools_called_with(wire))
        with pytest.raises(GatewayError):
            await it.call(alice)
        assert len(tools_called_with(wire)) == before
        assert await it.call(bob) == "a"


async def test_a_token_that_comes_back_is_not_passed_on(guardian: Guardian) -> None:
    async with signing(gives_back=True) as (server, wire), house(server, guardian, **exchanging(server)) as it:
        token = server.bearer()
        with pytest.raises(UpstreamUnavailable, match="gave back the very token that it was given"):
            await it.call(it.come("alice", token))
        assert_seen_only_at(token, [wire], "/token")


async def test_a_server_does_not_say_who_is_shown_agents_tokens(guardian: Guardian) -> None:
    """Its metadata names an authorization server of its own."""
    async with signing() as (honest, home), signing() as (evil, away):
        async with house(evil, guardian, token_exchange={"issuer": honest.origin, **ME}) as it:
            token = honest.bearer()
            with pytest.raises(GatewayError):
                await it.call(it.come("alice", token))  # which does not know the token, and names its own issuer
        assert_seen_only_at(token, [home, away], "/token")
        assert token not in "".join(f"{got.headers}{got.body}" for got in away.got)
        assert evil.requests == []


async def test_a_refusal_says_what_the_authorization_server_said(guardian: Guardian) -> None:
    async with signing() as (server, _), house(server, guardian, **exchanging(server)) as it:
        forged = server.bearer()[:-8] + "AAAAAAAA"
        with pytest.raises(UpstreamUnavailable, match="the authorization server refused \\(invalid_grant") as caught:
            await it.call(it.come("alice", forged))
        assert forged not in caught.value.message


# --- Enterprise-managed authorization ---------------------------------------------------------------------------------


@asynccontextmanager
async def company() -> AsyncGenerator[tuple[Signing, ByteServer, Signing, ByteServer]]:
    """An identity provider, and a server whose authorization server trusts it."""
    async with signing(key=signing_key("idp", "ES256")) as (idp, there), signing() as (server, here):
        server.trusted[idp.origin] = idp.key
        yield idp, there, server, here


async def test_the_identity_provider_vouches(guardian: Guardian) -> None:
    async with company() as (idp, there, server, here):
        auth = {"enterprise": {"idp": {"issuer": idp.origin, **ME}, "scopes": ["wiki"]}}
        async with house(server, guardian, **auth) as it:
            token = idp.bearer("alice")
            assert await it.call(it.come("alice", token)) == "a"
            (exchange,), (bearer,) = of_grant(idp, "token-exchange"), of_grant(server, "jwt-bearer")
            assert exchange["requested_token_type"] == f"{TYPES}id-jag"
            assert (exchange["audience"], exchange["resource"]) == (server.origin, server.url)
            assert (exchange["client"], bearer["client"], bearer["scope"]) == ("gw", "gw", "wiki")
            assert jwt.get_unverified_header(bearer["assertion"])["typ"] == "oauth-id-jag+jwt"
            assert it.recorded[0][0] == "oauth:issuer|alice"
            assert_seen_only_at(token, [there], "/token")
            assert_seen_only_at(token, [here])
            assert_seen_only_at(bearer["assertion"], [here, there], "/token")


async def test_what_it_issues_for_another_is_not_shown(guardian: Guardian) -> None:
    async with company() as (idp, _, server, _):
        honest = idp.on["/token"] = idp.token
        idp.on["/token"] = lambda got: honest(_for_another(got))
        async with house(server, guardian, enterprise={"idp": {"issuer": idp.origin, **ME}}) as it:
            with pytest.raises(UpstreamUnavailable, match=r"is for https://other\.example, not for the authorization"):
                await it.call(it.come("alice", idp.bearer("alice")))
        assert of_grant(server, "jwt-bearer") == []


def _for_another(got: Any) -> Any:
    from dataclasses import replace
    from urllib.parse import parse_qsl, urlencode

    form = [(name, "https://other.example" if name == "audience" else value) for name, value in _pairs(got, parse_qsl)]
    return replace(got, body=urlencode(form).encode())


def _pairs(got: Any, parse: Any) -> list[tuple[str, str]]:
    return parse(got.body.decode())


async def test_a_person_at_a_desk_has_an_id_token_in_a_file(guardian: Guardian, tmp_path: Path) -> None:
    async with company() as (idp, _, server, here):
        file = tmp_path / "id_token"
        file.write_text(idp.bearer("alice", "gw") + "\n")
        auth = {"enterprise": {"idp": {"issuer": idp.origin, **ME, "id_token_file": str(file)}}}
        async with house(server, guardian, **auth) as it:
            assert await it.call() == "a"
            (exchange,) = of_grant(idp, "token-exchange")
            assert exchange["subject_token_type"] == f"{TYPES}id_token"
            assert_seen_only_at(exchange["subject_token"], [here])


async def test_the_identity_provider_says_no(guardian: Guardian) -> None:
    async with company() as (idp, _, server, _):
        idp.on["/token"] = lambda got: ("400 Bad Request", {"error": "access_denied", "error_description": "not you"})
        async with house(server, guardian, enterprise={"idp": {"issuer": idp.origin, **ME}}) as it:
            with pytest.raises(UpstreamUnavailable, match=r"at the identity provider: .*access_denied: not you"):
                await it.call(it.come("alice", idp.bearer("alice")))


# --- Workload identity ------------------------------------------------------------------------------------------------


async def test_the_platforms_token_is_read_as_it_rotates(guardian: Guardian, tmp_path: Path) -> None:
    async with signing(key=signing_key("platform", "ES256")) as (platform, _), signing() as (server, wire):
        server.trusted[platform.origin] = platform.key
        file = tmp_path / "token"
        file.write_text(platform.bearer("system:serviceaccount:a:b", server.origin))
        async with house(server, guardian, workload={"token_file": str(file), "scopes": ["one"]}) as it:
            assert await it.call() == "a"
            second = platform.bearer("system:serviceaccount:a:b", server.origin)
            file.write_text(second)
            server.good.clear()
            assert await it.call() == "a"
            forms = of_grant(server, "jwt-bearer")
            assert [form["assertion"] == second for form in forms] == [False, True]
            assert all(form["resource"] == server.url and form["scope"] == "one" for form in forms)
            assert_seen_only_at(second, [wire], "/token")


@pytest.mark.parametrize("content", ["canary", "", "a.b.c"])
async def test_it_is_shown_only_to_whom_it_is_for(guardian: Guardian, tmp_path: Path, content: str) -> None:
    async with signing() as (server, wire):
        file = tmp_path / "token"
        other = server.bearer("system:serviceaccount:a:b", "https://kubernetes.default.svc")
        file.write_text(other if content == "canary" else content)
        async with house(server, guardian, workload={"token_file": str(file)}) as it:
            reason = (
                r"is for https://kubernetes\.default\.svc, not for" if content == "canary" else "JWT in|is for nobody"
            )
            with pytest.raises(UpstreamUnavailable, match=reason):
                await it.call()
        assert_seen_only_at(other, [wire])
        assert server.requests == []
