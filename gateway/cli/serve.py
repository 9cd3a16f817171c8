"""`mcp-gateway serve`: the HTTP front."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from gateway.cli.common import configure_logs, file_argument, or_fail, run, with_reader

if TYPE_CHECKING:
    from gateway.config.models import Config


@click.command("serve")
@file_argument
@click.option("--host", help="Address to listen on; anything but loopback needs authentication.")
@click.option("-p", "--port", type=int, help="Port to listen on; 0 picks a free one.")
@with_reader
def command(read: "Callable[[], Config]") -> None:
    """Serve agents over HTTP: /mcp for all upstreams, /mcp/NAME for one, /sse for old clients."""
    import structlog

    from gateway.app import Gateway

    config = or_fail(read)
    configure_logs(config)
    log = structlog.stdlib.get_logger("gateway")
    for warning in config.warnings:
        log.warning("configuration", warning=warning)

    def on_listening(url: str) -> None:
        log.info("listening", url=f"{url}/mcp", config=str(config.path), upstreams=len(config.enabled))
        paste = f"{url}/mcp, or what `mcp-gateway client-config CLIENT --http` prints"
        log.info("for people", docs=f"{url}/docs", paste_into_a_client=paste)

    async def serve() -> None:
        await Gateway(config, reread=read).http(on_listening)

    run(serve)
