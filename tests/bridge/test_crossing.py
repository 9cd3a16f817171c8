"""Questions on their way through a whole gateway, at real upstreams: parked, driven in rounds, and never guessed."""

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest

from gateway.app import Gateway
from gateway.bridge import parking, rounds
from gateway.bridge.timing import BridgeTiming
from gateway.errors import (
    AgentError,
    GatewayError,
    InvalidRequestState,
    TooManyParked,
    UpstreamError,
    UpstreamLost,
    UpstreamProtocolError,
    UpstreamUnavailable,
)
from gateway.timing import USUAL, Timing
from gateway.upstream.timing import UpstreamTiming
from tests.bridge.house import SECONDS, Somebody, form, gateway_of, questions, text_of
from tests.bridge.requests import HANDSHAKE
from tests.interaction._gateway import Entry, child
from tests.support import http_server, wait_until

pytestmark = pytest.mark.anyio

EVERYTHING: Final = "tests.servers.everything"
KEYS: Final = {"state_keys": ["a key that the nodes of one house share"]}
Make = Callable[..., Somebody]


@pytest.fixture(scope="module")
def web() -> Generator[dict[str, Entry]]:
    """Upstreams that several gateways can reach, one of each era."""
    with (
        http_server(EVERYTHING, "--era", "handshake", "--name", "old") as old,
        http_server(EVERYTHING, "--era", "modern", "--name", "new") as new,
    ):
        yield {"old": {"url": old}, "new": {"url": new}}


@pytest.fixture(scope="module")
async def house(web: dict[str, Entry], tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Gateway]:
    """In front of `old` and `new`, and of `pipe`, a program of the handshake era."""
    servers = {**web, "pipe": child(EVERYTHING, "--era", "handshake")}
    async with gateway_of(tmp_path_factory.mktemp("house"), servers, **KEYS) as gateway:
        yield gateway


@pytest.fixture
def ann(house: Gateway) -> Somebody:
    """A modern agent."""
    return Somebody(house)


def asking(*kinds: str, word: str = "w", together: bool = False) -> dict[str, Any]:
    """Arguments of the tool `ask`."""
    return {"word": word, "kinds": kinds, "together": together}


async def counts(who: Somebody, upstream: str) -> dict[str, int]:
    return (await who.call(f"{upstream}__cancelled_calls"))["structuredContent"]


async def retry(
    who: Somebody, asked: dict[str, Any], arguments: dict[str, Any], tool: str = "pipe__ask", /, **answers: Any
) -> dict[str, Any]:
    """Come back with these answers, or for each question with the same."""
    given = answers or dict.fromkeys(asked["inputRequests"], form("x"))
    return await who.call(tool, arguments, requestState=asked["requestState"], inputResponses=given)


# --- Parked ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", ["pipe", "old"])
async def test_one_question_after_the_other(ann: Somebody, upstream: str) -> None:
    arguments, tool = asking("form", "form"), f"{upstream}__ask"
    first = await ann.call(tool, arguments)
    (question,) = questions(first).values()
    assert (question["method"], question["params"]["message"]) == ("elicitation/create", "w-1")
    second = await retry(ann, first, arguments, tool)
    (question,) = questions(second).values()
    assert question["params"]["message"] == "w-2"
    assert (await retry(ann, second, arguments, tool))["structuredContent"]["form-2"] == form("x")


@pytest.mark.parametrize("upstream", ["pipe", "old"])
async def test_questions_asked_at_once_are_answered_one_by_one(ann: Somebody, upstream: str) -> None:
    arguments, tool = asking("form", "form", "form", together=True), f"{upstream}__ask"
    result, seen = await ann.call(tool, arguments), set[str]()
    while result["resultType"] != "complete":
        key, question = next(iter(questions(result).items()))
        seen.add(question["params"]["message"])
        result = await retry(ann, result, arguments, tool, **{key: form(question["params"]["message"])})
    assert seen == {"w-1", "w-2", "w-3"}
    assert result["structuredContent"] == {f"form-{n}": form(f"w-{n}") for n in (1, 2, 3)}


async def test_prompts_and_resources_ask_too(ann: Somebody) -> None:
    asked = await ann.send("prompts/get", name="pipe__test_input_required_result_prompt")
    answers = {key: {"action": "accept", "content": {"context": "c"}} for key in questions(asked)}
    again: dict[str, Any] = {"requestState": asked["requestState"], "inputResponses": answers}
    done = await ann.send("prompts/get", name="pipe__test_input_required_result_prompt", **again)
    assert '"context": "c"' in str(done["messages"])
    uri = "pipe+test://asking-resource"
    asked = await ann.send("resources/read", uri=uri)
    again = {"requestState": asked["requestState"], "inputResponses": dict.fromkeys(questions(asked), form("n"))}
    assert "accept" in (await ann.send("resources/read", uri=uri, **again))["contents"][0]["text"]


