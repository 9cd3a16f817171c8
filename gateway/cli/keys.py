"""`mcp-gateway keys`: what can be done to a file of API keys, and to the key that signs agent tokens.

A gateway that uses them sees the change by itself.
"""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from gateway.cli import keys_init
from gateway.cli.common import Exit, config_option, configure_logs, fail, json_option, read_config
from gateway.cli.ui.terminal import bold, dim, plural, print_json, table, width
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.access.key_file import KeyEntry

STATE_KEY_BYTES: Final = 32

F = TypeVar("F", bound=Callable[..., Any])


@click.group("keys")
def command() -> None:
    """Create, list, revoke and hash API keys; rotate the key that signs agent tokens; make a key for nodes to share.

    API keys are kept in the file that gateway.auth.api_keys_file names, or --file. Changes take effect at once.
    """


command.add_command(keys_init.command)


def _with_file(verb: F) -> F:
    """Give a verb `--file` and `-c/--config`, and the file that these lead to as its first argument."""

    @click.option("--file", "file", metavar="FILE", type=click.Path(path_type=Path), help="The file of API keys.")
    @config_option
    @wraps(verb)
    def wrapper(path: Path | None, file: Path | None, **options: Any) -> Any:
        given = options.pop("argument", None)
        try:
            return verb(file or given or _configured(path), **options)
        except ConfigError as error:
            fail(error.message, Exit.USAGE)

    return wrapper  # pyright: ignore[reportReturnType]


def _configured(path: Path | None) -> Path:
    config = read_config(path, {})
    file = config.gateway.auth.api_keys_file
    if file is None:
        fail(f"{config.path} names no file of API keys; use --file, or set gateway.auth.api_keys_file", Exit.USAGE)
    return file


@command.command("create")
@_with_file
@click.option("--owner", required=True, help="The person or team that gets the key.")
@click.option(
    "--upstream", "upstreams", metavar="NAME", multiple=True, help="May use this one; repeatable. Default: all."
)
@click.option("--rpm", type=int, metavar="N", help="Requests a minute, -1 for no limit. Default: the gateway's.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["read", "write", "admin"]),
    multiple=True,
    help="May do this; repeatable. Default: read and write.",
)
@click.option(
    "--profile", "profiles", metavar="NAME", multiple=True, help="Sees this profile and nothing besides; repeatable."
)
def create(
    file: Path,
    owner: str,
    upstreams: tuple[str, ...],
    rpm: int | None,
    scopes: tuple[str, ...],
    profiles: tuple[str, ...],
) -> None:
    """Make a key and print it, this once: the file gets a hash of it."""
    from gateway.access import key_edit

    key, entry = key_edit.create(file, owner, upstreams, rpm, scopes, profiles)
    click.echo(key)
    click.echo(f"Key {bold(entry.id)} of {entry.owner} is in {file}: {_may(entry)}.", err=True)
    click.echo(dim("It is not shown again. Clients send it as the header X-Api-Key."), err=True)


@command.command("list")
@_with_file
@json_option
def list_(file: Path, as_json: bool) -> None:
    """List the keys: whose they are and what they may, never the keys themselves."""
    from gateway.access import key_file

    found = key_file.load(file)
    if as_json:
        print_json([_as_json(entry) for entry in found.entries])
        return
    if not found.entries:
        click.echo(f"No keys in {file}.", err=True)
        return
    rows = [
        (entry.id, entry.owner, _limit(entry), _scopes(entry), _upstreams(entry), _kept(entry))
        for entry in found.entries
    ]
    header = ("ID", "OWNER", "RPM", "SCOPES", "UPSTREAMS", "KEPT AS")
    click.echo("\n".join(table(rows, header=header, styles=(bold,), right=(2,), limit=width(sys.stdout))))
    if found.exposed:
        hint = f"{plural(found.exposed, 'key')} in plain text; {key_file.hash_command(file)}"
        click.echo(dim(hint), err=True)


