"""What becomes of each version of a file: applied, refused with its reason, or nothing new."""

from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from gateway.config import Config, load
from gateway.config.diff import Diff
from gateway.config.reload import Current, Reloader

pytestmark = pytest.mark.anyio

FILE = Path("servers.yaml")


def write(text: str) -> None:
    FILE.write_text(text)


class Followed:
    """A file, and what was made of it."""

    def __init__(self, text: str) -> None:
        write(text)
        self.current = Current(self._read())
        self.applied: list[Diff] = []
        self.seen: list[bool] = []
        self._reloader = Reloader(self.current, self._read, self._apply, self._nothing_else, self.seen.append)
        self.first = self.current.loaded_at

    async def becomes(self, text: str, *, asked: bool = False) -> list[str]:
        """Reload from another text; returns what the log said."""
        write(text)
        return await self.reload(asked=asked)

    async def reload(self, *, asked: bool = False) -> list[str]:
        with structlog.testing.capture_logs() as logs:
            await self._reloader.reload(asked=asked)
        return [f"{each['log_level']}: {each['event']}" for each in logs]

    def _read(self) -> Config:
        return load(FILE, environ={}, dotenv=None)

    async def _nothing_else(self) -> None: ...

    def _apply(self, diff: Diff) -> None:
        assert self.current.config.gateway == diff.config.gateway, "it is in force by then"
        self.applied.append(diff)


GOOD = "servers: {a: {command: a}}"
BETTER = "servers: {a: {command: a}, b: {command: b}}"
BAD = "servers:\n  a: {comand: a}\n"
REASON = "servers.yaml:2: server 'a': comand: unknown key; did you mean 'command'?"


async def test_a_good_change_is_applied() -> None:
    it = Followed(GOOD)
    assert await it.becomes(BETTER) == ["info: configuration reloaded"]
    assert [diff.changes for diff in it.applied] == [{"added": ("b",)}]
    assert it.current.config.servers.keys() == {"a", "b"}
    assert it.current.loaded_at > it.first


async def test_a_bad_one_changes_nothing_until_it_is_good() -> None:
    it = Followed(GOOD)
    before = it.current.config
    assert await it.becomes(BAD) == ["error: configuration refused; the one from before stays"]
    assert REASON in it.current.refused
    assert (it.applied, it.current.config, it.current.loaded_at) == ([], before, it.first)
    assert await it.becomes(BAD) == [], "it has been said"
    assert await it.becomes(BETTER) == ["info: configuration reloaded"]
    assert it.current.refused == ""
    assert it.seen == [False, True]


async def test_a_bad_one_that_is_taken_back() -> None:
    it = Followed(GOOD)
    await it.becomes(BAD)
    assert await it.becomes(GOOD) == ["info: configuration is valid, and as it was"]
    assert (it.applied, it.current.refused) == ([], "")


async def test_nothing_new_is_said_only_to_who_asks() -> None:
    it = Followed(GOOD)
    assert await it.becomes(f"# only a comment\n{GOOD}") == []
    assert await it.reload(asked=True) == ["info: configuration is valid, and as it was"]
    await it.becomes(BAD)
    assert await it.reload(asked=True) == ["error: configuration refused; the one from before stays"]
    assert it.applied == []


async def test_what_needs_a_restart_is_said_once_and_not_applied() -> None:
    it = Followed(GOOD)
    text = f"gateway: {{port: 9}}\n{BETTER}"
    assert await it.becomes(text) == ["warning: settings need a restart", "info: configuration reloaded"]
    assert (it.current.needs_restart, it.current.config.gateway.port) == (("port",), 8080)
    assert await it.becomes(f"{text}\n") == []
    assert await it.becomes(BETTER) == []
    assert it.current.needs_restart == ()


async def test_new_warnings_are_said() -> None:
    it = Followed("servers: {a: {command: a}}\nold: 1\n")
    assert await it.becomes("servers: {a: {command: a}}\nold: 1\nnew: 1\n") == ["warning: configuration"]


async def test_what_was_secret_a_moment_ago_still_is() -> None:
    def text(token: str) -> str:
        return f"servers: {{a: {{url: 'http://a/', headers: {{X-Key: {token}}}}}}}"

    it = Followed(text("first-token"))
    await it.becomes(text("second-token"))
    assert it.current.config.secrets == {"first-token", "second-token"}
    await it.becomes(text("third-token"))
    assert it.current.config.secrets == {"second-token", "third-token"}


async def test_a_defect_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Followed(GOOD)

    def fail(diff: Diff) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(it._reloader, "_apply", fail)  # pyright: ignore[reportPrivateUsage]
    assert "error: configuration not reloaded" in await it.becomes(BETTER)
    assert "a defect of the gateway" in it.current.refused


async def test_the_files_to_follow_are_those_that_a_refused_configuration_needs_as_well(tmp_path: Path) -> None:
    it = Followed(GOOD)
    await it.becomes("servers: {a: {command: a, env_file: absent.env}, b: {command: b, env_file: late.env}}")
    followed: list[Any] = it._reloader._files  # pyright: ignore[reportPrivateUsage]
    assert {path.name for path in followed} == {"servers.yaml", "absent.env", "late.env"}
