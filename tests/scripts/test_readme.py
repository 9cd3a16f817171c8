"""What keeps the README true must itself notice when it is not: each way a block can break its promise."""

import importlib.util
import socket
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "readme.py"


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with a free port and little patience."""
    spec = importlib.util.spec_from_file_location("readme", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "readme", module)
    spec.loader.exec_module(module)
    with socket.create_server(("127.0.0.1", 0)) as free:
        monkeypatch.setattr(module, "PORT", free.getsockname()[1])
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "file.txt").write_text("hello from the clone\n")
    (folder / "hidden").write_text("uv --version\n")
    author = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    for command in (["init", "--quiet"], ["add", "."], [*author, "commit", "--quiet", "--message", "one"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def block(info: str, *lines: str) -> str:
    return "\n".join([f"```{info}", *lines, "```", ""])


def server(readme: ModuleType) -> str:
    return f"{sys.executable} -m http.server --bind 127.0.0.1 {readme.PORT}"


def test_only_marked_blocks_are_taken(readme: ModuleType) -> None:
    markdown = "\n".join(
        [
            "# Title",
            block("sh", "not this"),
            "1. A list",
            "   ```sh ci serve",
            "   this  # with ``` inside",
            "     indented",
            "   ```",
            block("text ci", "and this"),
            "````sh ci",
            "```",
            "````",
            block("cicero ciao", "nor this"),
        ]
    )
    found = readme.blocks(markdown)
    assert [(item.line, item.words, item.text) for item in found] == [
        (7, ["sh", "ci", "serve"], "this  # with ``` inside\n  indented\n"),
        (11, ["text", "ci"], "and this\n"),
        (15, ["sh", "ci"], "```\n"),
    ]


def test_a_readme_that_holds(readme: ModuleType, repository: Path) -> None:
    markdown = (
        block("sh ci serve", server(readme))
        + block("sh ci", f"curl -sf http://127.0.0.1:{readme.PORT}/file.txt", "echo and more")
        + block("text ci", "hello … clone", "and more")
        + block("sh ci", "echo $HOME:${GATEWAY_PORT:-unset}:$PWD")
        + block("text ci", "…readme-…/home:unset:…/clone")
    )
    assert readme.run(markdown, repository) == 5
    assert not readme.is_listening()


def test_nothing_of_this_shell_is_left_but_the_registry(
    readme: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GATEWAY_PORT", "UV_PYTHON", "VIRTUAL_ENV", "PIP_INDEX_URL", "https_proxy"):
        monkeypatch.setenv(name, f"the-{name}")
    lines = ["- unset - the-PIP_INDEX_URL the-https_proxy"]
    command = "echo ${GATEWAY_PORT:--} ${UV_PYTHON:-unset} ${VIRTUAL_ENV:--} $PIP_INDEX_URL $https_proxy"
    assert readme.run(block("sh ci", command) + block("text ci", *lines), repository) == 2


def test_a_block_that_does_not_call_uv_does_not_get_it(readme: ModuleType, repository: Path) -> None:
    with pytest.raises(readme.Broken, match=r"exited with 127\n.*: command not found"):
        readme.run(block("sh ci", "sh hidden"), repository)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (block("sh ci", "false", "true"), "line 1: exited with 1"),
        (block("sh ci", "false | true"), "line 1: exited with 1"),
        (block("sh ci", "no-such-command"), "line 1: exited with 127"),
        (block("sh ci", "echo one; echo two") + block("text ci", "two", "one"), "line 4: .* did not print 'one'"),
        (block("sh ci", "echo one") + block("text ci", "on… two"), "line 4: .* did not print 'on… two'"),
        (block("sh ci serve", "echo sorry; exit 7"), "line 1: exited with 7 instead of serving\n  | sorry"),
    ],
)
def test_a_broken_promise_is_named(readme: ModuleType, repository: Path, blocks: str, words: str) -> None:
    with pytest.raises(readme.Broken, match=words):
        readme.run(blocks, repository)


def test_a_block_may_not_hang(readme: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "TIMEOUT", 0.5)
    with pytest.raises(readme.Broken, match="line 1: still runs after"):
        readme.run(block("sh ci", "sleep 60"), repository)
    with pytest.raises(readme.Broken, match="line 1: does not listen"):
        readme.run(block("sh ci serve", "sleep 60"), repository)


def test_a_server_must_stop_when_told(readme: ModuleType, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "STOP_TIMEOUT", 0.5)
    deaf = f"""
import http.server, signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
http.server.test(port={readme.PORT}, bind="127.0.0.1")
"""
    with pytest.raises(readme.Broken, match="line 1: still runs after Ctrl-C"):
        readme.run(block("sh ci serve", f"{sys.executable} -c '{deaf}'"), repository)
    assert not readme.is_listening()


def test_the_port_must_be_free(readme: ModuleType, repository: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", readme.PORT)),
        pytest.raises(readme.Broken, match="something else already listens"),
    ):
        readme.run(block("sh ci serve", server(readme)), repository)
