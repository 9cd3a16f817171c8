"""What `mcp-gateway tools --explain` shows: what of tools' input schemas is said otherwise for the API of a model."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.ui.terminal import bold, dim, harmless, plural, print_json, table, width

if TYPE_CHECKING:
    from gateway.catalogue.catalogue import Catalogue


def show(profiles: Mapping[str, "Catalogue"], *, as_json: bool) -> None:
    """Print what is changed, by profile and tool."""
    rows = [row for name, catalogue in profiles.items() for row in _rows(name, catalogue)]
    if as_json:
        print_json(rows)
        return
    for name, catalogue in profiles.items():
        _print(name, catalogue, [row for row in rows if row["profile"] == name])


def _rows(profile: str, catalogue: "Catalogue") -> Iterable[dict[str, Any]]:
    from gateway.catalogue import adapted

    assert catalogue.dialect is not None
    for tool in catalogue.searched or catalogue.tools:
        found = adapted.adaptation(catalogue, tool["name"])
        if found is None or (found.schema is not None and not found.changes):
            continue
        yield {
            "profile": profile,
            "schema": catalogue.dialect.name,
            "tool": tool["name"],
            "changes": [{"what": change.what, "where": list(change.where)} for change in found.changes],
            "arguments": "made into the server's own" if found.restore is not None else "as they are",
            **({"leftOut": found.reason} if found.schema is None else {}),
        }


def _print(profile: str, catalogue: "Catalogue", rows: list[dict[str, Any]]) -> None:
    assert catalogue.dialect is not None
    whole = len(catalogue.searched or catalogue.tools)
    click.echo(f"{bold(profile)} ({catalogue.dialect.name}): {len(rows)} of {plural(whole, 'tool')} said otherwise")
    for row in rows:
        click.echo()
        back = dim("  arguments are made into the server's own") if row["arguments"] != "as they are" else ""
        click.echo(f"  {bold(row['tool'])}{back}")
        if "leftOut" in row:
            click.echo(f"    left out: {_on_one_line(row['leftOut'])}")
        changes = [
            (_on_one_line(", ".join(change["where"])), _on_one_line(change["what"])) for change in row["changes"]
        ]
        if changes:
            click.echo("\n".join(table(changes, indent=4, limit=width(sys.stdout))))
    click.echo()


def _on_one_line(text: str) -> str:
    """Names of arguments are a server's, and may be anything."""
    return harmless(text).replace("\n", " ").replace("\t", " ")
