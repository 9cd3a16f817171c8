"""`mcp-gateway remove`: one server less in servers.yaml."""

import os
from pathlib import Path

import click

from gateway.cli.common import Exit, fail
from gateway.cli.importer import own_file
from gateway.cli.ui.terminal import bold, harmless, mark
from gateway.errors import ConfigError


@click.command("remove")
@click.argument("name")
@click.option("-c", "--config", "path", type=click.Path(path_type=Path), help="The file to remove it from.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def command(name: str, path: Path | None, dry_run: bool) -> None:
    """Remove a server from the configuration. All else in the file stays as it is."""
    from gateway.cli.importer import replace
    from gateway.cli.importer.insertion import CannotInsert
    from gateway.cli.importer.removal import remove
    from gateway.config.reading.problems import closest
    from gateway.config.reading.source import parse, read_text

    file = Path(os.path.realpath(path or own_file.in_use()))
    try:
        text = read_text(file, str(file))
        servers = own_file.servers_in(parse(text, str(file)).data)
    except ConfigError as error:
        fail(harmless(error.message), Exit.USAGE)
    if name not in servers:
        meant = closest(name, servers)
        hint = f"did you mean {meant!r}?" if meant else f"there are {', '.join(servers) or 'none'}"
        fail(f"no server {name!r} in {file}; {harmless(hint)}", Exit.USAGE)
    try:
        result = remove(text, str(file), name)
        if dry_run:
            own_file.show_difference(text, result, str(file))
            return
        replace.replace(file, result, private=False)
    except (CannotInsert, ConfigError, OSError) as error:
        own_file.left_as_it_was(file, error)
    click.echo(f"{mark('ok')} {bold(harmless(name))} removed from {bold(str(file))}")
