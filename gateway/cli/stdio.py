"""`mcp-gateway stdio`: the front that desktop clients start."""

import click

from gateway.cli.common import configure_logs, run, with_config
from gateway.config.models import Config


@click.command("stdio")
@with_config
def command(config: Config) -> None:
    """Serve one agent on stdin and stdout. Logs go to stderr."""
    from gateway.app import Gateway

    configure_logs(config)

    async def serve() -> None:
        await Gateway(config).stdio()

    run(serve)
