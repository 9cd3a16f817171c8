"""What becomes of each version of a file: applied, refused with its reason, or nothing new."""

import signal
from pathlib import Path
from typing import Any

import anyio
import pytest
import structlog.testing

from gateway.config import Config, load, reload
from gateway.config.reload import Current, Reloader
from tests.support import wait_until

pytestmark = pytest.mark.anyio

FILE = Path("servers.yaml")


def write(text: str) -> None:
    FILE.write_text(text)


class Followed:
    """A file, and what was made of it."""

    def __init__(self, text: str) -> None:
        write(text)
        self.current = Current(self._read())
        self.applied: list[Config] = []
        self.prepared: list[Config] = []
        self.seen: list[bool] = []
        self.asked = False
        self._reloader = Reloader(
            self.current, self._read, self._prepare, self._apply, self._on_asked, self.seen.append
        )
        self.run = self._reloader.run
        self.first = self.current.loaded_at

    async def becomes(self, text: str) -> list[str]:
        """Reload from another text; returns what the log said."""
        write(text)
        return await self.reload()

    async def reload(self, *, asked: bool = False) -> list[str]:
        with structlog.testing.capture_logs() as logs:
            await self._reloader.reload(asked=asked)
        return [f"{each['log_level']}: {each['event']}" for each in logs]

    def _read(self) -> Config:
        return load(FILE, environ={}, dotenv=None)

    async def _on_asked(self) -> None:
        self.asked = True

    async def _prepare(self, config: Config) -> None:
        self.prepared.append(config)

    def _apply(self) -> None:
        self.applied.append(self.current.config)


GOOD = "servers: {a: {command: a}}"
BETTER = "servers: {a: {command: a}, b: {command: b}}"
BAD = "servers:\n  a: {comand: a}\n"
REASON = "servers.yaml:2: server 'a': comand: unknown key; did you mean 'command'?"


async def test_a_good_change_is_applied() -> None:
    it = Followed(GOOD)
    assert await it.becomes(BETTER) == ["info: configuration reloaded"]
    assert [config.servers.keys() for config in it.applied] == [{"a", "b"}]
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


async def test_what_was_secret_still_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that waits for a successor that never comes speaks of it for ever."""
    monkeypatch.setattr(reload, "MAX_FORMER_SECRETS", 2)

    def text(number: int) -> str:
        return f"servers: {{a: {{url: 'http://a/', headers: {{X-Key: secret-{number}}}}}}}"

    def numbers() -> set[int]:
        return {int(secret.removeprefix("secret-")) for secret in it.current.config.secrets}

    it = Followed(text(0))
    for number in range(1, 4):
        await it.becomes(text(number))
        await it.becomes(text(number) + "# nothing new")
        assert numbers() == set(range(number + 1))
    await it.becomes(text(1))
    assert numbers() == {0, 1, 2, 3}
    await it.becomes(text(4))
    assert numbers() == {0, 1, 3, 4}, "those of the start, and as many others as are kept"


async def test_a_change_before_it_follows_the_files_is_a_change() -> None:
    it, ready = Followed(GOOD), anyio.Event()
    ready.set()
    write(BETTER)
    async with anyio.create_task_group() as tg:
        tg.start_soon(it.run, ready)
        await wait_until(lambda: it.applied)
        tg.cancel_scope.cancel()


async def test_who_asks_before_it_can_be_done_is_not_forgotten() -> None:
    it, ready = Followed(GOOD), anyio.Event()
    async with anyio.create_task_group() as tg:
        await tg.start(it.run, ready)
        write(BETTER)
        signal.raise_signal(signal.SIGHUP)  # which would end the process, if nobody heeded it
        ready.set()
        await wait_until(lambda: it.asked)
        assert it.applied
        tg.cancel_scope.cancel()


async def test_a_defect_ends_nothing_and_is_got_over(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Followed(GOOD)

    def fail() -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(it._reloader, "_apply", fail)  # pyright: ignore[reportPrivateUsage]
        assert "error: configuration not reloaded" in await it.becomes(BETTER)
    assert "a defect of the gateway" in it.current.refused
    assert it.current.config.servers.keys() == {"a"}
    assert await it.reload() == ["info: configuration reloaded"]
    assert [config.servers.keys() for config in it.applied] == [{"a", "b"}]


async def test_the_files_to_follow_are_those_that_a_refused_configuration_needs_as_well(tmp_path: Path) -> None:
    it = Followed(GOOD)
    await it.becomes("servers: {a: {command: a, env_file: absent.env}, b: {command: b, env_file: late.env}}")
    followed: list[Any] = it._reloader._files  # pyright: ignore[reportPrivateUsage]
    assert {path.name for path in followed} == {"servers.yaml", "absent.env", "late.env"}


async def test_what_can_be_done_before_it_is_in_force_is() -> None:
    followed = Followed(GOOD)
    await followed.becomes(BETTER)
    [prepared] = followed.prepared
    assert prepared.enabled == followed.applied[0].enabled
    await followed.becomes(BAD)
    assert len(followed.prepared) == 1, "what is refused needs none"