@pytest.mark.parametrize("upstream", ["pipe", "old"])
async def test_a_retry_that_never_comes(web: dict[str, Entry], tmp_path: Path, upstream: str) -> None:
    servers = {**web, "pipe": child(EVERYTHING, "--era", "handshake")}
    hasty = Timing(bridge=BridgeTiming(lifetime_seconds=0.3))
    async with gateway_of(tmp_path, {upstream: servers[upstream]}, hasty) as gateway:
        ann = Somebody(gateway)
        before = (await counts(ann, upstream))["cancelled"]
        asked = await ann.call(f"{upstream}__ask", asking("form"))

        async def is_cancelled() -> bool:
            return await counts(ann, upstream) == {"running": 0, "cancelled": before + 1}

        await wait_until(is_cancelled)
        with pytest.raises(InvalidRequestState, match="expired"):
            await retry(ann, asked, asking("form"), f"{upstream}__ask")


async def test_a_retry_twice(ann: Somebody) -> None:
    first = await ann.call("pipe__ask", asking("form", "form"))
    second = await retry(ann, first, asking("form", "form"))
    with pytest.raises(InvalidRequestState, match="used already"):
        await retry(ann, first, asking("form", "form"), **{"question-1": form("other")})
    done = await retry(ann, second, asking("form", "form"))
    assert done["structuredContent"]["form-1"] == form("x")
    with pytest.raises(InvalidRequestState, match="does not wait here"):
        await retry(ann, second, asking("form", "form"))


