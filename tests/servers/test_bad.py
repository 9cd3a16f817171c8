"""The bad server misbehaves as its tables say, and is well behaved otherwise; processes end with their tests."""

import gzip
import http.client
import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from mcp import Client
from mcp.client.sse import sse_client

from tests.servers.bad_http import MISDEEDS
from tests.servers.bad_replies import LISTINGS, MISREPLIES, NAMES
from tests.servers.peers import OPENING, Pipe, calling, open_session, post, posted, request, stdio_server
from tests.support import ROOT, alive, command, http_server, run_process, wait_until

BAD = "tests.servers.bad"
MIB = 1 << 20


def good(data: bytes) -> bool:
    """Whether it is a reply as it should be: the tool's name, under the id that is its name too."""
    try:
        message = json.loads(data)
        return message["result"]["content"][0]["text"] == message["id"]
    except (ValueError, TypeError, KeyError):
        return False


def started(line: bytes) -> bool:
    return alive(json.loads(line)["result"]["structuredContent"]["pid"])


# --- stdio ---------------------------------------------------------------------------------------------------------

Lines = list[bytes]

STDIO: dict[str, tuple[dict[str, Any], Callable[[Lines], bool]]] = {
    "ok": ({}, lambda lines: len(lines) == 1 and good(lines[0])),
    "noise": ({}, lambda lines: lines[0] == b"Server ready!" and sum(map(good, lines)) == 1),
    "invalid_utf8": ({}, lambda lines: b"\xff" in lines[0] and lines[0].endswith(b"}")),
    "truncated": ({}, lambda lines: lines[0].startswith(b'{"jsonrpc"') and not lines[0].endswith(b"}}")),
    "huge": ({"megabytes": 2}, lambda lines: len(lines[0]) > 2 * MIB and good(lines[0])),
    "nested": ({"depth": 5000}, lambda lines: b"[" * 5000 in lines[0]),
    "many_values": ({"values": 5000}, lambda lines: len(json.loads(lines[0])["x"]) == 5000),
    "silent": ({}, lambda lines: lines == []),
    "twice": ({}, lambda lines: len(lines) == 2 and all(map(good, lines))),
    "wrong_id": ({}, lambda lines: json.loads(lines[0])["id"] == "nobody asked this"),
    "null_id": ({}, lambda lines: json.loads(lines[0])["id"] is None),
    "array": ({}, lambda lines: isinstance(json.loads(lines[0]), list)),
    "no_result": ({}, lambda lines: json.loads(lines[0]).keys() == {"jsonrpc", "id"}),
    "flood_stderr": ({"megabytes": 1}, lambda lines: good(lines[0])),
    "grandchild": ({}, lambda lines: started(lines[0])),
    "pid": ({}, lambda lines: started(lines[0])),
}
DEATHS = {"exit": 3, "kill": -signal.SIGKILL}


def lines_before(pipe: Pipe, last: str) -> Lines:
    """All lines up to the good reply of the call `last`."""
    received = b""
    while f'"id":"{last}"'.encode() not in received:
        received += pipe.receive()
    *lines, reply, end = received.split(b"\n")
    assert good(reply)
    assert end == b""
    return lines


@pytest.mark.parametrize("kind", STDIO)
def test_stdio_misbehaves_once(kind: str) -> None:
    arguments, expected = STDIO[kind]
    with stdio_server(BAD) as pipe:
        pipe.send(calling(kind, **arguments))
        pipe.send(calling("and_then"))
        assert expected(lines_before(pipe, "and_then"))


@pytest.mark.parametrize("kind", DEATHS)
def test_stdio_dies(kind: str) -> None:
    with stdio_server(BAD) as pipe:
        pipe.send(calling(kind))
        assert pipe.receive() == b""
        assert pipe.process.wait(30) == DEATHS[kind]


def test_stdio_floods_stderr() -> None:
    call = json.dumps(calling("flood_stderr", megabytes=3)).encode() + b"\n"
    done = subprocess.run(command(BAD), input=call, capture_output=True, cwd=ROOT, check=True)
    assert len(done.stderr) > 3_000_000


def test_stdio_ignores_what_it_is_told_to() -> None:
    with stdio_server(BAD) as pipe:
        assert pipe.ask(calling("a"))
        pipe.process.terminate()
        assert pipe.process.wait(30) == -signal.SIGTERM
    with stdio_server(BAD, "--ignore-sigterm", "--ignore-eof") as pipe:
        assert pipe.ask(calling("a"))
        pipe.process.terminate()
        assert pipe.ask(calling("b"))
        assert pipe.process.stdin is not None
        pipe.process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            pipe.process.wait(0.3)


def test_stdio_starts_slowly_and_misbehaves_by_method() -> None:
    before = time.monotonic()
    with stdio_server(BAD, "--slow-start", "0.3", "--on", "initialize=array") as pipe:
        assert isinstance(pipe.ask(request("initialize", OPENING)), list)
    assert time.monotonic() - before > 0.3


def listing(kind: str, cursor: str | None = None) -> dict[str, Any]:
    return LISTINGS[kind]({"cursor": cursor})


def test_listings() -> None:
    assert listing("repeated_cursor", "again")["nextCursor"] == listing("repeated_cursor")["nextCursor"] == "again"
    assert listing("endless", "41")["tools"][0]["name"] == "tool_41"
    assert listing("endless", "41")["nextCursor"] == "42"
    assert len(json.dumps(listing("huge_page"))) > 2 * MIB
    assert [tool["name"] for tool in listing("duplicates")["tools"]].count("same") == 2
    assert [tool["name"] for tool in listing("names")["tools"]] == list(NAMES)
    assert listing("misshapen")["tools"][-1]["name"] == "good"
    with stdio_server(BAD, "--list", "duplicates") as pipe:
        assert pipe.ask(request("tools/list"))["result"] == listing("duplicates")


