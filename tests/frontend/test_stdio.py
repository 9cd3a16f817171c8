"""The stdio front as a desktop client knows it: a child process, one message a line, gone when its stdin is."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interaction._gateway import PATIENT, child, config_file, stdio_command
from tests.interaction._requirements import requirement
from tests.interaction._wire import Message, Pipe, Wire, piped, request, shake_hands
from tests.servers.peers import OPENING, SECONDS
from tests.support import ROOT, alive, wait_until

RAW: Final = "tests.servers.raw"
EVERYTHING: Final = "tests.servers.everything"
MAX_LINE: Final = 2 * 1024 * 1024
TAG: Final = "io.modelcontextprotocol/subscriptionId"

Start = Callable[..., list[str]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """`(servers, **settings)`: how to start a gateway in front of them."""

    def command(servers: dict[str, Any], **settings: Any) -> list[str]:
        return stdio_command(config_file(tmp_path, servers, **PATIENT | {"max_request_bytes": MAX_LINE} | settings))

    return command


def ended(pipe: Pipe) -> list[Message]:
    """Close stdin; what still comes until the process has ended by itself, and well."""
    pipe.stdin.close()
    messages = [json.loads(line) for line in iter(pipe.line, b"")]
    assert pipe.process.wait(SECONDS) == 0
    return messages


def facts(wire: Wire) -> Any:
    """pid, arguments, folder and environment of the upstream `raw`."""
    return wire.call("raw__process").result["structuredContent"]


# --- What it says -----------------------------------------------------------------------------------------------------


@requirement("stdio:purity")
def test_stdout_carries_mcp_alone_and_stderr_the_log(start: Start) -> None:
    noisy = child("tests.servers.bad")
    args = start({"noisy": noisy, "absent": {"command": "/nonexistent/program"}}, debug=True)
    asked = [
        request("initialize", OPENING, id=1),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request("tools/list", id=2),
        request("tools/call", {"name": "noisy__noise"}, id=3),
        request("tools/call", {"name": "noisy__flood_stderr", "arguments": {"megabytes": 1}}, id=4),
    ]
    done = subprocess.run(
        args,
        input=b"".join(json.dumps(message).encode() + b"\n" for message in asked),
        capture_output=True,
        cwd=ROOT,
        timeout=60,
        check=True,
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    assert {message["jsonrpc"] for message in messages} == {"2.0"}
    assert {message["id"] for message in messages if "method" not in message} == {1, 2, 3, 4}
    assert b"nobody to say it to" in done.stderr, "what the upstream wrote to its stderr"
    assert b"absent" in done.stderr


@requirement("stdio:malformed")
def test_a_line_that_is_no_message_is_answered_and_survived(start: Start) -> None:
    with piped(start({"raw": child(RAW)})) as pipe:
        shake_hands(pipe)
        for line, code in (
            (b"{", -32700),
            (b"Hello?", -32700),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "p\xff"}', -32700),
            (b"[" * 5000, -32700),
            (b"[]", -32600),
            (b"null", -32600),
            (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
            (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
            (b'{"jsonrpc": "1.0", "method": "ping"}', -32600),
        ):
            pipe.send(line)
            answer = pipe.receive()
            assert (answer["id"], answer["error"]["code"]) == (None, code), line
        pipe.send(b'{"jsonrpc": "2.0", "id": "mine", "method": 7}')
        assert pipe.receive()["id"] == "mine", "where the request can still be told"
        for line in (b"", b"   \t\r"):
            pipe.send(line)
        pipe.send(b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}\r')
        assert pipe.receive() == {"jsonrpc": "2.0", "id": 7, "result": {}}


@requirement("stdio:overlong")
def test_an_overlong_line_is_refused_and_survived(start: Start) -> None:
    with piped(start({"raw": child(RAW)})) as pipe:
        shake_hands(pipe)
        fits = json.dumps(request("ping", id=1)).encode().ljust(MAX_LINE)
        pipe.send(fits)
        assert pipe.receive()["result"] == {}
        pipe.send(fits + b" ")
        answer = pipe.receive()
        assert (answer["id"], answer["error"]["code"]) == (None, -32014)
        assert "max_request_bytes" in answer["error"]["message"]
        assert Wire(pipe, modern=True).call("raw__echo", a=1).result["structuredContent"] == {"a": 1}


@requirement("open:unasked")
def test_a_client_of_the_modern_era_hears_only_what_it_listens_to(start: Start) -> None:
    with piped(start({"all": child(EVERYTHING)})) as pipe:
        wire = Wire(pipe, modern=True)
        assert wire.call("all__add_tool", name="unasked").before == []
        listed = False
        for _ in range(500):
            answer = wire.ask("tools/list")
            assert answer.before == []
            listed = "all__unasked" in [tool["name"] for tool in answer.result["tools"]]
            if listed:
                break
            time.sleep(0.02)
        assert listed
        pipe.send(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True, id=7))
        assert pipe.receive()["method"] == "notifications/subscriptions/acknowledged"
        wire.call("all__remove_tool", name="unasked")
        assert pipe.receive()["params"]["_meta"][TAG] == 7


# --- How it begins ----------------------------------------------------------------------------------------------------


@requirement("stdio:snapshot")
def test_lists_are_answered_from_the_snapshot_before_a_slow_upstream_is_up(tmp_path: Path) -> None:
    """The snapshot is told from the server by its program: here, a script that another one takes the place of."""
    program = tmp_path / "program.sh"
    servers = {"one": {"command": str(program), "cwd": str(ROOT)}}

    def install(*args: str) -> None:
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {" ".join(args)}\n')
        program.chmod(0o755)

    config = config_file(tmp_path, servers, startup_wait=30)
    install(RAW)
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        tools = pipe_list(pipe)
        ended(pipe)
    install("tests.servers.bad", "--slow-start", "600")
    with piped(stdio_command(config)) as pipe:
        shake_hands(pipe)
        assert pipe_list(pipe) == tools
        assert "one__echo" in tools


def pipe_list(pipe: Pipe) -> list[str]:
    return [tool["name"] for tool in Wire(pipe, modern=False).ask("tools/list").result["tools"]]


# --- How it ends ------------------------------------------------------------------------------------------------------


@requirement("stdio:drain")
def test_calls_in_flight_are_answered_after_stdin_has_ended(start: Start) -> None:
    with piped(start({"all": child(EVERYTHING)})) as pipe:
        shake_hands(pipe)
        assert "all__slow" in pipe_list(pipe)
        slow = {"name": "all__slow", "arguments": {"seconds": 0.3}, "_meta": {"progressToken": "t"}}
        pipe.send(request("tools/call", slow, id="last"))
        messages = ended(pipe)
        assert [message.get("method") for message in messages[:-1]] == ["notifications/progress"] * 10
        assert messages[-1]["id"] == "last"
        assert messages[-1]["result"]["content"]


@requirement("stdio:drain")
def test_an_answer_larger_than_the_pipe_arrives_whole(start: Start) -> None:
    with piped(start({"raw": child(RAW)})) as pipe:
        shake_hands(pipe)
        assert "raw__echo" in pipe_list(pipe)
        text = "☃" * 300_000
        pipe.send(request("tools/call", {"name": "raw__echo", "arguments": {"text": text}}, id=1))
        (answer,) = ended(pipe)
        assert answer["result"]["structuredContent"] == {"text": text}


@requirement("listen:graceful", "stdio:exit")
@pytest.mark.parametrize("how", ["eof", "sigterm"])
def test_listen_streams_end_gracefully_and_at_once(start: Start, how: str) -> None:
    with piped(start({"raw": child(RAW)}, drain_timeout=600)) as pipe:
        pipe.send(request("subscriptions/listen", {"notifications": {"toolsListChanged": True}}, modern=True, id=7))
        assert pipe.receive()["method"] == "notifications/subscriptions/acknowledged"
        if how == "sigterm":
            pipe.process.send_signal(signal.SIGTERM)
            messages = [json.loads(line) for line in iter(pipe.line, b"")]
            assert pipe.process.wait(SECONDS) == 0
        else:
            messages = ended(pipe)
        (answer,) = (message for message in messages if "method" not in message)
        assert answer["id"] == 7
        assert answer["result"]["resultType"] == "complete"
        assert answer["result"]["_meta"][TAG] == 7


@requirement("stdio:exit")
@pytest.mark.anyio
@pytest.mark.parametrize("how", ["eof", "sigterm", "sigint", "sigkill"])
async def test_no_child_is_left_behind(start: Start, how: str) -> None:
    stubborn = child("tests.servers.bad", "--ignore-eof")
    with piped(start({"raw": child(RAW), "stubborn": stubborn})) as pipe:
        shake_hands(pipe)
        wire = Wire(pipe, modern=False)
        pids = [facts(wire)["pid"], wire.call("stubborn__pid").result["structuredContent"]["pid"]]
        grandchild = wire.call("stubborn__grandchild").result["structuredContent"]["pid"]
        assert all(map(alive, [*pids, grandchild]))
        if how == "eof":
            ended(pipe)
        else:
            pipe.process.send_signal(signal.Signals[how.upper()])
            assert pipe.process.wait(SECONDS) == (0 if how != "sigkill" else -signal.SIGKILL)
        await wait_until(lambda: not any(map(alive, [*pids, grandchild])), timeout=20)


@requirement("stdio:exit")
def test_a_call_that_never_ends_does_not_hold_up_the_end_for_ever(start: Start) -> None:
    with piped(start({"bad": child("tests.servers.bad")}, drain_timeout="200ms")) as pipe:
        shake_hands(pipe)
        pipe_list(pipe)
        pipe.send(request("tools/call", {"name": "bad__silent"}, id=1))
        (answer,) = [message for message in ended(pipe) if message.get("id") == 1]
        assert "The gateway is stopping" in answer["error"]["message"]


@requirement("stdio:files")
def test_stdin_and_stdout_may_be_files(start: Start, tmp_path: Path) -> None:
    asked = [request("initialize", OPENING, id=1), request("tools/call", {"name": "raw__echo"}, id=2)]
    (tmp_path / "in").write_bytes(b"".join(json.dumps(message).encode() + b"\n" for message in asked))
    with (tmp_path / "in").open("rb") as stdin, (tmp_path / "out").open("wb") as stdout:
        subprocess.run(start({"raw": child(RAW)}), stdin=stdin, stdout=stdout, cwd=ROOT, timeout=60, check=True)
    answers = [json.loads(line) for line in (tmp_path / "out").read_bytes().splitlines()]
    assert {answer["id"] for answer in answers if "id" in answer} == {1, 2}


@requirement("stdio:gone")
def test_when_nobody_reads_stdout_any_more_it_ends(start: Start) -> None:
    with piped(start({"raw": child(RAW)})) as pipe:
        shake_hands(pipe)
        assert pipe_list(pipe)
        pipe.send(request("tools/call", {"name": "raw__echo", "arguments": {"text": "x" * 1_000_000}}, id=1))
        pipe.stdout.close()
        assert pipe.process.wait(SECONDS) == 0
