"""What a tool says while it works, on stderr: a bar on a terminal, plain lines elsewhere; log messages in between."""

from collections.abc import Mapping
from typing import Any, Final, TextIO

import click

from gateway import jsonrpc
from gateway.cli.ui.terminal import cut, dim, first_line, harmless, shows, width
from gateway.cli.ui.waiting import CLEAR

BAR_COLUMNS: Final = 24
_FULL, _EMPTY = ("█", "#"), ("░", "-")
_COLOURS: Final = {"debug": "bright_black", "info": "blue", "notice": "blue", "warning": "yellow"}
"""Log level → colour; those above are red."""


class Progress:
    """Shows notifications as they come. Call `done` before anything else is written to the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._limit = width(stream)
        self._form = 0 if shows(_FULL[0] + _EMPTY[0], stream) else 1
        self._line = ""

    def __call__(self, method: str, params: dict[str, Any] | None) -> None:
        """A `Notify` for a request."""
        if method == "notifications/progress":
            self._progress(params or {})
        elif method == "notifications/message":
            self._message(params or {})

    def done(self) -> None:
        """Take the bar away."""
        self._draw("")

    def _progress(self, params: Mapping[str, Any]) -> None:
        message = first_line(str(params.get("message") or ""))
        done, total = _number(params.get("progress")), _number(params.get("total"))
        count = f"{done or 0:g}" + (f"/{total:g}" if total else "")
        if self._limit is None:
            self._echo(f"progress {count} {message}".rstrip() + "\n")
            return
        full, empty = _FULL[self._form], _EMPTY[self._form]
        share = min(1.0, max(0.0, (done or 0) / total)) if total else 0.0
        filled = round(share * BAR_COLUMNS)
        bar = full * filled + empty * (BAR_COLUMNS - filled) + f" {share:4.0%}  " if total else ""
        self._draw(cut(f"{bar}{count}  {message}".rstrip(), self._limit - 1))

    def _message(self, params: Mapping[str, Any]) -> None:
        level, data = str(params.get("level", "info")), params.get("data")
        text = data if isinstance(data, str) else jsonrpc.dumps(data).decode()
        logger = f" {params['logger']}:" if isinstance(params.get("logger"), str) else ""
        bar = self._line
        self.done()
        tag = click.style(harmless(level), fg=_COLOURS.get(level, "red"))
        self._echo(f"{tag}{dim(harmless(logger))} {harmless(text)}\n")
        self._draw(bar)

    def _draw(self, line: str) -> None:
        if line or self._line:
            self._echo(CLEAR + line)
        self._line = line

    def _echo(self, text: str) -> None:
        click.echo(text, file=self._stream, nl=False)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
