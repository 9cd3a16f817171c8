"""Children: what they are given, how they are started, and that none is left behind however anything ends."""

import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway.upstream.guardian import Guardian
from gateway.upstream.timing import USUAL, UpstreamTiming
from gateway.upstream.transport import process
from gateway.upstream.transport.process import Child, Program, SpawnError, spawn
from tests.support import ROOT, alive, wait_until
from tests.upstream.ends import DEADLINE, fixture, spawned

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def is_uvloop(anyio_backend: tuple[str, dict[str, Any]]) -> bool:
    return anyio_backend[1]["use_uvloop"]


class Heard:
    """An `Output` that keeps what it hears."""

    def __init__(self) -> None:
        self.stdout = b""
        self.stderr = b""
        self.exit: list[str] = []

    def on_stdout(self, data: bytes) -> None:
        self.stdout += data

    def on_stderr(self, data: bytes) -> None:
        self.stderr += data

    def on_exit(self, reason: str) -> None:
        self.exit.append(reason)


async def run(program: Program, timing: UpstreamTiming = USUAL) -> Heard:
    """Run it to its end."""
    heard, guardian = Heard(), Guardian()
    child = await spawn(program, heard, guardian, timing)
    try:
        await wait_until(lambda: heard.exit)
    finally:
        await child.end()
        await guardian.aclose()
    return heard


def python(code: str, *args: str, **rest: Any) -> Program:
    return Program(sys.executable, ["-c", code, *args], **rest)


# --- What it is given ----------------------------------------------------------------------------------------------


async def test_of_our_environment_a_child_sees_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_CANARY", "secret-a83f")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-a83f")
    monkeypatch.setenv("LANG", "tlh")
    async with spawned(fixture("raw", MINE="1")) as up:
        facts = (await up.ask("process"))["structuredContent"]
        assert "secret-a83f" not in str(facts)
        assert facts["env"]["MINE"] == "1"
        assert facts["env"]["LANG"] == "tlh"
        assert facts["env"].keys() - {"LC_CTYPE", "PWD"} <= {*process.INHERITED, "MINE"}


async def test_no_shell_reads_its_arguments(tmp_path: Path) -> None:
    args = ["$(touch x)", "; touch x", "`touch x`", "a b", "*", "", "| touch x", "\n", "ü"]
    heard = await run(python("import sys; print(sys.argv[1:], end='')", *args, cwd=tmp_path, env={"PYTHONUTF8": "1"}))
    assert heard.stdout.decode() == str(args)
    assert os.listdir(tmp_path) == []


