"""Agents: what they are given, how many there may be, and how they end."""

import json
import os
import stat
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gateway.access import key_edit
from gateway.access.agent_tokens import DAY, AgentTokens
from gateway.access.api_keys import ApiKeys
from gateway.access.delegation import share, within
from gateway.access.signing_key import SigningKey, SigningKeys
from gateway.errors import InsufficientScope, InvalidParams, NotFound, NotSaved, RateLimited, Unauthenticated
from gateway.request import ADMIN, SCOPES, Principal
from gateway.store import files, journal
from gateway.store.agent_file import FileAgentStore
from gateway.store.agents import AgentSession, MemoryAgentStore
from tests.support import wait_until

pytestmark = pytest.mark.anyio

NOW = 1_700_000_000.0
ALICE = Principal("key:alice", "api_key", "alice", frozenset({"read", "write"}), frozenset({"a", "b"}))
BOB = Principal("key:bob", "api_key", "bob")
CAROL = Principal("key:carol", "api_key", "carol", frozenset({"read", "write"}))


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Register:
    """Registers with fewer words."""

    def __init__(self, tokens: AgentTokens) -> None:
        self.tokens = tokens

    async def __call__(self, principal: Principal, *upstreams: str, **more: Any) -> tuple[Principal, AgentSession]:
        token, session = await self.tokens.register(
            principal,
            more.get("name", "agent"),
            "1.0",
            upstreams,
            more.get("scopes", ()),
            more.get("profiles", ()),
        )
        return await self.tokens.authenticate(token), session


def make(clock: Clock | None = None, **options: Any) -> AgentTokens:
    clock = clock or Clock()
    keys = SigningKeys([SigningKey("one", b"s" * 32)])
    return AgentTokens(keys, MemoryAgentStore(clock), clock=clock, **options)


async def is_refused(question: Awaitable[object]) -> bool:
    try:
        await question
    except Unauthenticated:
        return True
    return False


async def test_an_agent_ends_when_the_key_of_its_root_is_another() -> None:
    """Whoever had the old one must not go on with what it registered. The key is named in no token: it may be one that
    can be guessed."""
    holder = {"key": "thumbprint-one"}

    async def bound(agent: Principal, root: str) -> Principal:
        return replace(agent, key=holder["key"])

    tokens = make(bound=bound)
    token, _ = await tokens.register(replace(ALICE, key="thumbprint-one"), "agent", "1")
    own = await tokens.authenticate(token)
    below, _ = await tokens.register(own, "below", "1")
    for each in (token, below):
        await tokens.authenticate(each)
        assert "thumbprint" not in str(jwt.decode(each, options={"verify_signature": False}))
    holder["key"] = "thumbprint-two"
    for each in (token, below):
        assert await is_refused(tokens.authenticate(each))


# --- The grant ----------------------------------------------------------------------------------------------------


async def test_an_agent_is_a_principal_of_its_own_on_behalf_of_its_owner() -> None:
    parent = Principal("oauth:i|s", "oauth", "alice", groups=frozenset({"dev"}), rate_limit_rpm=7)
    agent, session = await Register(make())(parent, name="my-agent")
    assert agent == Principal(
        id=f"agent:{session.id}",
        method="agent_token",
        owner="alice",
        scopes=frozenset({"read", "write"}),
        upstreams=None,
        groups=frozenset({"dev"}),
        agent_name="my-agent",
        rate_limit_rpm=7,
        root="oauth:i|s",
    )
    assert (session.agent_name, session.agent_version, session.owner) == ("my-agent", "1.0", "alice")
    assert (session.created, session.expires) == (NOW, NOW + DAY)


def _words(given: Collection[str] | None) -> str:
    return "any" if given is None else " ".join(sorted(given)) or "none"