@contextmanager
def unheard(upstream: str, house: Gateway, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Nothing reaches the upstream meanwhile."""
    sent: list[str] = []

    async def request(method: str, *args: Any, **more: Any) -> dict[str, Any]:
        sent.append(method)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(house.upstreams[upstream], "lease_now", request)
        yield
    assert sent == []


@pytest.mark.parametrize("upstream", ["pipe", "new"])
async def test_a_retry_of_something_else_is_refused_and_nothing_reaches_the_upstream(
    house: Gateway, upstream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob, own = Somebody(house), Somebody(house, principal="bob"), Somebody(house, view=upstream)
    other = {"pipe": "old", "old": "pipe", "new": "old"}[upstream]
    tool, arguments = f"{upstream}__ask", asking("form")
    asked = await ann.call(tool, arguments)
    state = asked["requestState"]
    attempts: list[tuple[Somebody, str, dict[str, Any], Any]] = [
        (bob, tool, arguments, state),
        (own, "ask", arguments, state),
        (ann, f"{upstream}__test_elicitation", arguments, state),
        (ann, f"{other}__ask", arguments, state),
        (ann, tool, {**arguments, "word": "v"}, state),
        (ann, tool, {}, state),
        (ann, tool, arguments, state[:-2]),
        (ann, tool, arguments, "garbage"),
        (ann, tool, arguments, 7),
        (ann, tool, arguments, {}),
    ]
    for who, called, given, carried in attempts:
        target = called.partition("__")[0] if "__" in called else upstream
        with unheard(target, house, monkeypatch), pytest.raises(InvalidRequestState) as caught:
            await retry(who, {**asked, "requestState": carried}, given, called)
        assert (caught.value.code, caught.value.message.split(".")[0]) == (-32602, "Invalid or expired requestState")
    answers = dict.fromkeys(asked["inputRequests"], form("x"))
    assert "accept" in text_of(await retry(ann, asked, arguments, tool, **answers)), "it is good all the while"


@pytest.mark.parametrize("upstream", ["pipe", "old"])
async def test_an_agent_that_leaves_while_it_waits_takes_its_call_with_it(ann: Somebody, upstream: str) -> None:
    """Between its answer and the upstream's: there the upstream works."""
    before = (await counts(ann, upstream))["cancelled"]
    arguments = {"word": "w", "kinds": ["form"], "then": 60}
    asked = await ann.call(f"{upstream}__ask", arguments)
    with anyio.move_on_after(0.2):
        await retry(ann, asked, arguments, f"{upstream}__ask")

    async def is_cancelled() -> bool:
        return await counts(ann, upstream) == {"running": 0, "cancelled": before + 1}

    await wait_until(is_cancelled)


async def test_too_many_parked(ann: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "MAX_PARKED_EACH", 1)
    before = (await counts(ann, "old"))["cancelled"]
    asked = await ann.call("old__ask", asking("form"))
    with pytest.raises(TooManyParked):
        await ann.call("old__ask", asking("form"))

    async def is_cancelled() -> bool:
        return await counts(ann, "old") == {"running": 1, "cancelled": before + 1}

    await wait_until(is_cancelled)
    await retry(ann, asked, asking("form"), "old__ask")


async def test_an_upstream_that_dies_meanwhile_is_named(tmp_path: Path) -> None:
    async with gateway_of(tmp_path, {"pipe": child(EVERYTHING, "--era", "handshake")}) as gateway:
        ann = Somebody(gateway)
        asked = await ann.call("pipe__ask", asking("form"))
        for link in gateway.upstreams["pipe"].links.private.links:
            link.drop(UpstreamLost("pipe", "it was killed"))
        with pytest.raises(UpstreamLost, match="'pipe'"):
            await retry(ann, asked, asking("form"))
        with pytest.raises(InvalidRequestState):
            await retry(ann, asked, asking("form"))


async def test_another_node_continues_what_the_upstream_itself_remembers(
    house: Gateway, web: dict[str, Entry], tmp_path: Path
) -> None:
    """With the same keys, the state of a modern upstream is good everywhere; what is parked waits where it is."""
    ann = Somebody(house)
    arguments = asking("form", "form")
    asked = {name: await ann.call(f"{name}__ask", arguments) for name in ("old", "new")}
    async with gateway_of(tmp_path, web, **KEYS) as node:
        elsewhere = Somebody(node)
        again = await retry(elsewhere, asked["new"], arguments, "new__ask")
        done = await retry(ann, again, arguments, "new__ask")
        assert done["structuredContent"]["form-2"] == form("x")
        with pytest.raises(InvalidRequestState, match="another node"):
            await retry(elsewhere, asked["old"], arguments, "old__ask")
    await retry(ann, asked["old"], arguments, "old__ask")


async def test_without_the_same_keys_another_node_continues_nothing(
    house: Gateway, web: dict[str, Entry], tmp_path: Path
) -> None:
    asked = await Somebody(house).call("new__ask", asking("form"))
    async with gateway_of(tmp_path, web) as node:
        with pytest.raises(InvalidRequestState):
            await retry(Somebody(node), asked, asking("form"), "new__ask")


async def test_a_modern_agent_that_lacks_the_capability_is_not_asked(house: Gateway) -> None:
    ann = Somebody(house, capabilities={"elicitation": {"form": {}}, "sampling": {}})
    for upstream in ("pipe", "old", "new"):
        for kind, missing in (("url", "elicitation.url"), ("tools", "sampling.tools"), ("roots", "roots")):
            with pytest.raises(GatewayError) as caught:
                await ann.call(f"{upstream}__ask", asking(kind))
            assert missing in f"{caught.value.message} {caught.value.data}", (upstream, kind)


# --- A place among those at work -------------------------------------------------------------------------------------


@pytest.fixture
async def narrow(web: dict[str, Entry], tmp_path: Path, request: pytest.FixtureRequest) -> AsyncGenerator[Gateway]:
    """Each upstream does one thing at a time, and nobody may wait."""
    servers = {**web, "pipe": child(EVERYTHING, "--era", "handshake")}
    one: Any = {"max_concurrency": 1, "max_queue": 0}
    timing: Timing = getattr(request, "param", USUAL)
    async with gateway_of(tmp_path, {name: {**entry, **one} for name, entry in servers.items()}, timing) as gateway:
        yield gateway


@asynccontextmanager
async def busy(gateway: Gateway, upstream: str) -> AsyncGenerator[Somebody]:
    """While bob has the one place there; he himself has no more of them."""
    bob, there = Somebody(gateway, principal="bob", capabilities={}), gateway.upstreams[upstream]
    before = there.in_flight()
    async with anyio.create_task_group() as tg:
        tg.start_soon(bob.call, f"{upstream}__slow", {"seconds": SECONDS})
        await wait_until(lambda: there.in_flight() == before + 1)
        with pytest.raises(UpstreamUnavailable, match="busy"):
            await bob.call(f"{upstream}__cancelled_calls")
        yield bob
        tg.cancel_scope.cancel()


@pytest.mark.parametrize("upstream", ["pipe", "old"])
async def test_a_parked_call_has_no_place_and_goes_on_without_waiting_for_one(narrow: Gateway, upstream: str) -> None:
    ann = Somebody(narrow)
    asked = await ann.call(f"{upstream}__ask", asking("form"))
    async with busy(narrow, upstream):
        done = await retry(ann, asked, asking("form"), f"{upstream}__ask")
        assert done["structuredContent"] == {"form-1": form("x")}
    async with busy(narrow, upstream):
        pass  # nothing was lost, nothing won


@pytest.mark.parametrize("narrow", [Timing(bridge=BridgeTiming(lifetime_seconds=0.1))], indirect=True)
@pytest.mark.parametrize("upstream", ["pipe", "old"])
async def test_a_parked_call_that_nobody_comes_back_for_has_no_place_to_give(narrow: Gateway, upstream: str) -> None:
    await Somebody(narrow).call(f"{upstream}__ask", asking("form"))
    await wait_until(lambda: narrow.upstreams[upstream].in_flight() == 0)
    async with busy(narrow, upstream):
        pass


@pytest.mark.parametrize("upstream", ["pipe", "old", "new"])
async def test_a_call_whose_agent_is_asked_live_has_no_place_meanwhile(narrow: Gateway, upstream: str) -> None:
    ann = Somebody(narrow, HANDSHAKE, answers={"elicitation/create": None}).open()
    async with anyio.create_task_group() as tg:
        tg.start_soon(ann.call, f"{upstream}__ask", asking("form"))
        await wait_until(lambda: ann.asked)
        async with busy(narrow, upstream):
            pass
        tg.cancel_scope.cancel()
    async with busy(narrow, upstream):
        pass
    await ann.close()


# --- Rounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", ["pipe", "old", "new"])
async def test_the_agents_refusal_arrives(house: Gateway, upstream: str) -> None:
    ann = Somebody(house, HANDSHAKE).open()
    ann.answers = {"sampling/createMessage": AgentError(-1, "User rejected sampling request", {"x": 1})}
    with pytest.raises(GatewayError) as caught:
        await ann.call(f"{upstream}__ask", asking("sampling"))
    assert (caught.value.code, caught.value.message) == (-1, "User rejected sampling request")
    assert len(ann.asked) == 1
    await ann.close()


@pytest.mark.parametrize("upstream", ["pipe", "old", "new"])
async def test_a_handshake_agent_that_lacks_the_capability_is_not_asked(house: Gateway, upstream: str) -> None:
    ann = Somebody(house, HANDSHAKE, capabilities={"elicitation": {}, "sampling": {}}).open()
    for kind, missing in (("url", "url"), ("tools", "tools"), ("roots", "roots")):
        with pytest.raises(GatewayError) as caught:
            await ann.call(f"{upstream}__ask", asking(kind))
        assert missing in f"{caught.value.message} {caught.value.data}", kind
    assert ann.asked == []
    await ann.close()


async def test_rounds_without_end_are_ended(house: Gateway) -> None:
    ann = Somebody(house, HANDSHAKE, answers={"elicitation/create": form("x")}).open()
    with pytest.raises(UpstreamProtocolError, match=r"'new'.*10 rounds"):
        await ann.call("new__ask", asking(*["form"] * 11))
    assert len(ann.asked) == rounds.MAX_ROUNDS
    done = await ann.call("new__ask", asking(*["form"] * 10))
    assert len(done["structuredContent"]) == 10
    await ann.close()


async def test_a_cancelled_call_withdraws_its_question(house: Gateway) -> None:
    """And leaves nothing that waits for an answer, however often it happens."""
    for upstream in ("pipe", "old", "new"):
        ann = Somebody(house, HANDSHAKE, answers={"roots/list": None, "elicitation/create": form("x")}).open()
        for n in (1, 2, 3):
            async with anyio.create_task_group() as tg:
                tg.start_soon(ann.call, f"{upstream}__ask", asking("roots"))
                await wait_until(lambda who=ann, n=n: len(who.asked) == n)
                tg.cancel_scope.cancel()
        assert ann.session is not None
        links = house.upstreams[upstream].links.private.of(ann.session.id)
        assert len(links) == (upstream != "new")
        for connection in [link.session.connection for link in links if link.session is not None]:
            await wait_until(lambda table=connection: not table._asked)  # pyright: ignore[reportPrivateUsage]
        assert "accept" in text_of(await ann.call(f"{upstream}__ask", asking("form")))
        await ann.close()


# --- Never guessed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("upstream", ["pipe", "old", "new"])
async def test_two_modern_agents_of_one_principal_get_their_own_questions(house: Gateway, upstream: str) -> None:
    words = [f"word-{n}" for n in range(4)]
    asked: dict[str, dict[str, Any]] = {}
    done: dict[str, Any] = {}

    async def begin(word: str) -> None:
        asked[word] = await Somebody(house).call(f"{upstream}__ask", asking("form", word=word))

    async def go_on(word: str) -> None:
        (key,) = questions(asked[word])
        answer = {key: form(word)}
        done[word] = await retry(Somebody(house), asked[word], asking("form", word=word), f"{upstream}__ask", **answer)

    for step in (begin, go_on):
        with anyio.fail_after(SECONDS):
            async with anyio.create_task_group() as tg:
                for word in words:
                    tg.start_soon(step, word)
    for word in words:
        (question,) = questions(asked[word]).values()
        assert question["params"]["message"] == f"{word}-1"
        assert done[word]["structuredContent"] == {"form-1": form(word)}


async def test_a_shared_pipe_that_asks_is_refused(tmp_path: Path) -> None:
    """Its owner had all agents share a session, on which nothing says who provoked a question."""
    servers = {"pipe": child(EVERYTHING, "--era", "handshake", isolation="shared")}
    async with gateway_of(tmp_path, servers) as gateway:
        handshake = Somebody(gateway, HANDSHAKE, answers={"roots/list": {"roots": []}}).open()
        for who in (handshake, Somebody(gateway), Somebody(gateway, principal="bob")):
            with pytest.raises(UpstreamError) as caught:
                await who.call("pipe__ask", asking("roots"))
            assert caught.value.code == -32601
        assert handshake.asked == []
        assert text_of(await handshake.call("pipe__ask", asking())) == "{}"


async def test_a_shared_session_over_http_asks_whom_it_serves(web: dict[str, Entry], tmp_path: Path) -> None:
    """There each request has a stream of its own; what one agent lacks, it is not asked."""
    async with gateway_of(tmp_path, {"old": {**web["old"], "isolation": "shared"}}) as gateway:
        roots = {"roots": [{"uri": "file:///ann"}]}
        ann = Somebody(gateway, HANDSHAKE, answers={"roots/list": roots}).open()
        bob = Somebody(gateway, HANDSHAKE, principal="bob", capabilities={}).open()
        assert (await ann.call("old__ask", asking("roots")))["structuredContent"] == {"roots-1": roots}
        with pytest.raises(UpstreamError):
            await bob.call("old__ask", asking("roots"))
        assert (len(ann.asked), bob.asked) == (1, [])


async def test_connections_of_ones_own_are_bounded_and_end_with_their_agent(tmp_path: Path) -> None:
    servers = {"pipe": child(EVERYTHING, "--era", "handshake", max_sessions=2, timeout=1)}
    async with gateway_of(tmp_path, servers) as gateway:
        upstream = gateway.upstreams["pipe"]
        links = upstream.links.private
        ann, bob, eve = (Somebody(gateway, HANDSHAKE, principal=name).open() for name in ("ann", "bob", "eve"))
        for who in (ann, bob, ann):
            await who.call("pipe__ask", asking())
        assert len(links.links) == 2
        with pytest.raises(UpstreamUnavailable, match="max_sessions"):
            await eve.call("pipe__ask", asking())
        await ann.close()
        await eve.call("pipe__ask", asking())
        assert len(links.links) == 2
        for who in (bob, eve):
            await who.close()
        assert links.links == []


async def test_what_a_modern_agent_left_idle_makes_room_and_ends(tmp_path: Path) -> None:
    timing = Timing(UpstreamTiming(private_idle_seconds=0.5))
    servers = {"pipe": child(EVERYTHING, "--era", "handshake", max_sessions=1, timeout=5)}
    async with gateway_of(tmp_path, servers, timing) as gateway:
        links = gateway.upstreams["pipe"].links.private
        ann, bob = Somebody(gateway), Somebody(gateway, principal="bob")
        asked = await ann.call("pipe__ask", asking("form"))
        with pytest.raises(UpstreamUnavailable, match="max_sessions"):
            await bob.call("pipe__ask", asking())  # ann's is parked, which is not idle
        await retry(ann, asked, asking("form"))
        await bob.call("pipe__ask", asking())
        assert len(links.links) == 1
        await wait_until(lambda: links.links == [])
