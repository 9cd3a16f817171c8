"""The audit log: every call of a tool, every refusal and every change, in lines that cannot be altered unseen.

What happens is noted on the event loop, which costs no more than a dict; a thread makes lines of it, seals and writes
them. Nothing here waits but `opened` and `aclose`.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import anyio
import msgspec

from gateway.blocking import in_thread
from gateway.call import Call
from gateway.config.models import Config
from gateway.config.models.telemetry import AuditSettings
from gateway.errors import AuditNotWritten, ConfigError, GatewayError, NotFound
from gateway.harmless import clipped
from gateway.request import Principal
from gateway.telemetry.access_log import iso
from gateway.telemetry.append_file import AppendFile
from gateway.telemetry.audit.arguments import ArgumentRules
from gateway.telemetry.audit.chain import Keys, keys_of
from gateway.telemetry.audit.damper import SECONDS, Damper, Kind
from gateway.telemetry.audit.heads import HeadFile
from gateway.telemetry.audit.writer import AuditWriter, Stream
from gateway.telemetry.logs import Redactor

FLUSH_SECONDS: Final = 0.05
"""How long records are kept, to be written together."""
REFUSALS: Final = frozenset(
    {
        *("unauthenticated", "forbidden", "rate_limited", "no_session", "invalid_state", "unknown_task"),
        *("unknown_tool", "unknown_prompt", "unknown_resource", "definition_changed", "not_saved"),
    }
)
"""Outcomes that mean: they may not. What somebody may not see is not there, so that unknown names are among them."""
OUTCOMES: Final = {401: "unauthenticated", 403: "forbidden", 429: "rate_limited"}
"""By HTTP status."""
HEADS: Final = "audit"
"""The folder in `state_dir` that says where each writer's lines end."""
CALL_BYTES: Final = 1024
"""Of a record without arguments, by and large."""


Origin = Callable[[str, Mapping[str, str]], str]


@dataclass(frozen=True, slots=True)
class _Item:
    """A record to be."""

    at: float
    fields: dict[str, Any]
    tool: str = ""
    arguments: object = None


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """An HTTP request that somebody may not make."""

    id: str
    method: str
    path: str
    address: str
    principal: Principal | None
    outcome: str
    status: int
    reason: str = ""