@pytest.mark.parametrize(
    ("parent", "wished", "given"),
    [
        (None, [], None),
        (None, ["x"], {"x"}),
        ({"a", "b"}, [], {"a", "b"}),
        ({"a", "b"}, ["b"], {"b"}),
        ({"a", "b"}, ["b", "c"], {"b"}),
        ({"a", "b"}, ["c"], set[str]()),
        (set[str](), [], set[str]()),
        (set[str](), ["a"], set[str]()),
    ],
    ids=_words,
)
async def test_upstreams(parent: set[str] | None, wished: list[str], given: set[str] | None) -> None:
    principal = Principal("key:x", upstreams=None if parent is None else frozenset(parent))
    agent, session = await Register(make())(principal, *wished)
    assert agent.upstreams == session.upstreams == given


@pytest.mark.parametrize(
    ("parent", "wished", "given"),
    [
        ({"read", "write"}, [], {"read", "write"}),
        ({"read", "write", "admin"}, [], {"read", "write"}),
        ({"read", "write", "admin"}, ["admin"], {"admin"}),
        ({"read"}, ["read", "write", "admin"], {"read"}),
        ({"read"}, ["admin"], set[str]()),
        ({"read", "admin"}, ["root", "*"], set[str]()),
    ],
    ids=_words,
)
async def test_scopes(parent: set[str], wished: list[str], given: set[str]) -> None:
    agent, session = await Register(make())(Principal("key:x", scopes=frozenset(parent)), scopes=wished)
    assert agent.scopes == session.scopes == given


NAMES = st.sampled_from(["a", "b", "c", "d"])
UPSTREAMS = st.none() | st.frozensets(NAMES)
SOME_SCOPES = st.frozensets(st.sampled_from(sorted(SCOPES)))
WISH = st.tuples(st.lists(NAMES, max_size=3), st.lists(st.sampled_from([*sorted(SCOPES), "root"]), max_size=4))


def has_no_more(one: Principal | AgentSession, other: Principal) -> bool:
    """Whether all of `one`'s grant is in `other`'s."""
    pairs = (one.upstreams, other.upstreams), (one.profiles, other.profiles)
    fewer = all(most is None or (some is not None and some <= most) for some, most in pairs)
    return one.scopes <= other.scopes and fewer


@settings(deadline=None)
@given(SOME_SCOPES, UPSTREAMS, st.lists(WISH, min_size=1, max_size=4))
def test_no_agent_has_more_than_who_registered_it(
    scopes: frozenset[str], upstreams: frozenset[str] | None, wishes: list[tuple[list[str], list[str]]]
) -> None:
    async def chain() -> None:
        register = Register(make())
        parent = Principal("key:root", "api_key", "alice", scopes, upstreams, frozenset({"dev"}), "", 5)
        for wished_upstreams, wished_scopes in wishes:
            agent, session = await register(parent, *wished_upstreams, scopes=wished_scopes)
            assert has_no_more(agent, parent)
            assert has_no_more(session, parent)
            assert (ADMIN in agent.scopes) <= (ADMIN in wished_scopes)
            assert (agent.owner, agent.groups, agent.rate_limit_rpm) == ("alice", {"dev"}, 5)
            parent = agent

    anyio.run(chain)


@settings(deadline=None)
@given(UPSTREAMS, st.lists(st.lists(NAMES, max_size=3), min_size=1, max_size=4))
def test_no_agent_has_more_profiles_than_who_registered_it(
    profiles: frozenset[str] | None, wishes: list[list[str]]
) -> None:
    async def chain() -> None:
        register = Register(make())
        parent = Principal("key:root", "api_key", "alice", profiles=profiles)
        for wished in wishes:
            agent, session = await register(parent, profiles=wished)
            assert (
                agent.profiles == session.profiles == (frozenset(wished) or None) if parent.profiles is None else True
            )
            assert has_no_more(agent, parent)
            assert has_no_more(session, parent)
            parent = agent

    anyio.run(chain)


