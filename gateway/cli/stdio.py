"""`mcp-gateway stdio`: the front that desktop clients start."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import (
    check_profile,
    configure_logs,
    file_argument,
    import_structlog,
    or_fail,
    profile_option,
    reader,
    reading_options,
    run,
)

if TYPE_CHECKING:
    from gateway.config.models import Config


@click.command("stdio")
@file_argument
@profile_option
@reading_options
def command(
    file: Path | None,
    path: Path | None,
    log_level: str | None,
    log_format: str | None,
    strict: bool,
    profile: str | None,
) -> None:
    """Serve one agent on stdin and stdout. Logs go to stderr.

    Clients start this in whatever folder is open. What lies in that folder counts only when it is named, with -c or
    GATEWAY_CONFIG: else the configuration is $XDG_CONFIG_HOME/mcp-gateway/servers.yaml.
    """
    serve(file or path, {"log_level": log_level, "log_format": log_format}, strict, profile)


def serve(path: Path | None, overrides: dict[str, str | None], strict: bool, profile: str | None = None) -> None:
    """Until the agent leaves or a signal ends us."""
    import_structlog()
    from gateway import stdio_service
    from gateway.app import Gateway
    from gateway.frontend.stdio import stdio_agent

    read = or_fail(lambda: reader(path, overrides, strict=strict, here=False))
    config = or_fail(read)
    check_profile(config, profile)
    configure_logs(config)
    _tell(config, named=path is not None)

    async def until_end() -> None:
        await stdio_service.serve(Gateway(config, stdio_agent(profile), reread=read))

    run(until_end)


def _tell(config: "Config", *, named: bool) -> None:
    """What is used, what is not, and what is wrong with it."""
    import structlog

    from gateway.config.reading.locate import passed_over

    log = structlog.stdlib.get_logger("gateway")
    log.info("configuration read", config=str(config.path), upstreams=len(config.enabled))
    if ignored := passed_over(config.path, named=named):
        reason = "a client chose this folder; to use what lies in it, name it with -c or GATEWAY_CONFIG"
        log.warning("passed over", files=[str(path) for path in ignored], reason=reason)
    for warning in config.warnings:
        log.warning("configuration", warning=warning)
