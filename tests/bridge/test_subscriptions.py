"""Who hears of which change, and what each upstream is asked for: pure bookkeeping, as a table of steps."""

from collections.abc import Iterable
from typing import Any

import pytest

from gateway.bridge import subscriptions as module
from gateway.bridge.subscriptions import MAX_BYTES, MAX_RESOURCES, Subscriber, Subscriptions
from gateway.errors import InvalidParams, TooManySubscriptions
from gateway.request import ANONYMOUS

UPDATED = "notifications/resources/updated"


def tell(steps: Iterable[None]) -> None:
    """All of them."""
    for _ in steps:
        pass


class Ear:
    """A listener, and what it heard."""

    def __init__(self, key: str | None = None, kinds: tuple[str, ...] = (), **resources: tuple[str, str]) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.listener = Subscriber(key, kinds, lambda method, params: self.heard.append((method, params)), resources)

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
    assert subscriptions.unsubscribe(one.listener, "up+a:1") == ("up", "a:1")
    assert subscriptions.wanted("up") == {"a:1"}
    assert subscriptions.unsubscribe(one.listener, "up+a:1") is None, "it had none left"
    assert subscriptions.unsubscribe(other.listener, "up+a:1") == ("up", "a:1")
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
    subscriptions.remove(ear.listener)
    assert subscriptions.wanted("up") == {"a:1"}
    assert subscriptions.wanted("down") == frozenset()
    subscriptions.remove(ear.listener)  # it has left already
    assert subscriptions.wanted("up") == {"a:1"}
    tell(subscriptions.resource_updated("up", "a:1"))
    assert (ear.heard, stays.uris) == ([], ["one"])


def test_a_listener_hears_of_the_kinds_it_asked_for_in_what_it_sees() -> None:
    subscriptions = Subscriptions()
    merged, tools, own = Ear(None, ("tools", "resources", "prompts")), Ear(None, ("tools",)), Ear("up", ("tools",))
    for ear in (merged, tools, own):
        subscriptions.add(ear.listener)
    assert subscriptions.keys() == {None, "up"}
    tell(subscriptions.lists_changed({None: {"tools"}, "down": {"tools"}}))
    tell(subscriptions.lists_changed({None: {"prompts"}, "up": {"resources"}}))
    tell(subscriptions.lists_changed({}))
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
    tell(subscriptions.resource_updated(upstream, uri))
    assert ear.uris == expected


def test_an_update_reaches_only_those_whom_it_concerns() -> None:
    subscriptions, mine, other = Subscriptions(), Ear(public=("up", "own")), Ear(public=("up", "own"))
    for ear in (mine, other):
        subscriptions.add(ear.listener)
    tell(subscriptions.resource_updated("up", "own", lambda listener: listener is mine.listener))
    assert (mine.heard, other.heard) == ([(UPDATED, {"uri": "public"})], [])


def test_a_listener_may_leave_while_it_is_told() -> None:
    subscriptions = Subscriptions()

    def leave(method: str, params: dict[str, Any] | None) -> None:
        for listener in listeners:
            subscriptions.remove(listener)

    listeners = [Subscriber(None, ("tools",), leave) for _ in range(3)]
    for listener in listeners:
        subscriptions.add(listener)
    tell(subscriptions.lists_changed({None: {"tools"}}))
    assert subscriptions.keys() == set()


def test_an_update_of_a_part_reaches_only_who_may_hear_of_it() -> None:
    subscriptions, everybody, somebody = Subscriptions(), Ear(), Ear()
    somebody.listener.admits = lambda upstream, own: (upstream, own) != ("up", "file:///a/secret")
    for ear in (everybody, somebody):
        subscriptions.add(ear.listener)
        subscriptions.subscribe(ear.listener, "file:///a", ("up", "file:///a"))
    for uri in ("file:///a/secret", "file:///a/open", "file:///a"):
        tell(subscriptions.resource_updated("up", uri))
    assert everybody.uris == ["file:///a/secret", "file:///a/open", "file:///a"]
    assert somebody.uris == ["file:///a/open", "file:///a"]


def test_a_listener_has_so_many_and_so_long_ones() -> None:
    subscriptions, many, long = Subscriptions(), Ear(), Ear()
    for ear in (many, long):
        subscriptions.add(ear.listener)
    for number in range(MAX_RESOURCES):
        subscriptions.subscribe(many.listener, f"a:{number}", ("up", f"a:{number}"))
    subscriptions.subscribe(long.listener, "b:" + "x" * (MAX_BYTES - 2), ("up", "b:"))
    for ear in (many, long):
        with pytest.raises(InvalidParams, match="At most"):
            subscriptions.subscribe(ear.listener, "b:1", ("up", "b:1"))
        assert "b:1" not in ear.listener.resources
    subscriptions.subscribe(many.listener, "a:0", ("up", "a:0"))  # it has that already
    subscriptions.unsubscribe(many.listener, "a:0")
    subscriptions.subscribe(many.listener, "b:1", ("up", "b:1"))


def test_the_closest_of_several_that_an_update_is_part_of_is_named() -> None:
    subscriptions, ear = Subscriptions(), Ear()
    subscriptions.add(ear.listener)
    for uri in ("a:x", "a:x/y/", "a:x/y/z"):
        subscriptions.subscribe(ear.listener, f"up+{uri}", ("up", uri))
    for uri in ("a:x/y/z", "a:x/y/q", "a:x/p", "a:x/y", "a:x/y//q"):
        tell(subscriptions.resource_updated("up", uri))
    assert ear.uris == ["up+a:x/y/z", "up+a:x/y/q", "up+a:x/p", "up+a:x/y", "up+a:x/y//q"]
    subscriptions.unsubscribe(ear.listener, "up+a:x/y/")
    subscriptions.unsubscribe(ear.listener, "up+a:x")
    tell(subscriptions.resource_updated("up", "a:x/y/q"))
    assert len(ear.uris) == 5
    assert subscriptions.wanted("up") == {"a:x/y/z"}


