"""What passes through comes out as it went in: compared as JSON text, number for number, for every way through."""

from typing import Any

import pytest

from tests.interaction._requirements import requirement
from tests.interaction._wire import Wire
from tests.interaction.conftest import RAWS
from tests.servers import raw

pytestmark = pytest.mark.parametrize("upstream", RAWS)

ENVELOPE = ("resultType", "ttlMs", "cacheScope")
"""What the modern era adds to a result; the fixture has none of it in what it says itself."""
SERVER_INFO = "io.modelcontextprotocol/serverInfo"


def public_uri(upstream: str, own: str) -> str:
    """All of them have it, so it is the first one's."""
    return own if upstream == RAWS[0] else f"{upstream}+{own}"


def returned_by(upstream: str) -> dict[str, Any]:
    """`raw.RESULT`, whose links lead to the upstream itself."""
    text, image, link, resource, rest = raw.RESULT["content"]
    uri = public_uri(upstream, link["uri"])
    resource = {**resource, "resource": {**resource["resource"], "uri": uri}}
    return {**raw.RESULT, "content": [text, image, {**link, "uri": uri}, resource, rest]}


def assert_same(wire: Wire, result: dict[str, Any], expected: dict[str, Any]) -> None:
    """The result is the expected one, but for what the agent's era wraps around it."""
    assert ("resultType" in result) == wire.modern
    meta = {key: value for key, value in result.get("_meta", {}).items() if key != SERVER_INFO}
    bare = {key: value for key, value in result.items() if key not in ENVELOPE} | {"_meta": meta}
    assert raw.encode(dict(sorted(bare.items()))) == raw.encode(dict(sorted(expected.items())))


@requirement("fidelity:result")
def test_a_tools_result(wire: Wire, upstream: str) -> None:
    assert_same(wire, wire.call(f"{upstream}__raw").result, returned_by(upstream))


@requirement("fidelity:result", "tools:is-error")
def test_a_failed_tools_result(wire: Wire, upstream: str) -> None:
    assert_same(wire, wire.call(f"{upstream}__fail").result, returned_by(upstream) | {"isError": True})


@requirement("fidelity:arguments")
def test_a_tools_arguments(wire: Wire, upstream: str) -> None:
    arguments = raw.ODD | {"name": None, "_meta": {"progressToken": 1}}
    content = wire.call(f"{upstream}__echo", **arguments).result["content"]
    assert content[0]["text"] == raw.encode(arguments).decode()


@requirement("fidelity:result")
def test_a_resources_content(wire: Wire, upstream: str) -> None:
    own = f"raw://{upstream}"
    result = wire.ask("resources/read", {"uri": public_uri(upstream, own)}).result
    content = {"uri": public_uri(upstream, own), "text": raw.ODD["text"], "x-unknown": raw.ODD}
    assert_same(wire, result, {"contents": [content]} | raw.EXTRA)


@requirement("fidelity:result", "fidelity:arguments")
def test_a_prompts_messages(wire: Wire, upstream: str) -> None:
    arguments = {"a": "☃", "": '"\u2028'}
    result = wire.ask("prompts/get", {"name": f"{upstream}__odd", "arguments": arguments}).result
    assert_same(wire, result, raw.prompt({"arguments": arguments}))


@requirement("fidelity:items")
def test_items_of_every_list(wire: Wire, upstream: str) -> None:
    """They are what the upstream sent, but for the name or URI they go by here."""
    for method, key, name, items in (
        ("tools/list", "tools", "name", raw.TOOLS),
        ("resources/list", "resources", "uri", raw.RESOURCES),
        ("resources/templates/list", "resourceTemplates", "uriTemplate", raw.TEMPLATES),
        ("prompts/list", "prompts", "name", raw.PROMPTS),
    ):
        here = {item[name]: item for item in wire.listed(method, key)}
        for item in items:
            public = f"{upstream}__{item[name]}" if name == "name" else public_uri(upstream, item[name])
            assert raw.encode(here[public]) == raw.encode(item | {name: public})


@requirement("fidelity:error")
def test_an_upstreams_own_error(wire: Wire, upstream: str) -> None:
    error = wire.call(f"{upstream}__refuse").error
    expected = {"code": -32050, "message": "refused, as asked ☃", "data": raw.ODD}
    assert raw.encode(dict(sorted(error.items()))) == raw.encode(dict(sorted(expected.items())))