@command.command("revoke")
@_with_file
@click.argument("id")
def revoke(file: Path, id: str) -> None:
    """Remove the key with that ID, as `mcp-gateway keys list` shows it."""
    from gateway.access import key_edit

    entry = key_edit.revoke(file, id)
    click.echo(f"Key {bold(entry.id)} of {entry.owner} is revoked.", err=True)


@command.command("hash")
@_with_file
@click.argument("argument", metavar="[FILE]", required=False, type=click.Path(path_type=Path))
def hash_(file: Path) -> None:
    """Replace the keys that stand in the file by hashes. They go on working."""
    from gateway.access import key_edit

    done = key_edit.hash_in_place(file)
    click.echo(f"{plural(len(done.hashed), 'key')} hashed in {file}.", err=True)
    for entry in done.left:
        click.echo(
            f"Left as it is: {entry.id} of {entry.owner}, a key that everybody knows, good for development only.",
            err=True,
        )


@command.command("rotate")
@config_option
@click.option("--at-once", is_flag=True, help="Accept the old keys no longer: every agent has to register again.")
def rotate(path: Path | None, at_once: bool) -> None:
    """Sign agent tokens with a new key from now on.

    Tokens that the old key signed are good until they expire. If somebody else may have the old key, use --at-once.
    """
    from gateway.access import signing_key

    config = read_config(path, {})
    configure_logs(config, at_least="error")
    settings = config.gateway
    try:
        keys = signing_key.configured(settings)
        keys.rotate(0 if at_once else settings.auth.agent_tokens.lifetime)
    except ConfigError as error:
        fail(error.message, Exit.USAGE)
    click.echo(f"Key {bold(keys.signing.kid)} in {settings.state_dir} signs agent tokens from now on.", err=True)
    old = "Agents have to register again." if at_once else "Tokens signed before are good until they expire."
    click.echo(dim(old), err=True)


@command.command("state")
def state() -> None:
    """Make a key for gateway.state_keys and print it.

    Nodes with the same key open what each other has sealed. It is kept nowhere: put it where your other secrets are.
    """
    import secrets

    click.echo(secrets.token_urlsafe(STATE_KEY_BYTES))
    hint = 'For every node: GATEWAY_STATE_KEYS=…, or gateway.state_keys: ["${A_VARIABLE}"]. The first seals, all open.'
    click.echo(dim(hint), err=True)


# --- How an entry is shown ----------------------------------------------------------------------------------------


def _may(entry: "KeyEntry") -> str:
    limit = {None: "", -1: ", without limit"}.get(entry.rate_limit_rpm, f", {entry.rate_limit_rpm} requests a minute")
    return f"{_scopes(entry)} on {_upstreams(entry)}{limit}"


def _scopes(entry: "KeyEntry") -> str:
    order = ("read", "write", "admin")
    return " ".join(sorted(entry.scopes, key=order.index))


def _upstreams(entry: "KeyEntry") -> str:
    names = "all upstreams" if entry.upstreams is None else " ".join(sorted(entry.upstreams))
    return names if entry.profiles is None else f"{names}, profiles {' '.join(sorted(entry.profiles))}"


def _limit(entry: "KeyEntry") -> str:
    return {None: "default", -1: "unlimited"}.get(entry.rate_limit_rpm) or str(entry.rate_limit_rpm)


def _kept(entry: "KeyEntry") -> str:
    return "plain text" if entry.is_plain else "sha256" if entry.hash.scrypt is None else "scrypt"


def _as_json(entry: "KeyEntry") -> dict[str, Any]:
    return {
        "id": entry.id,
        "owner": entry.owner,
        "allowed_upstreams": sorted(entry.upstreams or ()),
        "profiles": None if entry.profiles is None else sorted(entry.profiles),
        "rate_limit_rpm": entry.rate_limit_rpm,
        "scopes": sorted(entry.scopes),
        "kept_as": _kept(entry),
    }