@given(UPSTREAMS, UPSTREAMS)
def test_an_agent_loses_the_profiles_that_its_key_loses(
    mine: frozenset[str] | None, now: frozenset[str] | None
) -> None:
    left = within(Principal("agent:1", profiles=mine), Principal("k", profiles=now))
    assert has_no_more(left, Principal("agent:1", profiles=mine))
    assert has_no_more(left, Principal("k", profiles=now))


@given(SOME_SCOPES, UPSTREAMS, SOME_SCOPES, UPSTREAMS)
def test_within_is_in_both(
    scopes: frozenset[str], upstreams: frozenset[str] | None, bound: frozenset[str], most: frozenset[str] | None
) -> None:
    agent, key = Principal("agent:1", scopes=scopes, upstreams=upstreams), Principal("k", scopes=bound, upstreams=most)
    left = within(agent, key)
    assert has_no_more(left, agent)
    assert has_no_more(left, key)
    assert left == agent or not has_no_more(agent, key)


@given(SOME_SCOPES, UPSTREAMS, st.sets(NAMES), SOME_SCOPES)
def test_a_wish_within_the_grant_is_granted(
    scopes: frozenset[str], upstreams: frozenset[str] | None, names: set[str], wished: frozenset[str]
) -> None:
    granted = share(Principal("k", scopes=scopes | wished, upstreams=upstreams), names, wished)
    if wished:
        assert granted.scopes == wished
    if names and (upstreams is None or names <= upstreams):
        assert granted.upstreams == names


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("a" * 129, "1"), ("a\nb", "1"), ("a", "1\x1b[0m"), ("a", "1" * 129)]
)
async def test_names_that_cannot_be_used(name: str, version: str) -> None:
    tokens = make()
    with pytest.raises(InvalidParams):
        await tokens.register(ALICE, name, version)
    assert await tokens.sessions(BOB, all=True) == []


async def test_a_grant_that_no_header_could_carry_is_refused() -> None:
    tokens = make()
    with pytest.raises(InvalidParams):
        await tokens.register(BOB, "agent", "1.0", [f"upstream-{number}" for number in range(1000)])
    assert await tokens.sessions(BOB, all=True) == []


# --- How many, how long -------------------------------------------------------------------------------------------


async def test_the_cap_is_each_principals_own() -> None:
    clock = Clock()
    register = Register(make(clock, cap=3, lifetime=100.0))
    for _ in range(3):
        await register(ALICE)
        clock.now += 10
    with pytest.raises(RateLimited) as error:
        await register(ALICE)
    assert error.value.headers["retry-after"] == "70"  # when the first expires
    await register(BOB)


async def test_a_revoked_or_expired_agent_makes_room() -> None:
    clock = Clock()
    register = Register(make(clock, cap=1, lifetime=100.0))
    _, session = await register(ALICE)
    await register.tokens.revoke(session.id, ALICE)
    await register(ALICE)
    clock.now += 100
    await register(ALICE)


async def test_agents_of_agents_count_for_who_is_behind_them() -> None:
    register = Register(make(cap=3))
    first, _ = await register(ALICE)
    second, _ = await register(first)
    await register(second)
    for principal in (ALICE, first, second):
        with pytest.raises(RateLimited):
            await register(principal)


async def test_many_at_once_do_not_pass_the_cap() -> None:
    register = Register(make(cap=5))
    refused: list[RateLimited] = []

    async def one() -> None:
        try:
            await register(ALICE)
        except RateLimited as error:
            refused.append(error)

    async with anyio.create_task_group() as tg:
        for _ in range(20):
            tg.start_soon(one)
    assert (len(await register.tokens.sessions(ALICE)), len(refused)) == (5, 15)


async def test_an_agents_agent_does_not_outlive_it() -> None:
    clock = Clock()
    register = Register(make(clock))
    first, session = await register(ALICE)
    clock.now += 1000
    _, heir = await register(first)
    assert heir.expires == session.expires