class AuditLog:
    """What is noted. Use `opened`; `run` must be running."""

    def __init__(self, settings: AuditSettings, keys: Keys, redact: Callable[[str], str], origin: Origin) -> None:
        self._origin = origin
        self._refuses = settings.on_failure == "refuse"
        self._arguments = ArgumentRules(settings, keys.arguments)
        self._redact = redact
        self._damper = Damper()
        self._items: list[_Item] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._file: AppendFile | None = None
        self._writer: AuditWriter | None = None

    def open(self, settings: AuditSettings, keys: Keys, config: Config) -> None:
        """
        Raises:
            ConfigError: it cannot be written to.
        """
        gateway = config.gateway
        heads = settings.heads or gateway.state_dir / HEADS
        try:
            head = HeadFile(heads, keys.head, [keys_of(key).head for key in settings.previous_keys])
        except OSError as error:
            raise ConfigError(f"gateway.audit.heads: {heads} cannot be written to ({error.strerror}).") from None
        if settings.file is not None:
            self._file = AppendFile(settings.file, 0o600)
        sink = self._file or Stream(settings.stream or "stderr")
        try:
            self._writer = AuditWriter(sink, head, keys, self._encode, gateway.environment)
        except OSError as error:
            head.close()
            raise ConfigError(
                f"gateway.audit: {settings.file or settings.stream} cannot be written to ({error.strerror})."
            ) from None

    @property
    def trouble(self) -> str:
        """Why lines cannot be written; empty while they can."""
        return self._writer.trouble if self._writer is not None else ""

    def use(self, redact: Callable[[str], str]) -> None:
        """Mask secrets with this from now on."""
        self._redact = redact

    # --- What happens -------------------------------------------------------------------------------------------------

    def check(self, call: Call) -> None:
        """Whether a call may be made.

        Raises:
            AuditNotWritten: it is to be in the audit log, which cannot be written.
        """
        if call.method == "tools/call":
            self.check_change()

    def check_change(self) -> None:
        """Whether something may be changed.

        Raises:
            AuditNotWritten: it is to be in the audit log, which cannot be written.
        """
        if self._refuses and (trouble := self.trouble):
            raise AuditNotWritten(trouble)

    def on_call(self, call: Call, milliseconds: float) -> None:
        """A call has been answered."""
        is_refusal, is_tool = call.outcome in REFUSALS, call.method == "tools/call"
        if not (is_refusal or is_tool):
            return
        principal, agent = call.principal, call.agent
        address = self._origin(call.http.address, call.http.headers) if call.http is not None else None
        now = time.time()
        if is_refusal and not self._damper.is_to_be_said((call.outcome, principal.id, ""), now):
            self._later()
            return
        params = call.params
        target, client = params.get("name") or params.get("uri"), agent.info.get("name")
        fields = {
            "event": "refused" if is_refusal else "call",
            "method": clipped(call.method, 100),
            "target": clipped(target) if isinstance(target, str) else None,
            "upstream": call.upstream,
            "outcome": call.outcome,
            "code": call.code,
            "ms": milliseconds,
            "principal": principal.id,
            "owner": principal.owner or None,
            "address": address,
            "session": agent.digest if agent.lasting else None,
            "view": agent.view,
            "client": clipped(client, 100) if isinstance(client, str) else None,
            "request_id": call.request_id,
            "trace_id": call.trace_id,
        }
        arguments = params.get("arguments") if is_tool and not self._arguments.says_nothing else None
        tool = target if isinstance(target, str) else ""
        self._add(_Item(now, fields, tool, arguments), len(bytes(arguments)) if type(arguments) is msgspec.Raw else 0)

    def on_refused(self, refused: RefusedRequest) -> None:
        """An HTTP request was refused before it became a call."""
        now, principal = time.time(), refused.principal
        kind = refused.outcome, principal.id if principal is not None else "", refused.address
        if not self._damper.is_to_be_said(kind, now):
            self._later()
            return
        fields = {
            "event": "refused",
            "http_method": refused.method,
            "path": clipped(refused.path),
            "outcome": refused.outcome,
            "status": refused.status,
            "reason": clipped(refused.reason) or None,
            "principal": principal.id if principal is not None else None,
            "owner": (principal.owner or None) if principal is not None else None,
            "address": refused.address,
            "request_id": refused.id,
        }
        self._add(_Item(now, fields))

    def on_error(
        self, id: str, method: str, path: str, address: str, principal: Principal | None, error: GatewayError
    ) -> None:
        """As `on_refused`, by the error that it was refused with; others are nothing to us."""
        outcome = error.outcome
        if type(error) is NotFound and principal is not None and path.startswith("/mcp/"):
            outcome = "unknown_upstream"  # or one that they may not see
        elif outcome not in REFUSALS:
            return
        self.on_refused(RefusedRequest(id, method, path, address, principal, outcome, error.status, error.message))

    def on_change(self, what: str, by: Principal | None = None, **fields: Any) -> None:
        """Something was changed.

        Args:
            by: whose request did it; None where that is not known, as with files.
            fields: what else there is to say. Lists are said up to 100 of their items.
        """
        said = {name: _said(value) for name, value in fields.items()}
        whose = {"principal": by.id, "owner": by.owner or None} if by is not None else {}
        self._add(_Item(time.time(), {"event": "change", "what": what, **whose, **said}))

    # --- Writing ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Say what was counted, until cancelled."""
        while True:
            await anyio.sleep(SECONDS / 6)
            self._later()

    async def aclose(self) -> None:
        """Write what there is, and the end."""
        self._say_counts(math.inf)
        self._flush()
        if self._writer is not None:
            await in_thread(self._writer.close)

    def _add(self, item: _Item, size: int = 0) -> None:
        self._items.append(item)
        self._size += CALL_BYTES + size
        self._later()

    def _later(self) -> None:
        if self._timer is None:
            with suppress(RuntimeError):  # the gateway is just being built: there is a loop soon
                self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._say_counts(time.time())
        items, self._items = self._items, []
        size, self._size = self._size, 0
        if items and self._writer is not None:
            self._writer.put(items, size)

    def _say_counts(self, now: float) -> None:
        for kind, count in self._damper.over(now):
            self._items.append(_Item(time.time(), _counted(kind, count)))

    def _encode(self, item: _Item) -> dict[str, Any]:
        """Called in the writer's thread."""
        redact = self._redact
        fields = {name: _redacted(value, redact) for name, value in item.fields.items() if value is not None}
        return {"at": iso(item.at), **fields, **self._arguments.describe(item.tool, item.arguments, redact)}


def opened(config: Config, redact: Redactor, origin: Origin = lambda address, headers: address) -> AuditLog | None:
    """The audit log that a configuration asks for. Blocks.

    Args:
        origin: where a request came from, by the address it came from last and its headers.

    Raises:
        ConfigError: it cannot be written to.
    """
    settings = config.gateway.audit
    if settings is None:
        return None
    keys = keys_of(settings.key)
    made = AuditLog(settings, keys, redact, origin)
    made.open(settings, keys, config)
    return made


def _counted(kind: Kind, count: int) -> dict[str, Any]:
    outcome, principal, address = kind
    return {
        "event": "refused",
        "outcome": outcome,
        "principal": principal or None,
        "address": address or None,
        "repeated": count,
    }


def _said(value: object) -> object:
    if isinstance(value, str):
        return clipped(value, 1000)
    if isinstance(value, Collection):
        return [clipped(str(each)) for each in list(cast("Collection[object]", value))[:100]]
    return value


def _redacted(value: object, redact: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(each, redact) for each in cast("list[object]", value)]
    return value
