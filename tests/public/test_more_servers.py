"""Fifteen more public servers, listed and called through a gateway with a key: byte for byte what they say without it.

With those of `test_servers.py` these are twenty programs, in Python and TypeScript, on both lines of both SDKs, over
stdio, HTTP with and without a key, and SSE.
"""

import json
from typing import Any

import msgspec
import pytest

from tests.public.conftest import KEY, More
from tests.public.more import CALLS, interview
from tests.servers.peers import ENVELOPE, post, request

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])


def ask(url: str, method: str, params: dict[str, Any], *, modern: bool) -> bytes:
    status, body = post(url, request(method, {**ENVELOPE, **params} if modern else params), **{"X-API-Key": KEY})
    assert status == 200, body
    return body


@ERAS
@pytest.mark.parametrize("server", CALLS)
def test_lists_are_equal_to_the_byte_and_answers_the_same(more: More, server: str, modern: bool) -> None:
    def through(method: str, params: dict[str, Any]) -> bytes:
        return ask(f"{more.url}/mcp/{server}", method, params, modern=modern)

    expected = more.direct[server]
    said = interview(through, server, list(expected.lists), more.words)
    assert said.lists == expected.lists
    assert said.answers == expected.answers


@ERAS
@pytest.mark.parametrize(("kind", "method"), [("tools", "tools/list"), ("prompts", "prompts/list")])
def test_the_merged_lists_have_the_items_of_all_with_their_keys_in_order(
    more: More, kind: str, method: str, modern: bool
) -> None:
    merged = [
        msgspec.json.encode(item)
        for item in json.loads(ask(f"{more.url}/mcp", method, {}, modern=modern))["result"][kind]
    ]
    expected = [
        msgspec.json.encode(item | {"name": f"{server}__{item['name']}"})
        for server, said in more.direct.items()
        for item in json.loads(said.lists.get(kind, b"[]"))
    ]
    assert sorted(merged) == sorted(expected)


def test_a_wrong_key_is_refused(more: More) -> None:
    status, _ = post(f"{more.url}/mcp", request("tools/list"), **{"X-API-Key": "mcp-wrong"})
    assert status == 401
