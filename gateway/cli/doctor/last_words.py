"""What upstreams say on stderr, kept for the moment one of them fails: the reason usually stands there.

The gateway logs such lines at `info`. A one-shot verb logs nothing so trivial, but may want the last few afterwards.
"""

import logging
from collections import defaultdict, deque
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.cli.common import configure_logs
from gateway.telemetry.logs import Redactor

if TYPE_CHECKING:
    from gateway.config.models import Config

KEPT: Final = 8
"""Lines per upstream. A traceback's last ones say it all."""


class StderrTail:
    """Listens in on the log once `listen` was called."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._before: dict[str, deque[str]] = {}
        self._level = logging.ERROR
        self._redact = Redactor(())

    def of(self, upstream: str) -> list[str]:
        """What it said since it was last started, or the time before if it has said nothing yet."""
        return list(self._lines[upstream] or self._before.get(upstream, ()))

    def listen(self, config: "Config", *, at_least: str) -> Callable[[str], str]:
        """Set up logging from level `at_least` on, unless the user asked for more; returns what hides secrets."""
        configure_logs(config, at_least=at_least)
        self._redact = Redactor(config.secrets)
        configured = structlog.get_config()
        self._level = _level_of(configured["wrapper_class"])
        structlog.configure(
            processors=[self._take, *configured["processors"]],
            wrapper_class=structlog.make_filtering_bound_logger(min(logging.INFO, self._level)),
        )
        return self._redact

    def _take(self, _: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        upstream = str(event.get("upstream"))
        if event.get("event") == "stderr":
            self._lines[upstream].append(str(self._redact.clip(event.get("line"))))
        elif event.get("event") == "upstream refused":
            self._lines[upstream].append(f"its answer: {self._redact.clip(event.get('body'))}")
        elif event.get("event") == "upstream noise":
            self._lines[upstream].append(str(self._redact.clip(event.get("noise"))))
        elif event.get("event") == "upstream starting" and self._lines[upstream]:
            self._before[upstream] = self._lines.pop(upstream)
        if logging.getLevelNamesMapping().get(_severity(method), logging.CRITICAL) < self._level:
            raise structlog.DropEvent
        return event


def _severity(method: str) -> str:
    return "ERROR" if method == "exception" else method.upper()


def _level_of(wrapper: Any) -> int:
    """The level a filtering logger class was made for."""
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR)
    probe = wrapper(None, [], {})
    return next((level for level in levels if probe.is_enabled_for(level)), logging.CRITICAL)
