"""Two clients of one server that knows but one."""

import json
from typing import Any

from gateway.upstream.hosting.frames import ID_BITS
from gateway.upstream.hosting.multiplexer import Multiplexer

Message = dict[str, Any]
OTHER = 1 << ID_BITS
"""The first id of the second client."""


class Room:
    """A server and two clients, of which each keeps what it hears."""

    def __init__(self) -> None:
        self.server: list[Message] = []
        self.clients: list[list[Message]] = [[], []]
        self.multiplexer = Multiplexer(lambda data: self.server.append(json.loads(data)))
        for number, heard in enumerate(self.clients):
            self.multiplexer.join(number, lambda data, heard=heard: heard.append(json.loads(data)))

    def ask(self, client: int, method: str, id: int | None = None, **params: Any) -> None:
        message: Message = {"jsonrpc": "2.0", "method": method, "params": params}
        if id is not None:
            message["id"] = id
        self.multiplexer.hear_client(client, json.dumps(message).encode())

    def say(self, **message: Any) -> None:
        self.multiplexer.hear_server(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def initialized(self) -> "Room":
        """Both have shaken hands."""
        self.ask(0, "initialize", 1)
        self.say(id=1, result={"protocolVersion": "2025-11-25"})
        self.ask(0, "notifications/initialized")
        self.ask(1, "initialize", OTHER + 1)
        self.ask(1, "notifications/initialized")
        self.server.clear()
        for heard in self.clients:
            heard.clear()
        return self


def methods(messages: list[Message]) -> list[str]:
    return [each["method"] for each in messages]


def test_a_server_is_initialized_once_and_both_hear_its_answer() -> None:
    room = Room()
    room.ask(0, "initialize", 1)
    room.ask(1, "initialize", OTHER + 1)
    assert methods(room.server) == ["initialize"]
    assert room.clients[1] == []
    room.say(id=1, result={"protocolVersion": "2025-11-25"})
    room.ask(0, "notifications/initialized")
    room.ask(1, "notifications/initialized")
    assert [each[0]["result"] for each in room.clients] == [{"protocolVersion": "2025-11-25"}] * 2
    assert room.clients[1][0]["id"] == OTHER + 1
    assert methods(room.server) == ["initialize", "notifications/initialized"]


def test_nobody_probes_a_server_that_has_shaken_hands() -> None:
    room = Room().initialized()
    room.ask(1, "server/discover", OTHER + 2)
    assert room.server == []
    assert room.clients[1][0]["error"]["code"] == -32601


def test_who_comes_while_another_negotiates_waits_for_the_era_to_be_known() -> None:
    room = Room()
    room.ask(0, "server/discover", 1)
    room.ask(1, "server/discover", OTHER + 1)
    assert [each["id"] for each in room.server] == [1]
    room.say(id=1, result={})
    room.ask(0, "tools/list", 2)
    assert [each["id"] for each in room.server] == [1, 2, OTHER + 1]


def test_who_leaves_in_the_middle_of_it_makes_room_for_the_next() -> None:
    room = Room()
    room.ask(0, "initialize", 1)
    room.ask(1, "initialize", OTHER + 1)
    room.multiplexer.leave(0)
    assert [each["id"] for each in room.server if each["method"] == "initialize"] == [1, OTHER + 1]


def test_answers_go_to_whom_they_are_for() -> None:
    room = Room().initialized()
    room.ask(0, "tools/call", 7)
    room.ask(1, "tools/call", OTHER + 7)
    room.say(id=OTHER + 7, result={"of": "the second"})
    room.say(id=str(7), result={"of": "the first"})  # some turn it into text
    assert [[each["result"]["of"] for each in heard] for heard in room.clients] == [["the first"], ["the second"]]


def test_progress_and_what_was_subscribed_to_go_to_whom_they_are_for() -> None:
    room = Room().initialized()
    room.say(method="notifications/progress", params={"progressToken": OTHER + 7, "progress": 1})
    meta = {"io.modelcontextprotocol/subscriptionId": OTHER + 8}
    room.say(method="notifications/resources/updated", params={"uri": "a://b", "_meta": meta})
    assert room.clients[0] == []
    assert len(room.clients[1]) == 2


def test_what_names_nobody_is_for_all() -> None:
    room = Room().initialized()
    room.say(method="notifications/tools/list_changed")
    assert [methods(heard) for heard in room.clients] == [["notifications/tools/list_changed"]] * 2


def test_a_question_is_for_the_one_who_waits_and_for_nobody_where_two_do() -> None:
    room = Room().initialized()
    room.ask(1, "tools/call", OTHER + 7)
    room.say(id=1, method="roots/list")
    assert methods(room.clients[1]) == ["roots/list"]
    room.ask(0, "tools/call", 7)
    room.say(id=2, method="roots/list")
    assert room.server[-1]["error"]["code"] == -32601
    room.say(id=3, method="ping")
    assert room.server[-1] == {"jsonrpc": "2.0", "id": 3, "result": {}}


def test_a_resource_is_unsubscribed_from_when_nobody_wants_it_any_more() -> None:
    room = Room().initialized()
    room.ask(0, "resources/subscribe", 7, uri="a://b")
    room.ask(1, "resources/subscribe", OTHER + 7, uri="a://b")
    room.ask(0, "resources/unsubscribe", 8, uri="a://b")
    assert room.clients[0][-1] == {"jsonrpc": "2.0", "id": 8, "result": {}}
    assert "resources/unsubscribe" not in methods(room.server)
    room.multiplexer.leave(1)
    assert room.server[-1]["method"] == "resources/unsubscribe"


def test_the_most_is_logged_that_anybody_wants() -> None:
    room = Room().initialized()
    room.ask(0, "logging/setLevel", 7, level="debug")
    room.ask(1, "logging/setLevel", OTHER + 7, level="error")
    assert [each["params"]["level"] for each in room.server] == ["debug"]
    assert room.clients[1][-1]["result"] == {}


def test_calls_of_one_that_is_gone_are_cancelled() -> None:
    room = Room().initialized()
    room.ask(1, "tools/call", OTHER + 7)
    room.multiplexer.leave(1)
    assert room.server[-1]["params"] == {"requestId": OTHER + 7}
    room.say(id=OTHER + 7, result={})
    assert room.clients == [[], []]