@pytest.mark.parametrize(("ends_in", "lives"), [(600.9, 600), (DAY, DAY), (2 * DAY, DAY), (None, DAY)])
async def test_an_agent_does_not_outlive_the_credential_it_was_registered_with(
    ends_in: float | None, lives: float
) -> None:
    clock = Clock()
    register = Register(make(clock))
    parent = Principal("oauth:i|s", "oauth", expires=None if ends_in is None else NOW + ends_in)
    agent, session = await register(parent)
    _, heir = await register(agent)
    assert session.expires == heir.expires == agent.expires == NOW + lives


@pytest.mark.parametrize("ended_for", [0, 29])
async def test_who_is_let_in_for_a_moment_longer_registers_nobody(ended_for: float) -> None:
    """The issuer's clock may be behind: its tokens are good for some seconds more, and no agent is made of those."""
    tokens = make()
    assert await is_refused(tokens.register(Principal("oauth:i|s", "oauth", expires=NOW - ended_for), "agent", "1"))
    assert await tokens.sessions(BOB, all=True) == []


# --- The end ------------------------------------------------------------------------------------------------------


async def test_revoked_is_dead_at_once_and_so_are_its_heirs() -> None:
    ended: list[frozenset[str]] = []
    tokens = make(on_revoked=ended.append)
    token, session = await tokens.register(ALICE, "one", "1")
    heirs_token, heir = await tokens.register(await tokens.authenticate(token), "two", "1")
    other, _ = await tokens.register(ALICE, "three", "1")
    await tokens.authenticate(heirs_token)

    await tokens.revoke(session.id, ALICE)

    assert await is_refused(tokens.authenticate(token))
    assert await is_refused(tokens.authenticate(heirs_token))
    assert not await is_refused(tokens.authenticate(other))
    assert ended == [frozenset({session.principal_id, heir.principal_id})]


async def test_an_heir_may_end_without_its_elders() -> None:
    register = Register(make())
    first, session = await register(ALICE)
    _, heir = await register(first)
    await register.tokens.revoke(heir.id, first)
    assert await register.tokens.sessions(ALICE) == [session]


async def test_who_was_revoked_registers_nobody() -> None:
    register = Register(make())
    agent, session = await register(ALICE)
    await register.tokens.revoke(session.id, ALICE)
    assert await is_refused(register(agent))
    assert await register.tokens.sessions(ALICE) == []


async def test_an_heir_registered_while_its_elder_is_revoked_is_dead_too() -> None:
    class RevokingStore(MemoryAgentStore):
        """Somebody revokes the elder, all of it, just before the heir is kept."""

        armed = False

        async def add(self, session: AgentSession, cap: int) -> bool:
            if self.armed:
                await tokens.revoke(session.ancestors[-1].removeprefix("agent:"), ALICE)
            return await super().add(session, cap)

    store = RevokingStore(Clock())
    tokens = AgentTokens(SigningKeys([SigningKey("one", b"s" * 32)]), store, clock=Clock())
    agent, _ = await Register(tokens)(ALICE)
    store.armed = True
    assert await is_refused(tokens.register(agent, "heir", "1"))
    assert await store.sessions() == []


@pytest.mark.parametrize(
    ("who", "mine", "may_revoke"),
    [
        ("alice", True, True),
        ("carol", False, False),
        ("bob", False, True),
        ("itself", True, True),
        ("sibling", False, False),
    ],
)
async def test_whose_a_session_is(who: str, mine: bool, may_revoke: bool) -> None:
    """Bob has the scope `admin`, Carol has not."""
    register = Register(make())
    agent, session = await register(ALICE)
    sibling, _ = await register(ALICE)
    principal = {"alice": ALICE, "carol": CAROL, "bob": BOB, "itself": agent, "sibling": sibling}[who]
    assert (session in await register.tokens.sessions(principal)) is mine
    if may_revoke:
        await register.tokens.revoke(session.id, principal)
        assert await register.tokens.sessions(agent) == []
        return
    with pytest.raises(NotFound) as theirs:
        await register.tokens.revoke(session.id, principal)
    with pytest.raises(NotFound) as nobodys:
        await register.tokens.revoke("0" * 32, principal)
    assert theirs.value.message == nobodys.value.message
    assert await register.tokens.sessions(agent) == [session]


