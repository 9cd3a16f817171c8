"""`mcp-gateway init`: a commented servers.yaml to begin with."""

import os
from pathlib import Path

import click

from gateway.cli.common import Exit, fail
from gateway.cli.ui.terminal import bold, mark


@click.command("init")
@click.argument("file", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
@click.option("--user", is_flag=True, help="Write it where clients that start the gateway look for it.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def command(file: Path | None, user: bool, force: bool) -> None:
    """Write a servers.yaml to begin with: two small servers that need nothing, and examples in comments.

    FILE is servers.yaml in this folder unless given; with --user, $XDG_CONFIG_HOME/mcp-gateway/servers.yaml.
    """
    from gateway.cli.importer.replace import write
    from gateway.config.reading.locate import FILE_NAME, config_home

    target = file or (config_home(os.environ) / FILE_NAME if user else Path(FILE_NAME))
    if os.path.lexists(target) and not force:
        fail(f"{target} is there already; --force replaces it, `mcp-gateway add` adds to it", Exit.USAGE)
    try:
        write(target, template(), private=False)
    except OSError as error:
        fail(f"{target} cannot be written: {error.strerror}", Exit.USAGE)
    click.echo(f"{mark('ok')} {bold(str(target))} is written. Now:")
    click.echo("""
  mcp-gateway add NAME -- COMMAND…        add a server; or `add NAME URL`
  mcp-gateway import claude-desktop       take over the servers a client has
  mcp-gateway tools                       see what agents will see
  mcp-gateway client-config claude-code   put the gateway into a client""")


def template() -> str:
    """The shipped configuration, whose comments explain it, without what holds for the shipped one alone."""
    from gateway.config.reading.locate import demo_file
    from gateway.config.reading.source import read_text

    demo = demo_file()
    if demo is None:
        return "# Every MCP server behind one door.\n\nservers: {}\n"
    lines = read_text(demo, str(demo)).splitlines(keepends=True)
    return "".join(line for line in lines if "$schema=" not in line)
