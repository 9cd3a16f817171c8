"""What an agent is given of a large result, and how it reads on: in both eras, through every kind of view."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.access.door import Door, ask, http, rpc
from tests.interaction._gateway import PATIENT, child, config_file, http_gateway, stdio_command
from tests.interaction._http import sse
from tests.interaction._wire import Wire, piped, request, shake_hands
from tests.results.conftest import LARGE, LINES, RESULTS, TOKENS, Cut, agent, contents, cut, read_all
from tests.servers.large import IMAGE, LINK, text_of

ERAS = pytest.mark.parametrize("modern", [False, True], ids=["handshake", "modern"])
UPSTREAMS = pytest.mark.parametrize("upstream", ["large", "old"])


def names(wire: Wire) -> list[str]:
    return [tool["name"] for tool in wire.listed("tools/list", "tools")]


def templates(wire: Wire) -> list[str]:
    listed = wire.listed("resources/templates/list", "resourceTemplates")
    return [each["uriTemplate"] for each in listed if each["uriTemplate"].startswith("result://{id}")]


def is_large(made: Cut, tool: str = "read_result") -> None:
    """It is the head of `LINES`, and says how to read on."""
    note = made.note
    assert LINES.startswith(made.head)
    assert made.head.endswith("\n")
    assert len(made.head.encode()) + len(made.texts[-1]) <= TOKENS * 4
    assert len(made.head.encode()) > TOKENS * 2
    assert (int(note["end"]), int(note["total"])) == (len(made.head), len(LINES))
    assert int(note["left"]) == -(-len(LINES[len(made.head) :].encode()) // 4)
    assert note["tool"] == tool
    assert note["resource"] == f"{made.uri}?start={len(made.head)}"
    assert note["lifetime"] == "15 minutes"


# --- Lists ------------------------------------------------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize(
    ("key", "path", "reader"),
    [
        ("ann", "/mcp", "read_result"),
        ("ann", "/mcp/part", "read_result"),
        ("ann", "/mcp/found", "read_result"),
        ("ann", "/mcp/old", "read_result_"),
        ("bound", "/mcp", "read_result"),
        ("ann", "/mcp/plain", None),
        ("ann", "/mcp/none", None),
        ("narrow", "/mcp", None),
    ],
)
def test_there_is_a_tool_and_a_template_where_there_may_be_results(
    door: Door, key: str, path: str, reader: str | None, modern: bool
) -> None:
    wire = agent(door, key, modern=modern, path=path)
    listed = names(wire)
    ours = [name for name in listed if name.startswith("read_result") and name != "read_result"]
    if reader == "read_result_":
        assert len(ours) == 1, "their own tool has its name"
        assert "read_result" in listed
    else:
        assert not ours
        assert ("read_result" in listed) == (reader is not None or path == "/mcp/plain")
    assert templates(wire) == (["result://{id}{?start,length}"] if reader else [])
    if path != "/mcp/old":
        assert path == "/mcp/plain" or listed == sorted(listed)
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "a", "version": "1"}}
    offered = wire.ask(*(("server/discover", {}) if modern else ("initialize", opening))).result
    assert offered["capabilities"]["resources"]["listChanged"] is True


@ERAS
def test_a_tool_whose_structured_content_may_be_missing_promises_none(door: Door, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    tools = {tool["name"]: tool for tool in wire.listed("tools/list", "tools")}
    assert "outputSchema" not in tools["large__table"]
    assert "outputSchema" in tools["plain__table"]


# --- Results ----------------------------------------------------------------------------------------------------------


@ERAS
@UPSTREAMS
def test_an_agent_is_given_the_head_and_reads_on(door: Door, upstream: str, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    made = cut(wire, f"{upstream}__lines")
    is_large(made)
    link = made.result["content"][-1]
    assert (link["type"], link["uri"], link["size"]) == ("resource_link", made.uri, len(LINES.encode()))
    assert made.result["_meta"]["com.example/kept"] is True
    where = {"start": 0, "end": len(made.head), "total": len(LINES), "uri": made.uri}
    assert made.result["_meta"]["mcp-gateway/result"] == where
    assert made.result.get("isError") is not True
    assert made.head + read_all(wire, made) == LINES


@ERAS
def test_it_is_a_resource_that_is_read_whole_or_in_ranges(door: Door, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    made = cut(wire, "large__lines")
    for query, start, end in (
        ("", 0, 10**6),
        ("?start=5", 5, 10**6),
        ("?length=7", 0, 7),
        ("?start=9&length=30", 9, 39),
    ):
        content = contents(wire, made.uri + query)
        assert content["uri"] == made.uri + query
        assert content["mimeType"] == "text/plain"
        assert content["text"] == LINES[start:end]
        where = {"start": start, "end": min(end, len(LINES)), "total": len(LINES)}
        assert content["_meta"]["mcp-gateway/result"] == where
    assert contents(wire, made.note["resource"])["text"] == LINES[len(made.head) :]
    assert contents(wire, f"{made.uri}?start=999999")["text"] == ""
    if modern:
        result = wire.ask("resources/read", {"uri": made.uri}).result
        assert (result["ttlMs"], result["cacheScope"]) == (0, "private")


def test_the_tool_gives_no_more_at_once_than_the_other_did(door: Door) -> None:
    wire = agent(door, "ann", modern=True)
    made = cut(wire, "large__lines")

    def read(**arguments: Any) -> str:
        return wire.call("read_result", uri=made.uri, **arguments).result["content"][0]["text"]

    assert read(start=5, length=9) == LINES[5:14]
    assert read(length=100_000) == read() == read(start=0)
    assert read().endswith("\n")
    assert read(start=len(LINES) - 4) == LINES[-4:]
    assert wire.call("read_result", uri=f"{made.uri}?start=3&length=4").result["content"][0]["text"] == LINES[3:7]


@ERAS
def test_what_fits_is_as_it_was(door: Door, modern: bool) -> None:
    bounded, plain = (agent(door, "ann", modern=modern, path=f"/mcp/{server}") for server in ("large", "plain"))
    for tool in ("lines", "table", "mixed", "fail"):
        assert bounded.call(tool, count=20).result == plain.call(tool, count=20).result
    wire = agent(door, "ann", modern=modern)
    assert wire.call("large__table", count=20).result["structuredContent"] == {"rows": [*range(20)]}
    assert wire.call("plain__lines").result["content"] == [{"type": "text", "text": LINES}]


@ERAS
def test_structured_content_is_left_out_and_not_cut(door: Door, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    made = cut(wire, "large__table")
    assert "structuredContent" not in made.result
    assert json.loads(contents(wire, made.uri)["text"]) == {"rows": [*range(1000)]}


@ERAS
def test_images_and_links_stay_where_they_are(door: Door, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    made = cut(wire, "large__mixed", count=60)
    text = text_of(60)
    kinds = [block["type"] for block in made.result["content"]]
    assert kinds == ["text", "image", "text", "resource_link", "text", "resource_link"]
    assert made.result["content"][0]["text"] == text
    assert made.result["content"][1] == IMAGE
    assert made.result["content"][3] == LINK
    assert contents(wire, made.uri)["text"] == "\n".join([text] * 3)
    assert made.head + read_all(wire, made) == "\n".join([text] * 3)


@ERAS
def test_an_error_that_is_cut_is_an_error(door: Door, modern: bool) -> None:
    made = cut(agent(door, "ann", modern=modern), "large__fail")
    assert made.result["isError"] is True
    is_large(made)


def test_older_clients_are_given_no_link(door: Door) -> None:
    for version in ("2024-11-05", "2025-03-26"):
        opening: dict[str, Any] = {"protocolVersion": version, "capabilities": {}, "clientInfo": {}}
        opened = ask(door, "key-ann", rpc("initialize", opening))
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "MCP-Protocol-Version": version}
        call = rpc("tools/call", {"name": "large__lines", "arguments": {}})
        made = Cut(ask(door, "key-ann", call, **session).json()["result"])
        is_large(made)
        assert [block["type"] for block in made.result["content"]] == ["text", "text"]
        read = ask(door, "key-ann", rpc("resources/read", {"uri": made.uri}), **session).json()["result"]
        assert read["contents"] == [{"uri": made.uri, "mimeType": "text/plain", "text": LINES}]


# --- Views and fronts -------------------------------------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize(
    ("key", "path", "tool"),
    [("ann", "/mcp/part", "large__lines"), ("bound", "/mcp", "large__lines"), ("ann", "/mcp/found", "large__lines")],
)
def test_it_works_in_a_profile(door: Door, key: str, path: str, tool: str, modern: bool) -> None:
    wire = agent(door, key, modern=modern, path=path)
    made = cut(wire, tool)
    is_large(made)
    assert made.head + read_all(wire, made) == LINES
    assert contents(wire, made.uri)["text"] == LINES


@ERAS
def test_it_works_by_way_of_call_tool(door: Door, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern, path="/mcp/found")
    assert names(wire) == ["call_tool", "find_tools", "read_result"]
    made = cut(wire, "call_tool", name="large__lines", arguments={})
    is_large(made)
    arguments = {"uri": made.uri, "start": 5, "length": 6}
    read = wire.call("call_tool", name="read_result", arguments=arguments).result
    assert read["content"][0]["text"] == LINES[5:11]


@ERAS
@UPSTREAMS
def test_a_server_seen_alone_keeps_its_names_and_uris(door: Door, upstream: str, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern, path=f"/mcp/{upstream}")
    (ours,) = [name for name in names(wire) if name.startswith("read_result_")]
    assert wire.call("read_result").result["content"][0]["text"].startswith("mine, ")
    made = cut(wire, "lines")
    is_large(made, ours)
    assert made.head + read_all(wire, made) == LINES
    assert contents(wire, made.uri)["text"] == LINES
    for theirs in ("result://theirs", "result://0123", f"{made.uri}0", f"{made.uri}/x"):
        assert contents(wire, theirs)["text"] == f"theirs: {theirs}"


def test_a_server_without_results_has_all_uris_of_that_form(door: Door) -> None:
    made = cut(agent(door, "ann", modern=True), "large__lines")
    wire = agent(door, "ann", modern=True, path="/mcp/plain")
    assert contents(wire, made.uri)["text"] == f"theirs: {made.uri}"


@pytest.fixture(params=["stdio-handshake", "stdio-modern", "sse"])
def alone(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Wire]:
    """The agent of a gateway of its own, or one on the legacy transport."""
    servers = {"large": child(LARGE, results=RESULTS)}
    if request.param == "sse":
        door: Door = request.getfixturevalue("anonymous")
        with sse(door.base) as channel:
            shake_hands(channel)
            yield Wire(channel, modern=False)
        return
    with piped(stdio_command(config_file(tmp_path, servers, **PATIENT))) as pipe:
        if request.param == "stdio-handshake":
            shake_hands(pipe)
        yield Wire(pipe, request.param == "stdio-modern")


@pytest.fixture
def anonymous(tmp_path: Path) -> Generator[Door]:
    with http_gateway(tmp_path, {"large": child(LARGE, results=RESULTS)}, **PATIENT) as gateway:
        yield Door(gateway.base, tmp_path)


def test_it_works_at_the_other_fronts(alone: Wire) -> None:
    assert "read_result" in names(alone)
    made = cut(alone, "large__lines")
    is_large(made)
    assert made.head + read_all(alone, made) == LINES
    assert contents(alone, made.uri)["text"] == LINES


# --- Whose it is ------------------------------------------------------------------------------------------------------


@ERAS
def test_somebody_elses_is_like_one_that_never_was(door: Door, modern: bool) -> None:
    ann, bob, bound = (agent(door, name, modern=modern) for name in ("ann", "bob", "bound"))
    uri = cut(ann, "large__lines").uri
    never = "result://" + "0" * 32
    for query in ("", "?start=5&length=3"):
        foreign, missing = (bob.ask("resources/read", {"uri": each + query}).error for each in (uri, never))
        assert json.dumps(foreign).replace(uri, never) == json.dumps(missing)
        assert foreign["code"] == (-32602 if modern else -32002)
    foreign, missing = (bob.call("read_result", uri=each).result for each in (uri, never))
    assert foreign == missing
    assert foreign["isError"] is True
    assert "Call the tool again" in foreign["content"][0]["text"]
    assert bound.call("read_result", uri=uri).result == missing
    token = http(
        "POST", f"{door.base}/agents/register", json={"agent_name": "a"}, headers={"X-Api-Key": "key-ann"}
    ).json()["token"]
    read = http("POST", f"{door.base}/mcp", json=rpc("resources/read", {"uri": uri}), headers={"X-Agent-Token": token})
    assert read.json()["error"]["code"] == -32002, "its agents are others"
    assert contents(ann, uri)["text"] == LINES


@ERAS
def test_a_view_without_the_tool_does_not_have_its_results(door: Door, modern: bool) -> None:
    uri = cut(agent(door, "ann", modern=modern), "large__table").uri
    for path in ("/mcp/part", "/mcp/old"):
        error = agent(door, "ann", modern=modern, path=path).ask("resources/read", {"uri": uri}).error
        assert error["message"] == f"Resource not found: {uri}"
    assert contents(agent(door, "ann", modern=modern, path="/mcp/large"), uri)["text"].startswith("{")


# --- What is asked wrongly --------------------------------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"uri": 5},
        {"start": -1},
        {"start": "5"},
        {"start": True},
        {"start": 1.5},
        {"length": 0},
        {"uri": "?length=0"},
        {"uri": "?start=-1"},
        {"uri": "?start=x"},
        {"uri": "?start=1&start=2"},
        {"uri": "?line=5"},
    ],
)
def test_what_is_no_range_is_refused(door: Door, arguments: dict[str, Any], modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    uri, given = "result://" + "0" * 32, dict(arguments)
    if given:
        asked = given.get("uri", "")
        given["uri"] = uri + asked if isinstance(asked, str) else asked
    assert wire.call("read_result", **given).error["code"] == -32602
    if isinstance(given.get("uri"), str) and "?" in given["uri"]:
        error = wire.ask("resources/read", {"uri": given["uri"]}).error
        assert error["code"] == -32602
        assert "length" in error["message"]


def test_beyond_its_end_there_is_nothing(door: Door) -> None:
    wire = agent(door, "ann", modern=True)
    made = cut(wire, "large__lines")
    result = wire.call("read_result", uri=made.uri, start=len(LINES)).result
    assert result["isError"] is True
    assert f"less than {len(LINES)}" in result["content"][0]["text"]


@ERAS
def test_it_is_nothing_to_subscribe_to_and_nobody_completes_it(door: Door, modern: bool) -> None:
    for path in ("/mcp", "/mcp/large"):
        wire = agent(door, "ann", modern=modern, path=path)
        reference = {"type": "ref/resource", "uri": "result://{id}{?start,length}"}
        completed = wire.ask("completion/complete", {"ref": reference, "argument": {"name": "id", "value": ""}}).result
        assert completed["completion"] == {"values": []}
        if not modern:
            error = wire.ask("resources/subscribe", {"uri": "result://" + "0" * 32}).error
            assert error["code"] == -32002


# --- What else there is of a call -------------------------------------------------------------------------------------


@ERAS
def test_progress_and_questions_are_as_ever(door: Door, modern: bool) -> None:
    wire = agent(door, "ann", modern=modern)
    params = {"name": "all__slow", "arguments": {"seconds": 0.01, "steps": 3}, "_meta": {"progressToken": 7}}
    answer = wire.ask("tools/call", params)
    assert [one["params"]["progress"] for one in answer.own] == [1, 2, 3]
    assert answer.result["content"][0]["text"] == "slept 0.01 s"
    if modern:
        able: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
        arguments = {"message": "x" * 5000}
        asked = wire.ask("tools/call", {"name": "all__test_elicitation", "arguments": arguments, "_meta": able}).result
        assert asked["resultType"] == "input_required"
        (question,) = asked["inputRequests"].values()
        assert question["params"]["message"] == arguments["message"]


def test_it_is_counted(door: Door) -> None:
    wire = agent(door, "ann", modern=True)

    def counted(name: str, **labels: str) -> float:
        page = http("GET", f"{door.base}/metrics", headers={"X-Api-Key": "key-ann"}).text
        lines = [line for line in page.splitlines() if line.startswith(name)]
        return sum(float(line.split()[-1]) for line in lines if all(f'{k}="{v}"' in line for k, v in labels.items()))

    def look() -> tuple[float, ...]:
        cuts = counted("mcp_gateway_results_cut_total", upstream="old", outcome="kept")
        reads = [counted("mcp_gateway_result_reads_total", outcome=each) for each in ("ok", "unknown", "invalid")]
        return (cuts, *reads, counted("mcp_gateway_result_tokens_total", upstream="old"))

    before = look()
    made = cut(wire, "old__lines")
    wire.call("read_result", uri=made.uri)
    wire.ask("resources/read", {"uri": made.uri})
    wire.call("read_result", uri="result://" + "0" * 32)
    wire.call("read_result", uri=made.uri, start=-1)
    *counts, tokens = (after - earlier for after, earlier in zip(look(), before, strict=True))
    assert counts == [1, 2, 1, 1]
    assert TOKENS / 2 < tokens < TOKENS * 1.3, "what it was given, and not what there was"


def test_a_batch_of_callers_each_have_their_own(door: Door) -> None:
    """Nobody is given anybody else's URI."""
    wires = [agent(door, name, modern=True) for name in ("ann", "bob") for _ in range(3)]
    uris = [cut(wire, "large__lines").uri for wire in wires]
    assert len(set(uris)) == len(uris)
    for wire, uri in zip(wires, uris, strict=True):
        assert contents(wire, uri)["text"] == LINES


def test_requests_outside_a_session_are_served_too(door: Door) -> None:
    call = request("tools/call", {"name": "large__lines", "arguments": {}})
    made = Cut(ask(door, "key-ann", call).json()["result"])
    is_large(made)


# --- While servers are starting ---------------------------------------------------------------------------------------


def test_reading_on_is_possible_before_the_server_is_there(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    late = child("tests.servers.gate", "--slow-start", str(gate), results=256)
    with piped(stdio_command(config_file(tmp_path, {"late": late}, **PATIENT))) as pipe:
        shake_hands(pipe)
        reading = request("tools/call", {"name": "read_result", "arguments": {"id": "none"}})
        pipe.send(reading)
        gate.touch()
        while (answer := pipe.receive()).get("id") != reading["id"]:
            pass
    assert "Unknown tool" not in str(answer)