async def test_everybodys_sessions_take_admin() -> None:
    register = Register(make())
    _, first = await register(ALICE)
    _, second = await register(CAROL)
    assert await register.tokens.sessions(BOB, all=True) == [first, second]
    assert await register.tokens.sessions(BOB) == []
    with pytest.raises(InsufficientScope):
        await register.tokens.sessions(ALICE, all=True)


async def test_agents_follow_their_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    key, entry = key_edit.create(path, "alice")
    keys = ApiKeys(path, environment="production", loopback=False)
    tokens = make(bound=keys.bound)
    token, session = await tokens.register(await keys.authenticate(key), "agent", "1")
    heirs_token, _ = await tokens.register(await tokens.authenticate(token), "heir", "1")

    narrowed = json.loads(path.read_text())
    narrowed[0] |= {"allowed_upstreams": ["a"], "scopes": ["read"], "owner": "suspended", "rate_limit_rpm": 1}
    path.write_text(json.dumps(narrowed))
    await keys.reload()
    for each in (token, heirs_token):
        agent = await tokens.authenticate(each)
        assert (agent.upstreams, agent.scopes, agent.owner) == ({"a"}, {"read"}, "suspended")
        assert agent.ancestors[0] == (f"key:{entry.id}", 1)
    assert [id for id, _ in agent.ancestors] == [f"key:{entry.id}", f"agent:{session.id}"]

    key_edit.revoke(path, entry.id)
    await keys.reload()
    for each in (token, heirs_token):
        assert await is_refused(tokens.authenticate(each))


# --- A restart, and a new key -------------------------------------------------------------------------------------

Start = Callable[[], AgentTokens]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(tmp_path: Path, clock: Clock) -> Start:
    """Starts a gateway on the same state, as after a restart."""

    def start() -> AgentTokens:
        keys = SigningKeys.from_file(tmp_path / "state" / "signing_keys.json")
        return AgentTokens(keys, FileAgentStore(tmp_path / "state" / "agents.json", clock), clock=clock)

    return start


async def test_sessions_and_revocations_survive_a_restart(start: Start) -> None:
    before = start()
    good, session = await before.register(ALICE, "good", "1")
    bad, revoked = await before.register(ALICE, "bad", "1")
    await before.revoke(revoked.id, ALICE)

    after = start()
    assert (await after.authenticate(good)).agent_name == "good"
    assert await is_refused(after.authenticate(bad))
    assert await after.sessions(ALICE) == [session]


async def test_gateways_on_one_state_directory_know_each_others_agents(start: Start) -> None:
    one, two = start(), start()
    token, session = await one.register(ALICE, "agent", "1")
    assert (await two.authenticate(token)).agent_name == "agent", "at once"
    child, _ = await two.register(await two.authenticate(token), "child", "1")
    await one.revoke(session.id, ALICE)
    for each in (one, start()):
        assert await is_refused(each.authenticate(child)), "its elder is gone"
    async with anyio.create_task_group() as tg:
        tg.start_soon(two.watch, 0.01)
        await wait_until(lambda: is_refused(two.authenticate(child)))
        tg.cancel_scope.cancel()


async def test_what_another_gateway_revokes_ends_here_and_what_it_has_open_is_closed(
    start: Start, tmp_path: Path, clock: Clock
) -> None:
    one = start()
    _, session = await one.register(ALICE, "agent", "1")
    ended: list[frozenset[str]] = []
    store = FileAgentStore(tmp_path / "state" / "agents.json", clock)
    two = AgentTokens(SigningKeys.from_secret("s" * 32), store, on_revoked=ended.append, clock=clock)
    await one.revoke(session.id, ALICE)
    async with anyio.create_task_group() as tg:
        tg.start_soon(two.watch, 0.01)
        await wait_until(lambda: ended)
        tg.cancel_scope.cancel()
    assert ended == [{session.principal_id}]


