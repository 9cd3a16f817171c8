"""`mcp-gateway keys init`: what a deployment has to have before its first start, made where it is missing."""

import secrets
from pathlib import Path
from typing import Final

import click

from gateway.cli.common import Exit, fail
from gateway.cli.ui.terminal import bold, dim
from gateway.errors import ConfigError

KEYS_FILE: Final = "api_keys.json"
SECRETS: Final = ("GATEWAY_STATE_KEYS", "GATEWAY_AUTH__AGENT_TOKENS__SIGNING_KEY")
"""The settings that all nodes behind one address must have alike, by their variables."""
_HEAD: Final = "# Secrets that all gateways behind one address share. Keep them; nobody else may read them.\n"
_BYTES: Final = 32


@click.command("init")
@click.argument("folder", required=False, default=".", type=click.Path(path_type=Path, file_okay=False))
@click.option("--owner", default="admin", show_default=True, help="Whose the first API key is.")
def command(folder: Path, owner: str) -> None:
    """Make the secrets and the first API key of a deployment, in FOLDER.

    .env gets the secrets that all gateways behind one address share; the gateway reads it where it is started from.
    api_keys.json gets a key that may do everything, which is printed, this once. What is there already stays as it is,
    so this can be run before every start.
    """
    from gateway.access import key_edit
    from gateway.store import files

    try:
        with files.locked(folder / KEYS_FILE):  # several nodes may start at once
            made = _add_secrets(folder / ".env")
            file = folder / KEYS_FILE
            key = None if file.exists() else key_edit.create(file, owner, scopes=("read", "write", "admin"))
    except OSError as error:
        fail(f"{folder} cannot be written: {error.strerror}", Exit.USAGE)
    except ConfigError as error:
        fail(error.message, Exit.USAGE)
    for name in made:
        click.echo(f"{bold(name)} is in {folder / '.env'}.", err=True)
    if key is not None:
        click.echo(f"The first API key, {bold(key[1].id)} of {owner}, which may do everything:", err=True)
        click.echo(key[0])
        click.echo(dim(f"It is not shown again; {file} has a hash of it. Send it as the header X-Api-Key."), err=True)
    if not made and key is None:
        click.echo(f"Nothing to do: the secrets and API keys in {folder} stay as they are.", err=True)


def _add_secrets(path: Path) -> list[str]:
    """Add what the file lacks; returns the names."""
    from gateway.config.reading import envfile
    from gateway.store import files

    text = path.read_text("utf-8") if path.exists() else _HEAD
    there, _ = envfile.parse(text, str(path))
    missing = [name for name in SECRETS if not there.get(name)]
    if missing:
        text += "" if text.endswith("\n") else "\n"
        text += "".join(f"{name}={secrets.token_urlsafe(_BYTES)}\n" for name in missing)
        files.replace(path, text.encode())
    return missing
