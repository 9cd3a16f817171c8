"""subscriptions/listen on the wire: acknowledged first, tagged, only what was asked for, ended gracefully."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from secrets import token_hex
from typing import Any

import pytest

from tests.interaction._http import HttpChannel, messages, posted
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, Pipe, Wire, request
from tests.servers.items.reading import WATCHED
from tests.servers.peers import SECONDS
from tests.support import wait_until

pytestmark = pytest.mark.anyio

modern = pytest.mark.parametrize("wire", ["stdio-modern", "http-modern"], indirect=True)

UPSTREAM = "http-modern"
URI = f"{UPSTREAM}+{WATCHED}"
TAG = "io.modelcontextprotocol/subscriptionId"


def listen(id: Any, **wanted: Any) -> Message:
    return request("subscriptions/listen", {"notifications": wanted}, modern=True, id=id)


def tag_of(message: Message) -> Any:
    """The listen stream that a notification belongs to."""
    return message.get("params", {}).get("_meta", {}).get(TAG)


@contextmanager
def listening(wire: Wire, id: Any, **wanted: Any) -> Generator[Iterator[Message]]:
    """What comes for one listen stream; everything else on the same channel is left out."""
    if isinstance(wire.channel, HttpChannel):
        with posted(wire.channel.url, listen(id, **wanted)) as response:
            assert response.headers["X-Accel-Buffering"] == "no"
            yield messages(response)
        return
    pipe = wire.channel
    assert isinstance(pipe, Pipe)
    pipe.send(listen(id, **wanted))
    yield (one for one in iter(pipe.receive, None) if tag_of(one) == id)
    pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})


def offers(wire: Wire, tool: str) -> bool:
    return any(one["name"] == f"{UPSTREAM}__{tool}" for one in wire.listed("tools/list", "tools"))


async def catch_up(wire: Wire) -> None:
    """Let the gateway see what others at the same upstream changed before: it would announce that in between."""
    marker = f"marker_{token_hex(4)}"
    wire.call(f"{UPSTREAM}__add_tool", name=marker)
    await wait_until(lambda: offers(wire, marker), SECONDS)
    wire.call(f"{UPSTREAM}__remove_tool", name=marker)
    await wait_until(lambda: not offers(wire, marker), SECONDS)


def send(wire: Wire, tool: str, **arguments: str) -> None:
    """Call without waiting for the answer, which on a pipe comes between what is listened to."""
    message = request("tools/call", {"name": f"{UPSTREAM}__{tool}", "arguments": arguments}, modern=True)
    if isinstance(wire.channel, Pipe):
        wire.channel.send(message)
    else:
        wire.call(f"{UPSTREAM}__{tool}", **arguments)


@requirement("listen:acknowledged", "listen:tagged")
@modern
@pytest.mark.parametrize("id", [71, "mine", "☃"])
def test_it_is_acknowledged_first_with_what_will_be_sent(wire: Wire, id: int | str) -> None:
    asked = {"toolsListChanged": True, "promptsListChanged": False, "resourceSubscriptions": [URI, "nonesuch://x"]}
    with listening(wire, id, **asked, nonesuch=True) as stream:
        acknowledgement = next(stream)
        assert acknowledgement["method"] == "notifications/subscriptions/acknowledged"
        assert acknowledgement["params"]["_meta"] == {TAG: id}
        honoured = {"toolsListChanged": True, "resourceSubscriptions": [URI]}
        assert acknowledgement["params"]["notifications"] == honoured
        send(wire, "touch_resource", uri=WATCHED)
        updated = next(stream)
        assert updated["method"] == "notifications/resources/updated"
        assert updated["params"] == {"uri": URI, "_meta": {TAG: id}}


@requirement("changes:only-asked")
@modern
async def test_it_hears_nothing_it_did_not_ask_for(wire: Wire) -> None:
    await catch_up(wire)
    with listening(wire, 72, toolsListChanged=True) as stream:
        next(stream)
        send(wire, "touch_resource", uri=WATCHED)
        send(wire, "test_tool_with_logging")
        send(wire, "add_tool", name="heard_of")
        assert next(stream)["method"] == "notifications/tools/list_changed"
        send(wire, "remove_tool", name="heard_of")
        assert next(stream)["method"] == "notifications/tools/list_changed"


@requirement("listen:acknowledged")
@modern
def test_asking_for_nothing_is_acknowledged(wire: Wire) -> None:
    with listening(wire, 73) as stream:
        assert next(stream)["params"] == {"_meta": {TAG: 73}, "notifications": {}}


@requirement("listen:tagged", "cancel:no-answer")
def test_several_streams_on_one_channel_are_told_apart_and_end_when_cancelled(raw_pipe: Pipe) -> None:
    wire = Wire(raw_pipe, modern=True)
    kinds = {76: "resources/updated", 77: "tools/list_changed"}
    raw_pipe.send(listen(76, resourceSubscriptions=[URI]))
    raw_pipe.send(listen(77, toolsListChanged=True))
    # What comes without a tag is an answer, or meant for the connection's handshake.
    frames = (one for one in iter(raw_pipe.receive, None) if tag_of(one) is not None)
    for _ in kinds:
        assert next(frames)["method"] == "notifications/subscriptions/acknowledged"
    send(wire, "touch_resource", uri=WATCHED)
    send(wire, "add_tool", name="told_apart")
    heard: set[int] = set()
    while heard != set(kinds):
        frame = next(frames)
        assert frame["method"] == f"notifications/{kinds[tag_of(frame)]}"
        heard.add(tag_of(frame))
    for id in kinds:
        raw_pipe.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
    wire.ask("server/discover")  # whatever was on its way has arrived with its answer
    touched = wire.call(f"{UPSTREAM}__touch_resource", uri=WATCHED)
    removed = wire.call(f"{UPSTREAM}__remove_tool", name="told_apart")
    listed = wire.ask("tools/list")
    assert not any(tag_of(one) for answer in (touched, removed, listed) for one in answer.before)