# --- HTTP ----------------------------------------------------------------------------------------------------------

HTTP: dict[str, tuple[dict[str, Any], Callable[[http.client.HTTPResponse, bytes], bool]]] = {
    "length_too_short": ({}, lambda response, body: body.startswith(b"{") and not body.endswith(b"}}")),
    "gzip": ({"megabytes": 1}, lambda response, body: len(body) < MIB < len(gzip.decompress(body))),
    "html": ({}, lambda response, body: response.headers["Content-Type"] == "text/html"),
    "status": ({"status": 503}, lambda response, body: response.status == 503),
    "redirect": ({"to": "/x"}, lambda response, body: (response.status, response.headers["Location"]) == (307, "/x")),
    "lose_session": ({}, lambda response, body: response.status == 404),
    "split": ({}, lambda response, body: good(data(body))),
    "crlf": ({}, lambda response, body: body.endswith(b"\r\n\r\n") and b"\n" not in body.replace(b"\r\n", b"")),
    "cr": ({}, lambda response, body: body.endswith(b"\r\r") and b"\n" not in body),
    "bom": ({}, lambda response, body: body.startswith(b"\xef\xbb\xbf:") and good(data(body))),
    "two_data_lines": ({}, lambda response, body: body.count(b"data:") == 2 and good(data(body))),
    "huge_event": ({}, lambda response, body: len(body) > 2 * MIB and good(data(body))),
    "no_reply": ({}, lambda response, body: b"result" not in body and body.endswith(b"\n\n")),
}
BREAKS = ("cut_body", "cut_stream", "length_too_long")
DRIPS = {"drip": b"     ", "drip_stream": b": still here\n\n: still"}


def data(body: bytes) -> bytes:
    """The data of a body's one event."""
    return b"\n".join(re.findall(rb"^data: ?(.*)$", body, re.MULTILINE))


@pytest.fixture(scope="module")
def url() -> Generator[str]:
    with http_server(BAD) as url:
        yield url


def test_every_misbehaviour_is_tried() -> None:
    assert STDIO.keys() | DEATHS.keys() == MISREPLIES.keys()
    assert {*HTTP, *BREAKS, *DRIPS} == MISDEEDS.keys()


@pytest.mark.parametrize("kind", HTTP)
def test_http_misbehaves_once(url: str, kind: str) -> None:
    arguments, expected = HTTP[kind]
    with posted(url, calling(kind, **arguments)) as response:
        assert expected(response, response.read())
    assert good(post(url, calling("and_then"))[1])


@pytest.mark.parametrize("kind", BREAKS)
def test_http_breaks_off(url: str, kind: str) -> None:
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        post(url, calling(kind))
    assert good(post(url, calling("and_then"))[1])


@pytest.mark.parametrize("kind", DRIPS)
def test_http_drips(url: str, kind: str) -> None:
    with posted(url, calling(kind)) as response:
        assert response.read(len(DRIPS[kind])) == DRIPS[kind]


def test_http_splits_at_every_byte(url: str) -> None:
    with posted(url, calling("split")) as response:
        chunks = list(iter(response.read1, b""))
    assert {len(chunk) for chunk in chunks} == {1}


def test_http_carries_the_misreplies_of_stdio(url: str) -> None:
    assert isinstance(json.loads(post(url, calling("array"))[1]), list)
    assert post(url, calling("twice"))[1].count(b"data: ") == 2
    listed = json.loads(post(url, calling("") | {"method": "tools/list"})[1])["result"]["tools"]
    assert [tool["name"] for tool in listed] == [*MISREPLIES, *MISDEEDS]


def test_http_loses_sessions(url: str) -> None:
    lose, other = (request("tools/call", {"name": name}) for name in ("lose_session", "other"))
    session = {"Mcp-Session-Id": open_session(url)}
    assert [post(url, message, **session)[0] for message in (other, lose, other)] == [200, 404, 404]
    assert open_session(url) != session["Mcp-Session-Id"]


def test_http_redirects_by_path(url: str) -> None:
    with posted(url.replace("/mcp", "/redirect?to=http://localhost:1/x"), calling("any")) as response:
        assert (response.status, response.headers["Location"]) == (307, "http://localhost:1/x")


@pytest.mark.anyio
@pytest.mark.parametrize("status", [404, 405])
async def test_http_knows_the_legacy_transport_alone(status: int) -> None:
    with http_server(BAD, "--post", str(status)) as url:
        assert post(url, calling("any"))[0] == status
        async with Client(sse_client(url), mode="legacy") as client:
            assert "any" in (await client.call_tool("any")).model_dump_json()


# --- Support -------------------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_process_group_ends_with_its_block() -> None:
    with stdio_server(BAD, "--ignore-sigterm", "--ignore-eof") as pipe:
        pids = [pipe.ask(calling(kind))["result"]["structuredContent"]["pid"] for kind in ("grandchild", "pid")]
        assert all(map(alive, pids))
    await wait_until(lambda: not any(map(alive, pids)))


def test_a_process_that_ends_early_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    argv = command(BAD, "--list", "no such kind")
    with pytest.raises(AssertionError, match="ended with 2"), run_process(argv, ready=lambda: False):
        pass
    assert "no such kind" in capfd.readouterr().err


@pytest.mark.anyio
async def test_waiting_is_bounded() -> None:
    with pytest.raises(AssertionError, match=r"not true within 0\.05 s"):
        await wait_until(lambda: False, 0.05)
