"""Values that stand elsewhere: `${file:PATH}`, `${keyring:SERVICE/NAME}` and `${command:PROGRAM ARGUMENT…}`.

Only the gateway's own file may refer to them (`loader`): whoever may write a reference may read files and start
programs as the gateway. A command is no shell line. Each reference is resolved once in a reading of the configuration,
whatever the number of places it stands in.
"""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import blocking, system_keyring
from gateway.config.reading.problems import printable
from gateway.system_keyring import KeyringUnavailable

if TYPE_CHECKING:
    import subprocess

FILE: Final = "file"
KEYRING: Final = "keyring"
COMMAND: Final = "command"
SCHEMES: Final = (FILE, KEYRING, COMMAND)

MAX_BYTES: Final = 64 * 1024
"""Largest value; a private key has some 3 KiB."""
SECONDS: Final = system_keyring.SECONDS
"""How long a command, or the keyring, may take: somebody may have to unlock it."""
LAST_SECONDS: Final = 1.0
"""How long what a command left running may keep its output open."""


class Unavailable(Exception):
    """There is no value; the message says why and what to do, and never repeats what was read."""


class NotAsked(Exception):
    """Nothing is asked now; the message says what would be."""


class SecretSources:
    """
    Args:
        folder: what relative paths are relative to, and where commands run.
        environ: what commands are given, without the gateway's own settings (`GATEWAY_…`).
        ask: whether to start commands and ask the keyring; files are read in any case.
        seconds: how long either may take.
        last_seconds: how long what a command left running may keep its output open.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str],
        *,
        ask: bool = True,
        seconds: float = SECONDS,
        last_seconds: float = LAST_SECONDS,
    ) -> None:
        self.files: list[Path] = []
        """Absolute paths of those that were read, or tried."""
        self.values: set[str] = set()
        """All that was found. Every one is a secret."""
        self.uses = 0
        """How many references were met, whatever became of them."""
        self.ask = ask
        self._folder = folder
        self._environ = {name: value for name, value in environ.items() if not name.upper().startswith("GATEWAY_")}
        self._seconds = seconds
        self._last_seconds = last_seconds
        self._found: dict[tuple[str, ...], str | Unavailable] = {}

    def get(self, scheme: str, words: Sequence[str], written: str) -> str:
        """
        Args:
            words: the program and its arguments; or one path, or one name in the keyring.
            written: the same before variables were expanded in it; messages repeat nothing else.

        Raises:
            Unavailable, NotAsked: as they say.
        """
        self.uses += 1
        if not self.ask and scheme != FILE:
            raise NotAsked(_what_it_takes(scheme, words, _shown(written)))
        key = (scheme, *words)
        if key not in self._found:
            try:
                self._found[key] = self._read(scheme, words, _shown(written))
            except Unavailable as error:
                self._found[key] = error
        found = self._found[key]
        if isinstance(found, Unavailable):
            raise found
        self.values.add(found)
        return found

    def _read(self, scheme: str, words: Sequence[str], written: str) -> str:
        if scheme == FILE:
            return self._file(words[0], written)
        if scheme == KEYRING:
            return _from_keyring(words[0], written, self._seconds)
        return _output(words, written, self._folder, self._environ, self._seconds, self._last_seconds)

    def _file(self, named: str, written: str) -> str:
        if not named or "\0" in named:
            raise Unavailable("${file:…} names no file; write ${file:/run/secrets/NAME}")
        path = self._folder / os.path.expanduser(named)
        self.files.append(path)
        try:
            data = blocking.read(path, MAX_BYTES + 1)
        except FileNotFoundError:
            raise Unavailable(f"there is no file {written}; create it, or correct the path") from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            remedy = "make it readable for the gateway"
            raise Unavailable(f"the file {written} cannot be read: {reason}; {remedy}") from None
        return _text(data, f"the file {written}", "correct the path")


def _what_it_takes(scheme: str, words: Sequence[str], written: str) -> str:
    import importlib.util
    import shutil

    if scheme == COMMAND:
        is_here = not words or os.sep in words[0] or shutil.which(words[0])
        lacks = "" if is_here else ", whose program is not found here"
        return f"a gateway runs `{written}` for it{lacks}; it was not run now"
    is_here = importlib.util.find_spec("keyring")
    lacks = "" if is_here else f", and lacks the library for that ({system_keyring.INSTALL})"
    return f"a gateway asks the keyring for {written}{lacks}; it was not asked now"


def _shown(text: str) -> str:
    return printable(text if len(text) <= 200 else f"{text[:200]}…")


def _text(data: bytes, what: str, remedy: str) -> str:
    """What was read, without the line break at its end."""
    if len(data) > MAX_BYTES:
        raise Unavailable(f"{what} has more than {MAX_BYTES >> 10} KiB, which is no secret; {remedy}")
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise Unavailable(f"{what} is not UTF-8; {remedy}") from None
    if not text:
        raise Unavailable(f"{what} is empty; put the value there, or {remedy}")
    return text


# --- The keyring ------------------------------------------------------------------------------------------------------


def _from_keyring(name: str, written: str, seconds: float) -> str:
    service, _, user = name.rpartition("/")
    if not service or not user:
        raise Unavailable("${keyring:…} needs a service and a name; write ${keyring:SERVICE/NAME}")
    try:
        found = system_keyring.read(service, user, seconds, otherwise="use ${file:…} or ${command:…}")
    except KeyringUnavailable as error:
        raise Unavailable(str(error)) from None
    if not found:
        raise Unavailable(f"the keyring has no {written}; store it: `keyring set SERVICE NAME`")
    if len(found) > MAX_BYTES:
        raise Unavailable(f"{written} in the keyring has more than {MAX_BYTES >> 10} KiB; store a secret there")
    return found


# --- Commands ---------------------------------------------------------------------------------------------------------


def _output(
    words: Sequence[str], written: str, folder: Path, environ: Mapping[str, str], seconds: float, last_seconds: float
) -> str:
    import subprocess  # most configurations start nothing

    if not words or any("\0" in word for word in words):
        raise Unavailable("${command:…} names no program; write ${command:PROGRAM ARGUMENT …}")
    try:
        process = subprocess.Popen(  # noqa: S603 - the owner's own file names it, and there is no shell
            list(words),
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Unavailable(f"the program of `{written}` is not found; install it, or write its path") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unavailable(f"`{written}` cannot be started: {reason}; correct the command") from None
    collected = _Collected(process, last_seconds)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()
        collected.close()
        remedy = "run it by hand and see what it waits for"
        raise Unavailable(f"`{written}` did not end within {seconds:g} s; {remedy}") from None
    data = collected.close()
    if len(data) <= MAX_BYTES and status != 0:
        raise Unavailable(f"`{written}` failed with exit status {status}; run it by hand and see what it says")
    return _text(data, f"the output of `{written}`", "correct the command")


class _Collected:
    """What a command prints, read aside; one that prints too much is ended."""

    def __init__(self, process: "subprocess.Popen[bytes]", last_seconds: float) -> None:
        assert process.stdout is not None
        self._process = process
        self._last_seconds = last_seconds
        self._pipe = process.stdout
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read, name="command", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._pipe:
            while len(self._data) <= MAX_BYTES and (data := os.read(self._pipe.fileno(), 65536)):
                self._data += data
            if len(self._data) > MAX_BYTES:
                _kill(self._process)

    def close(self) -> bytes:
        """Once the command has ended: all of it, though what it left running may hold the pipe open."""
        self._thread.join(self._last_seconds)
        return bytes(self._data)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """The command, and what it started, unless it has been waited for: its number may be another's by now."""
    if process.returncode is not None:
        return
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
