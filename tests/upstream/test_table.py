"""Which request awaits which answer: correlation, deadlines, and whatever a peer may send, over no transport at all."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import UpstreamError, UpstreamLost, UpstreamProtocolError, UpstreamTimeout
from gateway.upstream.session import UpstreamSession
from gateway.upstream.transport import table as table_module
from gateway.upstream.transport.pending import Pending, SessionLost
from gateway.upstream.transport.table import MAX_ASKED, CallTable
from tests.support import wait_until
from tests.upstream.conftest import PassTime
from tests.upstream.ends import DEADLINE, Ears, exchange

pytestmark = pytest.mark.anyio


class Table(CallTable):
    """Keeps what it is to send."""

    def __init__(self, ears: Ears) -> None:
        super().__init__("up", ears)
        self.sent: list[dict[str, Any]] = []
        self.withdrawn: list[Any] = []

    def _transmit(self, message: dict[str, Any], pending: Pending) -> None:
        self.sent.append(message)

    def _withdraw(self, pending: Pending, *, tell: bool) -> None:
        self.withdrawn.append((pending.id, tell))

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: Any = None) -> None:
        self.sent.append({"method": method})

    async def _answer(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def aclose(self) -> None:
        pass


class Asked:
    """A request under way, and what became of it."""

    def __init__(self) -> None:
        self.outcome: Any = None
        self.heard: list[tuple[str, Any]] = []
        self.scope = anyio.CancelScope()


class Bench:
    def __init__(self, table: Table, ears: Ears, tasks: anyio.abc.TaskGroup) -> None:
        self.table, self.ears, self._tasks = table, ears, tasks

    async def ask(self, params: dict[str, Any] | None = None, /, **options: Any) -> Asked:
        """Send a request; its id is the number of requests so far."""
        asked, before = Asked(), len(self.table.pending)
        self._tasks.start_soon(self._ask, asked, params, options)
        await wait_until(lambda: len(self.table.pending) > before)
        return asked

    async def _ask(self, asked: Asked, params: dict[str, Any] | None, options: Any) -> None:
        def hear(method: str, params: dict[str, Any] | None) -> None:
            asked.heard.append((method, params))

        with asked.scope:
            try:
                if options.keys() & {"max_timeout", "progress"}:
                    asked.outcome = await exchange(self.table, "m", params or {}, hear, **options)
                else:
                    given: Any = {"on_notification": hear, **options}
                    asked.outcome = await self.table.send_raw_request("m", params, given)
            except Exception as error:
                asked.outcome = error

    async def outcome(self, asked: Asked) -> Any:
        await wait_until(lambda: asked.outcome is not None)
        return asked.outcome


@asynccontextmanager
async def bench() -> AsyncGenerator[Bench]:
    ears = Ears()
    table = Table(ears)
    async with UpstreamSession(table, {}), anyio.create_task_group() as tg:
        yield Bench(table, ears, tg)
        tg.cancel_scope.cancel()


def answer(id: Any, **result: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "result": result}


# --- Answers -------------------------------------------------------------------------------------------------------


async def test_each_answer_finds_its_request() -> None:
    async with bench() as b:
        asked = [await b.ask() for _ in range(5)]
        assert [message["id"] for message in b.table.sent] == [1, 2, 3, 4, 5]
        for id in (3, 1, 5, 2, 4):
            b.table.receive(answer(id, number=id, unknown={"kept": None}))
        for id, one in enumerate(asked, 1):
            assert await b.outcome(one) == {"number": id, "unknown": {"kept": None}}
        assert b.table.pending == {}


async def test_an_id_may_come_back_as_a_string() -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive(answer("1", x=1))
        assert await b.outcome(asked) == {"x": 1}


async def test_errors_are_the_upstreams_own() -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive({"id": 1, "error": {"code": -32050, "message": "no ☃", "data": [None]}})
        error = await b.outcome(asked)
        assert isinstance(error, UpstreamError)
        assert (error.code, error.message, error.data) == (-32050, "no ☃", [None])


@pytest.mark.parametrize(
    "error", [{}, {"code": True, "message": 7}, {"code": "x"}, {"code": 1.5, "message": None, "data": {}}]
)
async def test_a_misshapen_error_is_still_one(error: dict[str, Any]) -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive({"id": 1, "error": error})
        assert isinstance(await b.outcome(asked), UpstreamError)


@pytest.mark.parametrize(
    "body", [{}, {"result": 7}, {"result": None}, {"error": "no"}, {"result": [1]}, {"error": None, "result": None}]
)
async def test_neither_result_nor_error(body: dict[str, Any]) -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive({"id": 1, **body})
        assert isinstance(await b.outcome(asked), UpstreamProtocolError)


async def test_late_and_double_answers_change_nothing() -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive(answer(1, x=1))
        b.table.receive(answer(1, x=2))
        assert await b.outcome(asked) == {"x": 1}
        b.table.receive(answer(1, x=3))
        assert b.ears.noise == []


@pytest.mark.parametrize("id", [2, 2.0, "2"])
async def test_ids_that_are_equal_are_the_same(id: Any) -> None:
    async with bench() as b:
        await b.ask()
        asked = await b.ask()
        b.table.receive(answer(id, x=1))
        assert await b.outcome(asked) == {"x": 1}
        b.table.receive(answer(id, x=1))
        assert b.ears.noise == [] or id == "2", "it only comes too late"


async def test_an_empty_result_may_be_written_as_php_does() -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive({"jsonrpc": "2.0", "id": 1, "result": []})
        assert await b.outcome(asked) == {}


@pytest.mark.parametrize("code", [2**70, 1e300, -32000.0])
async def test_an_error_keeps_its_message_whatever_its_code(code: Any) -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "big"}})
        error = await b.outcome(asked)
        assert isinstance(error, UpstreamError)
        assert (error.code, error.message) == (-32000 if code == -32000 else -32600, "big")


@pytest.mark.parametrize("id", [99, "nobody", None, 1.5, [], {}, True])
async def test_an_answer_to_nobody_is_noise(id: Any) -> None:
    async with bench() as b:
        asked = await b.ask()
        await b.ask()  # which True must not be taken for
        b.table.receive(answer(id, x=1))
        assert asked.outcome is None
        assert len(b.ears.noise) == 1 or id is True


async def test_a_calls_own_stream_answers_no_other() -> None:
    async with bench() as b:
        first, second = await b.ask(), await b.ask()
        b.table.receive(answer(2, x=1), b.table.pending[1])
        assert isinstance(await b.outcome(first), UpstreamProtocolError)
        assert second.outcome is None


async def test_an_error_without_id_answers_the_stream_it_is_on() -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.receive({"id": None, "error": {"code": 1, "message": "x"}}, b.table.pending[1])
        assert isinstance(await b.outcome(asked), UpstreamError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = {
    "id": JSON | st.just(7),
    "method": JSON
    | st.sampled_from(["notifications/progress", "notifications/cancelled", "notifications/message", "ping"]),
    "params": JSON
    | st.fixed_dictionaries(
        {}, optional={"progressToken": JSON, "requestId": JSON, "_meta": JSON, "level": JSON, "uri": JSON}
    ),
    "result": JSON,
    "error": JSON | st.fixed_dictionaries({"code": JSON, "message": JSON}),
}


@given(st.fixed_dictionaries({}, optional=PARTS) | JSON)
def test_whatever_comes_is_survived(message: Any) -> None:
    async def receive() -> None:
        async with bench() as b:
            b.table.receive(message)
            b.table.receive(answer(1))
            assert b.table.closed is None

    anyio.run(receive)


# --- Deadlines and giving up ---------------------------------------------------------------------------------------


async def test_the_deadline() -> None:
    async with bench() as b:
        error = await b.outcome(await b.ask(timeout=0.02))
        assert isinstance(error, UpstreamTimeout)
        assert "m within 0.02 s" in error.message
        assert b.table.withdrawn == [(1, True)]
        assert b.table.pending == {}


async def test_progress_renews_the_deadline_up_to_a_point(pass_time: PassTime) -> None:
    async with bench() as b:
        asked = await b.ask(timeout=100, max_timeout=250, progress=True)
        token = b.table.sent[0]["params"]["_meta"]["progressToken"]
        for _ in range(3):
            pass_time(80)
            b.table.receive({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
            await anyio.wait_all_tasks_blocked()
            assert asked.outcome is None
        pass_time(10)
        error = await b.outcome(asked)
        assert isinstance(error, UpstreamTimeout)
        assert "`max_timeout`" in error.message


async def test_what_was_spent_before_it_was_sent_is_part_of_its_time() -> None:
    async with bench() as b:
        for timeout, limit in ((DEADLINE, "timeout"), (2 * DEADLINE, "max_timeout")):
            asked = await b.ask(timeout=timeout, max_timeout=2 * DEADLINE, spent=timeout - 0.02, progress=True)
            if limit == "max_timeout":
                token = b.table.sent[-1]["params"]["_meta"]["progressToken"]
                b.table.receive({"method": "notifications/progress", "params": {"progressToken": token}})
            error = await b.outcome(asked)
            assert isinstance(error, UpstreamTimeout)
            assert f"within {timeout:g} s" in error.message
            assert f"`{limit}`" in error.message


async def test_progress_of_others_renews_nothing() -> None:
    async with bench() as b:
        asked = await b.ask(timeout=0.1, max_timeout=DEADLINE)
        await b.ask()
        with anyio.fail_after(DEADLINE / 2):
            while asked.outcome is None:
                b.table.receive({"method": "notifications/progress", "params": {"progressToken": 2, "progress": 1}})
                await anyio.sleep(0.01)


async def test_who_gives_up_withdraws() -> None:
    async with bench() as b:
        first, second = await b.ask(), await b.ask(cancel_on_abandon=False)
        first.scope.cancel()
        second.scope.cancel()
        await wait_until(lambda: b.table.pending == {})
        assert b.table.withdrawn == [(1, True), (2, False)]


async def test_a_request_that_cannot_be_encoded_leaves_nothing_behind() -> None:
    class Picky(Table):
        def _transmit(self, message: dict[str, Any], pending: Pending) -> None:
            raise ValueError("a header contains a line break")

    table = Picky(Ears())
    with pytest.raises(ValueError, match="line break"):
        await table.send_raw_request("m", {}, {"timeout": DEADLINE})
    assert table.pending == {}


# --- The end -------------------------------------------------------------------------------------------------------


async def test_the_end_fails_what_is_in_flight() -> None:
    async with bench() as b:
        asked = await b.ask()
        reason = UpstreamLost("up", "it exited with status 3")
        b.table.close(reason)
        b.table.close(UpstreamLost("up", "something else"))
        assert await b.outcome(asked) is reason
        assert await b.table.wait_closed() is reason
        with pytest.raises(UpstreamLost, match="status 3"):
            await b.table.send_raw_request("m", {})


async def test_a_lost_session_does_not_make_others_calls_repeatable() -> None:
    async with bench() as b:
        asked = await b.ask()
        b.table.close(SessionLost("up"))
        error = await b.outcome(asked)
        assert isinstance(error, UpstreamLost)
        assert error.delivered
        assert isinstance(b.table.closed, SessionLost)


async def test_leaving_the_session_fails_what_is_in_flight() -> None:
    table = Table(Ears())
    async with anyio.create_task_group() as tg:
        async with UpstreamSession(table, {}):
            asked = Bench(table, Ears(), tg)
            one = await asked.ask()
        assert isinstance(await asked.outcome(one), UpstreamLost)


# --- What the upstream says unasked --------------------------------------------------------------------------------


async def test_notifications_find_their_request() -> None:
    async with bench() as b:
        first, second = await b.ask(progress=True), await b.ask()
        progress = {"progressToken": 1, "progress": 1}
        b.table.receive({"method": "notifications/progress", "params": progress})
        b.table.receive({"method": "notifications/message", "params": {"level": "info"}}, b.table.pending[2])
        tagged = {"_meta": {"io.modelcontextprotocol/subscriptionId": 2}}
        b.table.receive({"method": "notifications/tools/list_changed", "params": tagged})
        b.table.receive({"method": "notifications/tools/list_changed"})
        assert first.heard == [("notifications/progress", progress)]
        assert [method for method, _ in second.heard] == ["notifications/message", "notifications/tools/list_changed"]
        assert b.ears.notifications == [("notifications/tools/list_changed", None)]


async def test_the_agents_meta_is_kept_beside_the_token() -> None:
    async with bench() as b:
        await b.ask({"_meta": {"x": 1}, "y": 2}, progress=True)
        assert b.table.sent[0]["params"] == {"_meta": {"x": 1, "progressToken": 1}, "y": 2}


async def test_a_listener_that_fails_harms_nobody() -> None:
    async with bench() as b:

        def fail(method: str, params: Any) -> None:
            raise LookupError

        asked = await b.ask(on_notification=fail)
        b.table.receive({"method": "notifications/message", "params": {}}, b.table.pending[1])
        b.table.receive(answer(1, x=1))
        assert await b.outcome(asked) == {"x": 1}
        assert "LookupError" in b.ears.noise[0]


async def test_requests_are_answered() -> None:
    async with bench() as b:
        b.table.receive({"id": "q", "method": "ping"})
        b.table.receive({"id": "r", "method": "roots/list"})
        await wait_until(lambda: len(b.table.sent) == 2)
        assert b.table.sent[0] == {"jsonrpc": "2.0", "id": "q", "result": {}}
        assert b.table.sent[1]["error"]["code"] == -32601


async def test_the_upstream_may_cancel_its_request_even_before_we_begin() -> None:
    async with bench() as b:
        b.table.receive({"id": "q", "method": "wait"})
        b.table.receive({"method": "notifications/cancelled", "params": {"requestId": "q"}})
        b.table.receive({"id": "p", "method": "ping"})
        await wait_until(lambda: len(b.table.sent) == 1)
        assert b.table.sent[0]["id"] == "p"
        b.table.receive({"id": "q", "method": "ping"})  # its id is free again
        await wait_until(lambda: len(b.table.sent) == 2)


async def test_requests_at_a_time_are_bounded() -> None:
    async with bench() as b:
        for number in range(3 * MAX_ASKED):
            b.table.receive({"id": number, "method": "wait"})
        await anyio.wait_all_tasks_blocked()
        assert len(b.ears.asked) == MAX_ASKED
        assert len(b.ears.noise) == 2 * MAX_ASKED


async def test_questions_of_one_call_keep_those_of_another_away_no_more_than_its_own_bound() -> None:
    async with bench() as b:
        await b.ask()
        await b.ask()
        one, other = b.table.pending[1], b.table.pending[2]
        for number in range(2 * MAX_ASKED):
            b.table.receive({"id": number, "method": "wait"}, one)
        b.table.receive({"id": "other", "method": "wait"}, other)
        await anyio.wait_all_tasks_blocked()
        assert len(b.ears.asked) == MAX_ASKED + 1
        assert len(b.ears.noise) == MAX_ASKED
        b.table.receive({"method": "notifications/cancelled", "params": {"requestId": 0}})
        await anyio.wait_all_tasks_blocked()
        b.table.receive({"id": "next", "method": "wait"}, one)
        await anyio.wait_all_tasks_blocked()
        assert len(b.ears.asked) == MAX_ASKED + 2


@pytest.mark.parametrize("data", [b"{}", b'{"method":"x","params":{"id":1}}'], ids=["plain", "with an id inside"])
async def test_a_notification_that_is_too_large_is_dropped(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(table_module, "MAX_NOTIFICATION", 10)
    async with bench() as b:
        asked = await b.ask(progress=True)
        progress = {"method": "notifications/progress", "params": {"progressToken": 1, "progress": 1}}
        assert not b.table.drops(data[:10])
        if not b.table.drops(data + b" " * 10):
            b.table.receive(progress, size=len(data) + 10)
        assert asked.heard == []
        assert b.ears.noise == ["a notification of more than 10 bytes"]
        b.table.receive(progress, size=10)
        assert len(asked.heard) == 1
        b.table.receive({"id": 1, "result": {}}, size=100)
        assert await b.outcome(asked) == {}, "an answer may be as large as the upstream is allowed"
