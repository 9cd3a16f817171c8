"""The command line. Each verb is a module of its own, imported when it is called: `--help` is instant."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from gateway import __version__
from gateway.cli.common import reading_options
from gateway.cli.ui.descriptors import complete

VERBS: Final = {
    "serve": "Serve agents over HTTP.",
    "stdio": "Serve one agent on stdin and stdout.",
    "init": "Write a servers.yaml to begin with.",
    "add": "Add a server to the configuration.",
    "remove": "Remove a server from the configuration.",
    "import": "Take over servers from another client's configuration.",
    "check": "Validate the configuration, offline.",
    "login": "Log in at a server that wants it.",
    "logout": "End a login at a server.",
    "logins": "List who is logged in where.",
    "doctor": "Find out what does not work, and what to do about it.",
    "status": "Show what goes on in a gateway that runs.",
    "top": "Watch what goes on in a gateway that runs.",
    "tools": "List what agents see.",
    "call": "Call one tool.",
    "client-config": "Print what to put into a client's configuration.",
    "keys": "Manage API keys, and the key that signs agent tokens.",
    "pins": "See and approve what servers changed in their definitions.",
    "audit": "Check that the audit log is whole.",
    "can": "Explain whether somebody may use something.",
    "schema": "Print the JSON Schema of servers.yaml.",
    "help": "Show this, or what a command does.",
    "version": "Print the version.",
}
"""Verb → its one line in `--help`. The verb's module has the rest."""


class Verbs(click.Group):
    """Finds a verb's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _OWN:
            return _OWN[cmd_name]
        if cmd_name not in VERBS:
            return None
        module = import_module(f"gateway.cli.{cmd_name.replace('-', '_').replace('import', 'import_')}")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@reading_options
@click.version_option(__version__, "-V", "--version", prog_name="mcp-gateway")
@click.pass_context
def cli(ctx: click.Context, path: Path | None, log_level: str | None, log_format: str | None, strict: bool) -> None:
    """One door in front of all your MCP servers.

    Without a command it serves one agent on stdin and stdout, which is how desktop clients start it.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False  # click does not know of it; subcommands inherit this
    options = {"path": path, "log_level": log_level, "log_format": log_format, "strict": strict or None}
    given = {name: value for name, value in options.items() if value is not None}
    if ctx.invoked_subcommand is not None:
        ctx.default_map = {ctx.invoked_subcommand: _for_all_of(ctx, given)}
    elif not given and sys.stdin.isatty():
        click.echo(_WELCOME)
    else:
        overrides = {"log_level": log_level, "log_format": log_format}
        import_module("gateway.cli.stdio").serve(path, overrides, strict)


def _for_all_of(ctx: click.Context, given: dict[str, Any]) -> dict[str, Any]:
    """What was said before a verb, as defaults for it and, if it has them, for its own verbs."""
    verb = cli.get_command(ctx, ctx.invoked_subcommand or "")
    inner = list(verb.commands) if isinstance(verb, click.Group) else []
    return {**given, **dict.fromkeys(inner, given)}


@click.command("help")
@click.argument("verbs", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def _help(ctx: click.Context, verbs: tuple[str, ...]) -> None:
    """Show what there is, or what a command does."""
    ctx = ctx.find_root()
    command: click.Command = cli
    for name in verbs:
        inner = command.get_command(ctx, name) if isinstance(command, click.Group) else None
        if inner is None:
            raise click.UsageError(f"No such command {' '.join(verbs)!r}.")
        command, ctx = inner, click.Context(inner, ctx, name)
    click.echo(command.get_help(ctx))


@click.command("version")
def _version() -> None:
    """Print the version."""
    click.echo(f"mcp-gateway, version {__version__}")


_OWN: Final = {"help": _help, "version": _version}
"""Verbs too small for a module."""

_WELCOME: Final = """\
mcp-gateway puts all your MCP servers behind one door.

  mcp-gateway init                        write a servers.yaml to begin with
  mcp-gateway import FILE                 take over the servers a client already has
  mcp-gateway add NAME -- COMMAND         add a server; or `add NAME URL`
  mcp-gateway check                       is the configuration valid?
  mcp-gateway tools                       what do agents see?
  mcp-gateway serve                       serve agents over HTTP
  mcp-gateway client-config claude-code   what to put into a client's configuration

Started by a client (stdin is not a terminal), it serves that client over stdio. More: mcp-gateway help"""


def main(args: list[str] | None = None) -> Any:
    """The console script."""
    complete()
    return cli.main(args, prog_name="mcp-gateway")