async def test_a_revocation_that_cannot_be_kept_says_so_and_can_be_asked_for_again(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = start()
    token, session = await tokens.register(ALICE, "agent", "1")

    def fail(path: Path, data: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", fail)
        patch.setattr(journal, "note", fail)
        for _ in range(2):
            with pytest.raises(NotSaved, match="a restart would undo it"):
                await tokens.revoke(session.id, ALICE)
            assert await is_refused(tokens.authenticate(token))
        with pytest.raises(NotFound):
            await tokens.revoke(session.id, CAROL)
    await tokens.revoke(session.id, ALICE)
    with pytest.raises(NotFound):
        await tokens.revoke(session.id, ALICE)
    assert await is_refused(start().authenticate(token))


async def test_no_file_holds_a_token_and_all_are_their_owners_only(start: Start, tmp_path: Path) -> None:
    tokens = start()
    token, _ = await tokens.register(ALICE, "agent", "1")
    await rotate(tokens, tmp_path)
    written = {name: tmp_path / "state" / name for name in os.listdir(tmp_path / "state")}
    assert set(written) == {"agents.json", "agents.revoked", "signing_keys.json"}
    header, payload, signature = token.split(".")
    for path in written.values():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert not any(part in path.read_text() for part in (header, payload, signature))
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


async def rotate(tokens: AgentTokens, folder: Path, lifetime: float = DAY, now: float = NOW) -> None:
    """As another process does it, and the gateway sees it."""
    SigningKeys.from_file(folder / "state" / "signing_keys.json").rotate(lifetime, now)
    await tokens.reload()


async def test_after_a_rotation_the_old_tokens_live_on_until_they_expire(
    start: Start, clock: Clock, tmp_path: Path
) -> None:
    tokens = start()
    old, _ = await tokens.register(ALICE, "old", "1")
    await tokens.authenticate(old)
    clock.now += 10
    await rotate(tokens, tmp_path, now=clock.now)
    new, _ = await tokens.register(ALICE, "new", "1")
    assert old.split(".")[0] != new.split(".")[0]
    for each in (tokens, start()):
        assert await each.authenticate(old)
        assert await each.authenticate(new)
    clock.now += DAY - 10
    assert await is_refused(tokens.authenticate(old))
    assert await tokens.authenticate(new)


async def test_after_a_rotation_at_once_the_old_tokens_are_dead(start: Start, tmp_path: Path) -> None:
    tokens = start()
    old, _ = await tokens.register(ALICE, "old", "1")
    await tokens.authenticate(old)
    await rotate(tokens, tmp_path, lifetime=0)
    assert await is_refused(tokens.authenticate(old))
    new, _ = await tokens.register(ALICE, "new", "1")
    assert await tokens.authenticate(new)


async def test_keys_that_cannot_be_read_change_nothing_and_are_logged_once(start: Start, tmp_path: Path) -> None:
    tokens = start()
    token, _ = await tokens.register(ALICE, "agent", "1")
    (tmp_path / "state" / "signing_keys.json").write_text("{")
    with capture_logs() as logs:
        for _ in range(3):
            await tokens.reload()
    assert [entry["log_level"] for entry in logs] == ["error"]
    assert await tokens.authenticate(token)


async def test_a_token_of_a_lost_key_is_refused(start: Start, tmp_path: Path) -> None:
    token, _ = await start().register(ALICE, "agent", "1")
    (tmp_path / "state" / "signing_keys.json").unlink()
    assert await is_refused(start().authenticate(token))


async def test_a_token_whose_sessions_are_lost_is_refused(start: Start, tmp_path: Path) -> None:
    token, _ = await start().register(ALICE, "agent", "1")
    (tmp_path / "state" / "agents.json").unlink()
    assert await is_refused(start().authenticate(token))
