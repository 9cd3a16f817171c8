"""`mcp-gateway client-config`: what to put into a client's configuration to have it start, or reach, this gateway."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from gateway.cli.common import Exit, check_profile, config_option, fail
from gateway.cli.importer.client_forms import command_of
from gateway.cli.importer.clients import CLIENTS, McpClient
from gateway.cli.ui.terminal import bold, dim
from gateway.errors import ConfigError

UNESCAPED = "/:@!$&'()*+,;="
"""What the gateway wants unescaped in a path."""

if TYPE_CHECKING:
    from gateway.config.reading.locate import Found

NAME = "gateway"
"""Short: clients put it before every tool's name, and some allow 64 characters in all."""


@click.command("client-config")
@click.argument("client", metavar="CLIENT", type=click.Choice(list(CLIENTS)))
@click.option("--http", is_flag=True, help="An entry that reaches a running gateway instead of starting one.")
@click.option("--url", metavar="URL", help="Where that gateway is; by default where `serve` listens. Implies --http.")
@click.option("--profile", metavar="NAME", help="For a client that is to see this profile of the configuration only.")
@click.option("--name", default=NAME, show_default=True, help="What the client is to call it.")
@config_option
def command(client: str, http: bool, url: str | None, profile: str | None, name: str, path: Path | None) -> None:
    """Print what to put into a client's configuration.

    CLIENT is one of claude-desktop, claude-code, cursor, vscode, gemini, codex, opencode, copilot, windsurf, zed,
    cline, lm-studio, continue.

    The snippet goes to stdout; where it belongs, and the command that puts it there, to stderr.
    """
    from gateway.config.reading.locate import find_config

    chosen = CLIENTS[client]
    if (http or url) and not chosen.http:
        fail(
            f"{chosen.title} starts stdio servers only, and skips any other in its file; leave --http away", Exit.USAGE
        )
    try:
        found = find_config(path)
        if profile is not None:
            _check(profile, found)
        entry = _remote(chosen, url, profile, found) if http or url else _stdio(chosen, profile, found)
    except ConfigError as error:
        fail(error.message, Exit.USAGE)
    click.echo(chosen.text(chosen.snippet(name, entry)))
    _explain(chosen, name, entry)
    if "command" in entry:
        _warn(command_of(entry), found)


def _check(profile: str, found: "Found") -> None:
    from gateway.config.reading.loader import load

    check_profile(load(found.path, strict=False, ask="none"), profile)


def _stdio(client: McpClient, profile: str | None, found: "Found") -> dict[str, Any]:
    from gateway.cli.command_line import own_command

    only = ("--profile", profile) if profile is not None else ()
    return client.stdio([*own_command(sys.argv[0]), "stdio", "-c", os.path.abspath(found.path), *only])


def _remote(client: McpClient, url: str | None, profile: str | None, found: "Found") -> dict[str, Any]:
    from gateway.config.reading.loader import load

    settings = load(found.path, strict=False, ask="settings").gateway  # what the servers lack is not our concern here
    if url is None:
        if settings.port == 0:
            raise ConfigError("port 0 is another one at every start; set gateway.port, or say --url")
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not bound
        scheme = "https" if settings.tls is not None else "http"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}/mcp"
    if profile is not None:
        url = f"{url.rstrip('/')}/{quote(profile, safe=UNESCAPED)}"
    auth = settings.auth
    has_keys = auth.enabled and (auth.api_keys_file is not None or auth.oauth is None)
    return client.remote(url, {"Authorization": "Bearer YOUR_KEY"} if has_keys else {})


def _explain(client: McpClient, name: str, entry: dict[str, Any]) -> None:
    click.echo(err=True)
    click.echo(f"For {client.title} this belongs into", err=True)
    click.echo(f"  {bold(client.file(sys.platform, os.environ))}", err=True)
    if client.project_file:
        click.echo(f"  {bold(client.project_file)} in a project's folder, for that project alone", err=True)
    click.echo(dim(f"If the file has {client.root!r} already, add the entry to it."), err=True)
    if adding := client.adding(name, entry, sys.platform):
        click.echo("\nOr let the client do it:", err=True)
        click.echo(f"  {bold(adding)}", err=True)
    if "command" not in entry:
        click.echo("\nThe gateway has to run there: `mcp-gateway serve`.", err=True)
        if "headers" in entry:
            click.echo("YOUR_KEY is an API key; `mcp-gateway keys create` makes one.", err=True)
    elif client.afterwards:
        click.echo(f"\nThen {client.afterwards}.", err=True)


def _warn(command: str, found: "Found") -> None:
    from gateway.cli.command_line import is_ephemeral
    from gateway.config.reading.locate import FILE_NAME, config_home

    def note(text: str) -> None:
        click.echo(f"\n{click.style('Note:', fg='yellow')} {text}", err=True)

    if is_ephemeral(command):
        note(f"{command} is in a cache and may vanish; `uv tool install` the gateway and ask again.")
    if found.is_demo:
        note(
            f"{found.path} is the one that comes with mcp-gateway; "
            f"write your own, {config_home(os.environ) / FILE_NAME}, and ask again."
        )
    if needed := _variables(found.path):
        note(
            f"{found.path.name} needs {', '.join(needed)}, and programs started from a desktop do not have what your "
            'shell sets. Give them in the entry, as "env": {…}.'
        )


def _variables(path: Path) -> list[str]:
    """The variables that the file refers to without a default."""
    from gateway.cli.doctor.lenient import references
    from gateway.config.reading.source import read

    return references(read(path))
