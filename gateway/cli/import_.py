"""`mcp-gateway import`: takes over the servers that another client has, into servers.yaml."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Exit, fail
from gateway.cli.importer import own_file
from gateway.cli.importer.clients import CLIENTS, IMPORT_ONLY, installed_file
from gateway.cli.ui.terminal import bold, columns, dim, harmless, mark, plural, table, width, wrapped
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.importer.takeover import Takeover


@click.command("import")
@click.argument("source", metavar="FILE")
@click.option("--into", type=click.Path(path_type=Path), help="The file to add them to; by default the one in use.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--rename", is_flag=True, help="Add servers whose name is taken under a new name.")
@click.option("--keep-secrets", is_flag=True, help="Copy secrets instead of putting ${VARIABLES} in their place.")
def command(source: str, into: Path | None, dry_run: bool, rename: bool, keep_secrets: bool) -> None:
    """Take over the servers from another client's configuration.

    FILE is the configuration of Claude Desktop, Claude Code, Cursor, VS Code, Gemini CLI, Codex, opencode, Copilot CLI,
    Windsurf, Zed, Cline, LM Studio, Continue, Goose or any client that writes `mcpServers` or `servers`; or one of
    claude-desktop, claude-code, cursor, vscode, gemini, codex, opencode, copilot, windsurf, zed, cline, lm-studio,
    continue, goose for the file where that client keeps its servers.

    Only adds: comments, order and entries of servers.yaml stay as they are. Secrets in `env` and `headers` are replaced
    by ${VARIABLES}, whose values go into the .env beside it. Exits with 1 when a server had to be left out because it
    is not valid.
    """
    from gateway.cli.importer.foreign import read_servers
    from gateway.cli.importer.takeover import decide
    from gateway.config.reading.source import ConfigDocument, parse, read_text

    path = _source(source)
    target = Path(os.path.realpath(into or own_file.in_use()))
    try:
        servers = read_servers(path)
        exists = target.exists()
        text = read_text(target, str(target)) if exists else own_file.HEADER
        document: ConfigDocument = parse(text, str(target))
    except ConfigError as error:
        fail(harmless(error.message), Exit.USAGE)
    data, known = document.data, own_file.known_variables(target)
    existing, port = own_file.servers_in(data), own_file.port_in(data)
    takeover = decide(servers, existing, port, known, rename=rename, keep_secrets=keep_secrets)
    if takeover.added:
        _add(takeover, target, text, path, exists=exists, dry_run=dry_run, private=keep_secrets)
    else:
        click.echo(f"Nothing to add to {bold(str(target))}.")
    _report(takeover, path, known, dry_run)
    sys.exit(Exit.FOUND if takeover.faulty else Exit.FINE)


def _source(given: str) -> Path:
    if (given in CLIENTS or given in IMPORT_ONLY) and not os.path.exists(given):
        return installed_file(given)
    return Path(os.path.expanduser(given))


# --- Writing ------------------------------------------------------------------------------------------------------


def _add(
    takeover: "Takeover", target: Path, text: str, path: Path, *, exists: bool, dry_run: bool, private: bool
) -> None:
    from gateway.cli.importer import replace, yaml_text
    from gateway.cli.importer.insertion import CannotInsert, insert

    comment = f"From {path.name}, by `mcp-gateway import`"
    try:
        result = insert(text, str(target), takeover.added, harmless(comment).replace("\n", " "))
        if dry_run:
            own_file.show_difference(text if exists else "", result, str(target))
            return
        secrets = {variable.name: variable.value for variable in takeover.withheld}
        kept = own_file.keep_secrets(target, secrets) if secrets else None
        replace.replace(target, result, private=private)
    except (CannotInsert, ConfigError, OSError) as error:
        click.echo("# to be added by hand")
        click.echo(
            "\n".join(line for name in takeover.added for line in yaml_text.entry(name, takeover.added[name], 2, 2))
        )
        own_file.left_as_it_was(target, error, ". What would have been added stands above.")
    names = ", ".join(bold(name) for name in takeover.added)
    where = bold(str(target)) + ("" if exists else dim(" (new)"))
    click.echo(f"{mark('ok')} {plural(len(takeover.added), 'server')} added to {where}: {names}")
    if kept is not None:
        own_file.tell_of_secrets(kept, secrets)


# --- Telling ------------------------------------------------------------------------------------------------------


def _report(takeover: "Takeover", path: Path, known: Mapping[str, str], dry_run: bool) -> None:
    for kind, pairs in (("note", takeover.skipped), ("problem", takeover.faulty)):
        for name, why in pairs:
            head = "not added: " if kind == "problem" else "skipped: "
            _print_item(mark(kind), name, head + why)
    for name, note in takeover.notes:
        _print_item(mark("note"), name, note)
    if takeover.withheld:
        click.echo(dim(f"The secrets that were written out still stand in {path}, too."))
    if variables := _to_set(takeover, known):
        click.echo(
            "\nUntil these variables are set, in the environment or in the .env beside the file, who needs them waits:"
        )
        click.echo("\n".join(table(variables, styles=(bold, dim), limit=width(sys.stdout), indent=2)))
    if dry_run:
        click.echo("\nNothing was changed.")
    elif takeover.added:
        click.echo(
            "\nNow try `mcp-gateway tools`, and put the gateway in the client's place: `mcp-gateway client-config`."
        )


def _print_item(sign: str, name: str, text: str) -> None:
    indent = columns(name) + 4
    click.echo(f"{sign} {bold(harmless(name))}: {wrapped(harmless(text), indent, width(sys.stdout))}")


def _to_set(takeover: "Takeover", known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variable → what it is for; one that several servers need stands there once."""
    from gateway.cli.importer.foreign import references

    uses: dict[str, list[str]] = {}
    kept = {variable.name for variable in takeover.withheld}
    for name, description in takeover.prompts.items():
        uses.setdefault(name, []).append(description or "the client used to ask for it")
    for server, values in takeover.added.items():
        for name, needed in references(values).items():
            if needed and name not in known and name not in kept and not values.get("disabled"):
                uses.setdefault(name, [f"{server}: as before"])
    return [(name, "; ".join(dict.fromkeys(what))) for name, what in uses.items()]