async def test_its_folder_and_a_program_within(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "tool"
    tool.parent.mkdir()
    tool.write_text(f"#!{sys.executable}\nimport os; print(os.getcwd(), end='')\n")
    tool.chmod(0o755)
    for name in ("./bin/tool", "bin/tool", str(tool)):
        heard = await run(Program(name, cwd=tmp_path))
        assert heard.stdout.decode() == str(tmp_path)
    heard = await run(Program("tool", env={"PATH": str(tool.parent)}, cwd=tmp_path))
    assert heard.stdout.decode() == str(tmp_path)


NOT_STARTED = {
    "not there": (Program("no-such-program-a83f"), "'no-such-program-a83f' is not an executable on PATH"),
    "a folder": (Program(str(ROOT)), "is not an executable"),
    "not executable": (Program(str(ROOT / "README.md")), "is not an executable"),
    "nowhere": (Program(sys.executable, cwd=Path("/no/such/folder")), "'/no/such/folder' does not exist"),
}


@pytest.mark.parametrize("kind", NOT_STARTED)
async def test_what_cannot_be_started(kind: str) -> None:
    program, words = NOT_STARTED[kind]
    with pytest.raises(SpawnError, match=words):
        await spawn(program, Heard(), Guardian())


async def test_no_program_at_all(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"#!/no/such/interpreter\n")
    script.chmod(0o755)
    with pytest.raises(SpawnError, match="could not be started: No such file or directory"):
        await spawn(Program(str(script)), Heard(), Guardian())


# --- How it ends ---------------------------------------------------------------------------------------------------

EXITS = {
    "status": ("raise SystemExit(4)", "it exited with status 4"),
    "signal": ("import os; os.kill(os.getpid(), 9)", "it was ended by SIGKILL"),
    "unknown signal": ("import os; os.kill(os.getpid(), 40)", "it was ended by"),
}


@pytest.mark.parametrize("kind", EXITS)
async def test_how_it_ended_is_said_once(kind: str) -> None:
    code, reason = EXITS[kind]
    heard = await run(python(code))
    assert len(heard.exit) == 1
    assert heard.exit[0].startswith(reason)


async def test_it_closed_its_stdout(is_uvloop: bool) -> None:
    if is_uvloop:
        pytest.skip("uvloop leaves the child a second copy of its stdout, so that its end shows only with the child's")
    heard = await run(python("import os, time; os.close(1); time.sleep(600)"), UpstreamTiming(exit_seconds=0.05))
    assert heard.exit == ["it closed its stdout"]


async def start(guardian: Guardian, *args: str) -> tuple[Child, list[int]]:
    """A child with a child of its own; their process ids."""
    code = """
import signal, subprocess, sys, os
if "ignore" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), grandchild.pid, flush=True)
if "leave" not in sys.argv: sys.stdin.read()
if "linger" in sys.argv:
    while True: signal.pause()
"""
    heard = Heard()
    child = await spawn(python(code, *args), heard, guardian, UpstreamTiming(exit_seconds=0.1))
    await wait_until(lambda: heard.stdout.endswith(b"\n"))
    pids = [int(pid) for pid in heard.stdout.split()]
    assert pids[0] == child.pid
    return child, pids


async def test_of_many_that_start_one_does_between_two_rounds_of_the_loop() -> None:
    """To start one takes milliseconds, in which nothing else happens."""

    class Counting(Guardian):
        started = 0

        def watch(self, pid: int, mark: str = "") -> None:
            self.started += 1
            super().watch(pid, mark)

    guardian, children, most, before = Counting(), list[Child](), 0, 0

    async def start_one() -> None:
        children.append(await spawn(python("import sys; sys.stdin.read()"), Heard(), guardian))

    try:
        async with anyio.create_task_group() as tg:
            for _ in range(8):
                tg.start_soon(start_one)
            with anyio.fail_after(DEADLINE):
                while len(children) < 8:
                    before = guardian.started
                    await anyio.lowlevel.checkpoint()
                    most = max(most, guardian.started - before)
    finally:
        for child in children:
            await child.end()
        await guardian.aclose()
    assert most == 1


@pytest.mark.parametrize("args", [[], ["linger"], ["linger", "ignore"], ["leave"]])
async def test_nothing_of_it_is_left(args: list[str]) -> None:
    guardian = Guardian()
    child, pids = await start(guardian, *args)
    with anyio.fail_after(DEADLINE):
        await child.end()
        await child.end()
    await wait_until(lambda: not any(map(alive, pids)))
    await guardian.aclose()


async def test_it_is_asked_before_it_is_forced() -> None:
    polite = "import sys; print('up', flush=True); sys.stdin.read(); print('eof', flush=True)"
    handler = "import signal, sys; signal.signal(15, lambda *_: (print('term', flush=True), sys.exit(0)))"
    for code, said in ((polite, b"up\neof\n"), (f"{handler}; print('up', flush=True); signal.pause()", b"up\nterm\n")):
        heard, guardian = Heard(), Guardian()
        timing = UpstreamTiming(exit_seconds=0.3 if said.endswith(b"term\n") else 5.0)
        child = await spawn(python(code), heard, guardian, timing)
        await wait_until(lambda: heard.stdout == b"up\n")  # noqa: B023
        await child.end()
        await wait_until(lambda: heard.stdout == said)  # noqa: B023
        await guardian.aclose()


async def test_it_ends_even_when_we_are_told_to_stop() -> None:
    guardian = Guardian()
    child, pids = await start(guardian, "linger", "ignore")
    with anyio.CancelScope() as scope:
        scope.cancel()
        await child.end()
    await wait_until(lambda: not any(map(alive, pids)))
    await guardian.aclose()


async def test_many_leave_nothing_behind() -> None:
    def held() -> tuple[int, int]:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        return len(os.listdir("/proc/self/fd")), len(children)

    guardian = Guardian()
    first = await spawn(python("input()"), Heard(), guardian)
    await first.end()
    before = held()
    for _ in range(10):
        child = await spawn(python("input()"), Heard(), guardian)
        await child.end()
    await wait_until(lambda: held() == before)
    await guardian.aclose()
    await wait_until(lambda: held()[1] == before[1] - 1)
