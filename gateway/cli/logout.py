"""`mcp-gateway logout`: end a login at a server. A gateway that runs sees it by itself."""

from typing import TYPE_CHECKING

import click

from gateway.cli.common import Exit, check_names, configure_logs, fail, run_once, with_config
from gateway.cli.ui.terminal import bold, mark

if TYPE_CHECKING:
    from gateway.config.models import Config


@click.command("logout")
@click.argument("server")
@with_config
def command(config: "Config", server: str) -> None:
    """End the login at SERVER that all who use this gateway share.

    The server's authorization server is told, where it can be. What it cannot be told of ends with the tokens' time.
    """
    check_names(config, [server])
    configure_logs(config, at_least="error")
    run_once(_logout, config, server)


async def _logout(config: "Config", name: str) -> None:
    from gateway.logins.flow import revoke
    from gateway.logins.opening import vault_of
    from gateway.logins.record import SHARED, LoginKey

    key = LoginKey(SHARED, name, config.servers[name].url or "")
    async with vault_of(config.gateway) as vault, vault.turn(key.name):
        login = await vault.get(key)
        if login is not None:
            await vault.drop(key)
    if login is None:
        fail(f"nobody is logged in to {name!r}", Exit.FOUND)
    told = await revoke(login, config.servers[name].auth)
    rest = "and told its authorization server" if told else "but its authorization server could not be told"
    click.echo(f"{mark('ok')} Logged out of {bold(name)}, {rest}.", err=True)
