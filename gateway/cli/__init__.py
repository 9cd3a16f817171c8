"""The command line. Each verb is a module of its own, imported when it is called: `--help` is instant."""

import os
import sys
from importlib import import_module
from typing import Any, Final

import click

from gateway import __version__

VERBS: Final = {
    "serve": "Serve agents over HTTP.",
    "stdio": "Serve one agent on stdin and stdout.",
    "check": "Validate the configuration, offline.",
    "doctor": "Find out what does not work, and what to do about it.",
    "tools": "List what agents see.",
    "call": "Call one tool.",
    "import": "Take over servers from another client's configuration.",
    "client-config": "Print what to put into a client's configuration.",
    "keys": "Manage API keys, and the key that signs agent tokens.",
    "pins": "See and approve what servers changed in their definitions.",
    "can": "Explain whether somebody may use something.",
    "schema": "Print the JSON Schema of servers.yaml.",
}
"""Verb → its one line in `--help`. The verb's module has the rest."""


class Verbs(click.Group):
    """Finds a verb's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"gateway.cli.{cmd_name.replace('-', '_').replace('import', 'import_')}")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mcp-gateway")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """One door in front of all your MCP servers.

    Without a command it serves one agent on stdin and stdout, which is how desktop clients start it.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False  # click does not know of it; subcommands inherit this
    if ctx.invoked_subcommand is None:
        if sys.stdin.isatty():
            click.echo(_WELCOME)
        else:
            ctx.invoke(import_module("gateway.cli.stdio").command)


_WELCOME: Final = """\
mcp-gateway puts all your MCP servers behind one door.

  mcp-gateway check                       is the configuration valid?
  mcp-gateway tools                       what do agents see?
  mcp-gateway serve                       serve agents over HTTP
  mcp-gateway client-config claude-code   what to put into a client's configuration
  mcp-gateway import FILE                 take over the servers a client already has

Started by a client (stdin is not a terminal), it serves that client over stdio. More: mcp-gateway --help"""


def main(args: list[str] | None = None) -> Any:
    """The console script."""
    return cli.main(args, prog_name="mcp-gateway")
