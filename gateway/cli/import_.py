"""`mcp-gateway import`: takes over the servers that another client has, into servers.yaml."""

import difflib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.clients import CLIENTS, installed_file
from gateway.cli.common import Exit, fail
from gateway.cli.terminal import bold, columns, dim, harmless, mark, plural, table, width, wrapped
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.takeover import Takeover

_HEADER = "# The MCP servers behind the gateway. `mcp-gateway check` tells what is wrong with this file, and where.\n\n"


@click.command("import")
@click.argument("source", metavar="FILE")
@click.option("--into", type=click.Path(path_type=Path), help="The file to add them to; by default the one in use.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--rename", is_flag=True, help="Add servers whose name is taken under a new name.")
@click.option("--keep-secrets", is_flag=True, help="Copy secrets instead of putting ${VARIABLES} in their place.")
def command(source: str, into: Path | None, dry_run: bool, rename: bool, keep_secrets: bool) -> None:
    """Take over the servers from another client's configuration.

    FILE is the configuration of Claude Desktop, Claude Code, Cursor, VS Code, Gemini CLI or any client that writes
    `mcpServers` or `servers`, in JSON with or without comments; or one of claude-desktop, claude-code, cursor, vscode,
    gemini for the file where that client keeps its servers.

    Only adds: comments, order and entries of servers.yaml stay as they are. Secrets in `env` and `headers` are replaced
    by ${VARIABLES}, which are listed. Exits with 1 when a server had to be left out because it is not valid.
    """
    from gateway.cli.foreign import read_servers
    from gateway.cli.takeover import decide
    from gateway.config.source import Document, parse, read_text

    path = _source(source)
    target = Path(os.path.realpath(into or _in_use()))
    try:
        servers = read_servers(path)
        exists = target.exists()
        text = read_text(target, str(target)) if exists else _HEADER
        document: Document = parse(text, str(target))
    except ConfigError as error:
        fail(harmless(error.message), Exit.USAGE)
    takeover = decide(servers, _existing(document.data), _port(document.data), rename=rename, keep_secrets=keep_secrets)
    if takeover.added:
        _add(takeover, target, text, path, exists=exists, dry_run=dry_run, private=keep_secrets)
    else:
        click.echo(f"Nothing to add to {bold(str(target))}.")
    _report(takeover, path, dry_run)
    sys.exit(Exit.FOUND if takeover.faulty else Exit.FINE)


def _source(given: str) -> Path:
    if given in CLIENTS and not os.path.exists(given):
        return installed_file(CLIENTS[given])
    return Path(os.path.expanduser(given))


def _in_use() -> Path:
    """The configuration that `serve` would use; if that is only the packaged one, where to put one's own."""
    from gateway.config.locate import FILE_NAME, config_home, find_config

    try:
        found = find_config(None)
    except ConfigError:
        found = None
    if found is not None and (not found.is_demo or found.path == Path(FILE_NAME)):
        return found.path
    return config_home(os.environ) / FILE_NAME


def _existing(data: Any) -> dict[str, Any]:
    from gateway.config.entries import ROOTS
    from gateway.config.source import mapping

    roots = mapping(data) or {}
    return {name: values for root in ROOTS for name, values in (mapping(roots.get(root)) or {}).items()}


def _port(data: Any) -> int:
    from gateway.config.settings import GatewaySettings
    from gateway.config.source import mapping

    settings = mapping((mapping(data) or {}).get("gateway")) or {}
    written = str(settings.get("port"))
    return int(written) if written.isdecimal() else GatewaySettings().port


# --- Writing ------------------------------------------------------------------------------------------------------


def _add(
    takeover: "Takeover", target: Path, text: str, path: Path, *, exists: bool, dry_run: bool, private: bool
) -> None:
    from gateway.cli import replace, yaml_text
    from gateway.cli.insertion import CannotInsert, insert

    comment = f"From {path.name}, by `mcp-gateway import`"
    try:
        result = insert(text, str(target), takeover.added, harmless(comment).replace("\n", " "))
        if dry_run:
            _show_difference(text if exists else "", result, str(target))
            return
        replace.replace(target, result, private=private)
    except (CannotInsert, ConfigError, OSError) as error:
        click.echo("# to be added by hand")
        click.echo(
            "\n".join(line for name in takeover.added for line in yaml_text.entry(name, takeover.added[name], 2, 2))
        )
        reason = error.strerror if isinstance(error, OSError) else str(error)
        fail(f"{target} was left as it is: {reason}. What would have been added stands above.", Exit.USAGE)
    names = ", ".join(bold(name) for name in takeover.added)
    where = bold(str(target)) + ("" if exists else dim(" (new)"))
    click.echo(f"{mark('ok')} {plural(len(takeover.added), 'server')} added to {where}: {names}")


def _show_difference(before: str, after: str, name: str) -> None:
    colours = {"+": "green", "-": "red", "@": "cyan"}
    click.echo(dim(f"What would change in {name}:"))
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm=""))
    for line in lines[2:]:
        click.echo(click.style(harmless(line), fg=colours.get(line[:1])))


# --- Telling ------------------------------------------------------------------------------------------------------


def _report(takeover: "Takeover", path: Path, dry_run: bool) -> None:
    for kind, pairs in (("note", takeover.skipped), ("problem", takeover.faulty)):
        for name, why in pairs:
            head = "not added: " if kind == "problem" else "skipped: "
            _print_item(mark(kind), name, head + why)
    for name, note in takeover.notes:
        _print_item(mark("note"), name, note)
    variables = _to_set(takeover)
    if variables:
        click.echo(
            "\nSet these variables before you start the gateway, or put them into a .env in the folder it starts in:"
        )
        click.echo("\n".join(table(variables, styles=(bold, dim), limit=width(sys.stdout), indent=2)))
        if takeover.withheld:
            click.echo(dim(f"Those that were written out still stand in {path}."))
    if dry_run:
        click.echo("\nNothing was changed.")
    elif takeover.added:
        click.echo(
            "\nNow try `mcp-gateway tools`, and put the gateway in the client's place: `mcp-gateway client-config`."
        )


def _print_item(sign: str, name: str, text: str) -> None:
    indent = columns(name) + 4
    click.echo(f"{sign} {bold(harmless(name))}: {wrapped(harmless(text), indent, width(sys.stdout))}")


def _to_set(takeover: "Takeover") -> list[tuple[str, str]]:
    """Variable → what it is for; one that several servers need stands there once."""
    from gateway.cli.foreign import references

    uses: dict[str, list[str]] = {}
    for variable in takeover.withheld:
        uses.setdefault(variable.name, []).append(f"{variable.server}: {variable.place}")
    for name, description in takeover.prompts.items():
        uses.setdefault(name, []).append(description or "the client used to ask for it")
    for server, values in takeover.added.items():
        for name, needed in references(values).items():
            if needed and name not in os.environ and not values.get("disabled"):
                uses.setdefault(name, [f"{server}: as before"])
    return [(name, "; ".join(dict.fromkeys(what))) for name, what in uses.items()]
