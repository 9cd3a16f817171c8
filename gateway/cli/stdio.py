"""`mcp-gateway stdio`: the front that desktop clients start."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from gateway.cli.common import configure_logs, or_fail, run, with_reader

if TYPE_CHECKING:
    from gateway.config.models import Config


@click.command("stdio")
@with_reader
def command(read: "Callable[[], Config]") -> None:
    """Serve one agent on stdin and stdout. Logs go to stderr."""
    from gateway.app import Gateway
    from gateway.frontend.stdio import stdio_agent

    config = or_fail(read)
    configure_logs(config)

    async def serve() -> None:
        await Gateway(config, stdio_agent(), reread=read).stdio()

    run(serve)
