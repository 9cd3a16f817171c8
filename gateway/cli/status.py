"""`mcp-gateway status`: what goes on in a gateway that runs, once."""

import sys
from typing import Any

import click

from gateway.cli.common import Exit, json_option
from gateway.cli.remote import RemoteGateway, with_gateway
from gateway.cli.ui.terminal import print_json


@click.command("status")
@json_option
@with_gateway
def command(gateway: RemoteGateway, as_json: bool) -> None:
    """Show upstreams and their states, rates, latencies, the slowest tools, and who calls what, in the last minute.

    Asks the gateway at the configured address, or --url, with the key in MCP_GATEWAY_KEY or --key-file: a key with the
    scope admin sees everybody's requests, others their own. Exits with 1 when a server is in trouble, its breaker is
    open, or the configuration was refused, and with 3 when there is no answer.
    """
    status: dict[str, Any] = gateway.get("/status")
    from gateway.cli.ui.dashboard import dashboard, is_troubled

    if as_json:
        print_json(status)
    else:
        from rich.console import Console

        Console(highlight=False).print(dashboard(status, gateway.url))
    sys.exit(Exit.FOUND if is_troubled(status) else Exit.FINE)
