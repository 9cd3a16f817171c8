"""`mcp-gateway logins`: who is logged in where, with which scopes, and until when. Never a token."""

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.common import configure_logs, json_option, run_once, with_config
from gateway.cli.ui.terminal import bold, dim, harmless, print_json, table, width

if TYPE_CHECKING:
    from gateway.config.models import Config
    from gateway.logins.record import Login


@click.command("logins")
@json_option
@with_config
def command(config: "Config", as_json: bool) -> None:
    """List the logins that are kept: who, where, which scopes, and until when."""
    configure_logs(config, at_least="error")
    run_once(_list, config, as_json)


async def _list(config: "Config", as_json: bool) -> None:
    from gateway.logins.opening import vault_of

    async with vault_of(config.gateway) as vault:
        found = sorted(await vault.all(), key=lambda each: each.server)
    if as_json:
        print_json([_shown(login) for login in found])
        return
    if not found:
        click.echo("Nobody is logged in anywhere. `mcp-gateway login SERVER` logs in.", err=True)
        return
    rows = [
        [
            harmless(login.server),
            harmless(login.owner) if login.principal else f"all ({harmless(login.owner)})",
            harmless(login.issuer),
            harmless(" ".join(login.scopes)) or "-",
            _until(login),
        ]
        for login in found
    ]
    header = ("SERVER", "WHO", "WHERE", "SCOPES", "UNTIL")
    click.echo("\n".join(table(rows, header=header, styles=(bold, None, dim), limit=width(sys.stdout))))


def _shown(login: "Login") -> dict[str, Any]:
    return {
        "server": login.server,
        "principal": login.principal or None,
        "owner": login.owner,
        "issuer": login.issuer,
        "resource": login.resource,
        "scopes": login.scopes,
        "made": login.made,
        "expires": login.expires,
        "renews": login.refresh is not None,
        "ending": login.ending or None,
        "lost": login.lost or None,
    }


def _until(login: "Login") -> str:
    if login.lost:
        return f"lost: {harmless(login.lost)}"
    if login.refresh is not None:
        return "logout (renews itself)"
    if login.expires is None:
        return "it is refused"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(login.expires))
    if login.ending and login.expires > time.time():
        return f"{when} ({harmless(login.ending)})"
    return when if login.expires > time.time() else f"ended {when}"