def test_what_a_listener_sees_may_change() -> None:
    subscriptions, ear = Subscriptions(), Ear("old", ("tools",))
    subscriptions.add(ear.listener)
    subscriptions.rekey(ear.listener, "new")
    assert subscriptions.keys() == {"new"}
    tell(subscriptions.lists_changed({"old": {"tools"}}))
    assert ear.heard == []
    tell(subscriptions.lists_changed({"new": {"tools"}}))
    assert len(ear.heard) == 1


def test_who_has_left_wants_nothing_any_more() -> None:
    """Whatever was still on its way then."""
    subscriptions, ear = Subscriptions(), Ear(one=("up", "a:1"))
    subscriptions.add(ear.listener)
    subscriptions.remove(ear.listener)
    subscriptions.unsubscribe(ear.listener, "one")
    subscriptions.subscribe(ear.listener, "two", ("up", "a:2"))
    assert subscriptions.wanted("up") == frozenset()


def test_what_is_wanted_is_a_view_that_nobody_copies() -> None:
    subscriptions, ear = Subscriptions(), Ear()
    wanted = subscriptions.wanted("up")
    subscriptions.add(ear.listener)
    for number in range(3):
        subscriptions.subscribe(ear.listener, f"a:{number}", ("up", f"a:{number}"))
    assert wanted == {"a:0", "a:1", "a:2"}
    subscriptions.remove(ear.listener)
    assert wanted == set()
    subscriptions.add(Ear(one=("up", "a:1")).listener)
    assert wanted == {"a:1"}


def test_a_principal_has_so_many_over_all_its_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EACH", 3)
    monkeypatch.setattr(module, "MAX_OF_ALL", 7)
    subscriptions, ears = Subscriptions(), [Ear(), Ear(), Ear(), Ear(), Ear(), Ear()]
    for ear, root in zip(ears, ["key:a", "key:a", "key:b", "key:c", ANONYMOUS.id, ANONYMOUS.id], strict=True):
        ear.listener.root = root
        subscriptions.add(ear.listener)

    def subscribe(ear: Ear, name: str) -> None:
        subscriptions.subscribe(ear.listener, name, ("up", name))

    subscribe(ears[0], "a:1")
    subscribe(ears[1], "a:1")
    subscribe(ears[1], "a:2")
    for ear in ears[:2]:
        with pytest.raises(TooManySubscriptions, match="3 resources"):
            subscribe(ear, "a:3")
        assert "a:3" not in ear.listener.resources
    subscribe(ears[2], "a:3")  # another principal may
    with pytest.raises(TooManySubscriptions):
        subscribe(ears[3], "a:" + "long" * 200)  # which counts for four
    subscriptions.unsubscribe(ears[1].listener, "a:2")
    subscribe(ears[0], "a:2")
    subscriptions.remove(ears[0].listener)
    subscribe(ears[1], "a:2")
    subscribe(ears[1], "a:3")
    with pytest.raises(TooManySubscriptions):
        subscribe(ears[1], "a:4")
    subscribe(ears[4], "a:1")  # who is nobody has no share of its own
    for name in ("a:1", "a:2"):
        subscribe(ears[5], name)
    with pytest.raises(TooManySubscriptions, match="7 resources"):
        subscribe(ears[5], "a:3")
    with pytest.raises(TooManySubscriptions):
        subscriptions.add(Ear(one=("up", "a:1")).listener)


def test_what_is_subscribed_to_may_lead_elsewhere() -> None:
    subscriptions, ear = Subscriptions(), Ear(public=("up", "own"))
    subscriptions.add(ear.listener)
    subscriptions.move(ear.listener, "public", ("down", "other"))
    assert (subscriptions.wanted("up"), subscriptions.wanted("down")) == (set(), {"other"})
    tell(subscriptions.resource_updated("up", "own"))
    tell(subscriptions.resource_updated("down", "other"))
    assert ear.uris == ["public"]


def test_of_many_who_come_at_once_some_get_all_they_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EACH", 5)
    subscriptions, ears = Subscriptions(), [Ear(), Ear(), Ear()]
    names = ["a:1", "a:2"]
    for ear in ears:
        ear.listener.root = "key:a"
    for ear in ears[:2]:
        subscriptions.add(ear.listener, reserve=names)
    with pytest.raises(TooManySubscriptions):
        subscriptions.add(ears[2].listener, reserve=names)
    for name in names:
        for ear in ears[:2]:
            subscriptions.subscribe(ear.listener, name, ("up", name))
    subscriptions.unsubscribe(ears[0].listener, "a:1")
    subscriptions.add(ears[2].listener, reserve=names)
    subscriptions.subscribe(ears[2].listener, "a:1", ("up", "a:1"))
    with pytest.raises(TooManySubscriptions):
        subscriptions.subscribe(ears[0].listener, "a:1", ("up", "a:1"))
    subscriptions.release(ears[2].listener)  # there was no other resource that it may have
    subscriptions.subscribe(ears[0].listener, "a:1", ("up", "a:1"))
    for ear in ears:
        subscriptions.remove(ear.listener)
    subscriptions.add(ears[2].listener, reserve=[f"a:{number}" for number in range(5)])
