"""`/log-level`: what is logged from now on, without a restart."""

import asyncio

import structlog
from fastapi import APIRouter

from gateway.config.reload import Current
from gateway.rest.caller import PRIVATE, Admin, Count, counted, failures
from gateway.rest.changes import Changes
from gateway.rest.models import LogLevel, LogLevelWish
from gateway.telemetry import level_control, logs

log = structlog.stdlib.get_logger("gateway.rest")


def log_level_routes(current: Current, count: Count, changes: Changes) -> APIRouter:
    router = APIRouter(prefix="/log-level", tags=["Configuration"], **PRIVATE)

    def shown() -> LogLevel:
        settings = current.config.gateway
        configured = "debug" if settings.debug else settings.log_level
        left = level_control.seconds_left()
        return LogLevel.model_validate(
            {
                "level": level_control.current() or configured,
                "configured": configured,
                "seconds_left": None if left is None else round(left, 1),
            }
        )

    @router.get("", summary="From which level on is logged?", responses=failures(403))
    async def log_level(caller: Admin) -> LogLevel:
        """Needs the scope `admin`."""
        return shown()

    @router.put(
        "", summary="Log more, or less", dependencies=[counted(count)], responses=failures(400, 403, 413, 415, 429)
    )
    async def set_log_level(wish: LogLevelWish, caller: Admin) -> LogLevel:
        """Counts until it is taken back, its time is over, or the configuration asks for another level. Needs
        the scope `admin`."""
        changes.check()
        change(current, wish.level, wish.seconds, caller.id)
        changes.on_log_level(wish.level, wish.seconds, caller.id)
        changes.on_change("log_level", caller, level=level_control.current(), seconds=wish.seconds)
        return shown()

    return router


def change(current: Current, level: str | None, seconds: float | None, by: str) -> None:
    """Log from that level on, as somebody wishes, in this process."""

    def expire() -> None:
        logs.configure_for(current.config)
        log.warning("log level as configured again", now=level_control.current())

    logs.configure_for(current.config)
    level_control.override(level, seconds)
    logs.configure_for(current.config)
    log.warning("log level changed", now=level_control.current(), by=by, seconds=seconds)
    if level is not None and seconds is not None:
        asyncio.get_running_loop().call_later(seconds + 0.01, expire)
