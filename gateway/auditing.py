"""Brings to the audit log what it is to know from all rooms; where there is none, its hooks are None or do nothing."""

from collections.abc import Callable, Mapping
from typing import Any

from gateway.access.proxies import TrustedProxies
from gateway.call import Call
from gateway.config.models import Config
from gateway.errors import ConfigError, GatewayError
from gateway.frontend.http_request import HttpRequest
from gateway.request import Principal
from gateway.rest.changes import Changes
from gateway.telemetry import audit
from gateway.telemetry.logs import Redactor


class Auditing:
    """Constructing it opens the audit log, and blocks.

    Args:
        config: what asks for one; None for no audit log.
        has_stdout: whether nothing else is said on stdout.

    Raises:
        ConfigError: it cannot be written to.
    """

    on_call: Callable[[Call, float], None] | None = None
    """See `AuditLog`; so are the others."""
    check: Callable[[Call], None] | None = None
    on_error: Callable[[HttpRequest, GatewayError], None] | None = None

    def __init__(self, config: Config | None, *, has_stdout: bool) -> None:
        settings = config.gateway.audit if config is not None else None
        if settings is not None and settings.stream == "stdout" and not has_stdout:
            raise ConfigError("gateway.audit.stream: stdout carries MCP here; use stderr, or a file")
        self._log: audit.AuditLog | None = None
        self.changes = Changes()
        if config is None or settings is None:
            return
        proxies = TrustedProxies(config.gateway.trusted_proxies)

        def origin(address: str, headers: Mapping[str, str]) -> str:
            return proxies.origin(address, headers.get("x-forwarded-for"))

        self._log = log = audit.opened(config, Redactor(config.secrets), origin)
        assert log is not None

        def on_error(request: HttpRequest, error: GatewayError) -> None:
            address = origin(request.address, request.headers)
            log.on_error(request.id, request.method, request.path, address, request.user, error)

        def on_refused(request: HttpRequest, status: int) -> None:
            where = request.id, request.method, request.path, origin(request.address, request.headers)
            log.on_refused(audit.RefusedRequest(*where, request.user, audit.OUTCOMES[status], status))

        self.on_call, self.check, self.on_error = log.on_call, log.check, on_error
        self.changes = Changes(log.check_change, log.on_change, on_refused)

    def on_change(self, what: str, by: Principal | None = None, **fields: Any) -> None:
        """Something was changed."""
        if self._log is not None:
            self._log.on_change(what, by, **fields)

    def trouble(self) -> int:
        """1 while lines cannot be written."""
        return int(self._log is not None and bool(self._log.trouble))

    def use(self, config: Config) -> None:
        """Mask this configuration's secrets from now on."""
        if self._log is not None:
            self._log.use(Redactor(config.secrets))

    async def run(self) -> None:
        """Until cancelled, where there is something to do."""
        if self._log is not None:
            await self._log.run()

    async def aclose(self) -> None:
        """Write what there is."""
        if self._log is not None:
            await self._log.aclose()
