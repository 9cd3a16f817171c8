"""Who hears of which change, and what each upstream is asked for: pure bookkeeping, as a table of steps."""

from typing import Any

import pytest

from gateway.bridge.subscriptions import Listener, Subscriptions

UPDATED = "notifications/resources/updated"


class Ear:
    """A listener, and what it heard."""

    def __init__(self, key: str | None = None, kinds: tuple[str, ...] = (), **resources: tuple[str, str]) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.listener = Listener(key, kinds, lambda method, params: self.heard.append((method, params)), resources)

    @property
    def uris(self) -> list[str]:
        return [params["uri"] for _, params in self.heard]


def test_an_upstream_is_subscribed_for_as_long_as_anybody_wants_it() -> None:
    subscriptions = Subscriptions()
    one, other = Ear(), Ear()
    for ear in (one, other):
        subscriptions.add(ear.listener)
        subscriptions.subscribe(ear.listener, "up+a:1", ("up", "a:1"))
    subscriptions.subscribe(one.listener, "up+a:1", ("up", "a:1"))  # twice is once
    assert subscriptions.wanted("up") == {"a:1"}
    assert subscriptions.unsubscribe(one.listener, "up+a:1") == "up"
    assert subscriptions.wanted("up") == {"a:1"}
    assert subscriptions.unsubscribe(one.listener, "up+a:1") is None, "it had none left"
    assert subscriptions.unsubscribe(other.listener, "up+a:1") == "up"
    assert subscriptions.wanted("up") == frozenset()


def test_two_names_of_one_resource_count_twice() -> None:
    subscriptions = Subscriptions()
    ear = Ear(first=("up", "a:1"), second=("up", "a:1"))
    subscriptions.add(ear.listener)
    subscriptions.unsubscribe(ear.listener, "first")
    assert subscriptions.wanted("up") == {"a:1"}


def test_who_leaves_gives_up_all_it_wanted() -> None:
    subscriptions = Subscriptions()
    ear, stays = Ear(one=("up", "a:1"), two=("up", "a:2"), three=("down", "b:1")), Ear(one=("up", "a:1"))
    subscriptions.add(ear.listener)
    subscriptions.add(stays.listener)
    assert subscriptions.wanted("up") == {"a:1", "a:2"}
    assert subscriptions.remove(ear.listener) == {"up", "down"}
    assert subscriptions.wanted("up") == {"a:1"}
    assert subscriptions.wanted("down") == frozenset()
    assert subscriptions.remove(ear.listener) == set(), "it has left already"
    assert subscriptions.wanted("up") == {"a:1"}
    subscriptions.resource_updated("up", "a:1")
    assert (ear.heard, stays.uris) == ([], ["one"])


def test_a_listener_hears_of_the_kinds_it_asked_for_in_what_it_sees() -> None:
    subscriptions = Subscriptions()
    merged, tools, own = Ear(None, ("tools", "resources", "prompts")), Ear(None, ("tools",)), Ear("up", ("tools",))
    for ear in (merged, tools, own):
        subscriptions.add(ear.listener)
    assert subscriptions.keys() == {None, "up"}
    subscriptions.lists_changed({None: {"tools"}, "down": {"tools"}})
    subscriptions.lists_changed({None: {"prompts"}, "up": {"resources"}})
    subscriptions.lists_changed({})
    assert [method for method, _ in merged.heard] == [
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
    ]
    assert tools.heard == [("notifications/tools/list_changed", None)]
    assert own.heard == []


@pytest.mark.parametrize(
    ("upstream", "uri", "expected"),
    [
        ("up", "a:1", ["up+a:1"]),
        ("up", "a:1/part", ["up+a:1/part"]),
        ("up", "a:1/part/of", ["up+a:1/part/of"]),
        ("up", "a:10", []),
        ("up", "a:", []),
        ("up", "A:1", []),
        ("down", "a:1", []),
    ],
)
def test_an_update_reaches_who_subscribed_to_it_or_to_what_it_is_part_of(
    upstream: str, uri: str, expected: list[str]
) -> None:
    subscriptions = Subscriptions()
    ear = Ear()
    subscriptions.add(ear.listener)
    subscriptions.subscribe(ear.listener, "up+a:1", ("up", "a:1"))
    subscriptions.resource_updated(upstream, uri)
    assert ear.uris == expected


def test_an_update_reaches_only_those_whom_it_concerns() -> None:
    subscriptions, mine, other = Subscriptions(), Ear(public=("up", "own")), Ear(public=("up", "own"))
    for ear in (mine, other):
        subscriptions.add(ear.listener)
    subscriptions.resource_updated("up", "own", lambda listener: listener is mine.listener)
    assert (mine.heard, other.heard) == ([(UPDATED, {"uri": "public"})], [])


def test_a_listener_may_leave_while_it_is_told() -> None:
    subscriptions = Subscriptions()

    def leave(method: str, params: dict[str, Any] | None) -> None:
        for listener in listeners:
            subscriptions.remove(listener)

    listeners = [Listener(None, ("tools",), leave) for _ in range(3)]
    for listener in listeners:
        subscriptions.add(listener)
    subscriptions.lists_changed({None: {"tools"}})
    assert subscriptions.keys() == set()


def test_an_update_of_a_part_reaches_only_who_may_hear_of_it() -> None:
    subscriptions, everybody, somebody = Subscriptions(), Ear(), Ear()
    somebody.listener.admits = lambda upstream, own: (upstream, own) != ("up", "file:///a/secret")
    for ear in (everybody, somebody):
        subscriptions.add(ear.listener)
        subscriptions.subscribe(ear.listener, "file:///a", ("up", "file:///a"))
    for uri in ("file:///a/secret", "file:///a/open", "file:///a"):
        subscriptions.resource_updated("up", uri)
    assert everybody.uris == ["file:///a/secret", "file:///a/open", "file:///a"]
    assert somebody.uris == ["file:///a/open", "file:///a"]
