"""`mcp-gateway stdio`: the front that desktop clients start."""

import click

from gateway.cli.common import configure_logs, run, with_config
from gateway.config.models import Config


@click.command("stdio")
@with_config
def command(config: Config) -> None:
    """Serve one agent on stdin and stdout. Logs go to stderr."""
    from gateway.app import Gateway
    from gateway.frontend.stdio import stdio_agent

    configure_logs(config)

    async def serve() -> None:
        await Gateway(config, stdio_agent()).stdio()

    run(serve)
