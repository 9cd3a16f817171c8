"""`mcp-gateway pins`: what is pinned of each server, what differs from it now, and accepting that.

A gateway that runs sees an approval by itself.
"""

import sys
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Exit, check_names, configure_logs, fail, json_option, run, with_config
from gateway.cli.ui.terminal import bold, dim, plural, print_json, table, width
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.cli.doctor.pin_state import Compared
    from gateway.config.models import Config
    from gateway.store.pins import Pins


@click.group("pins")
def command() -> None:
    """See and approve what servers changed in the definitions of their tools, prompts, resources and instructions.

    What a server offered when first seen is pinned. Its entry's `pin` says what becomes of changes: off, warn or block.
    """


@command.command("list")
@json_option
@with_config
def list_(config: "Config", as_json: bool) -> None:
    """List what is pinned, and what is known to differ from it. Starts no server."""
    from gateway.cli.doctor.pin_state import as_json as shown
    from gateway.cli.doctor.pin_state import last_seen, summed_up

    configure_logs(config, at_least="error")
    compared = last_seen(config, list(config.enabled), _load(config))
    if as_json:
        print_json([shown(each) for each in compared])
        return
    header = ("SERVER", "PIN", "TOOLS", "PROMPTS", "TEMPLATES", "RESOURCES", "SKILLS", "SEEN LAST")
    rows = [summed_up(each) for each in compared]
    click.echo("\n".join(table(rows, header=header, styles=(bold,), right=(2, 3, 4, 5, 6), limit=width(sys.stdout))))


@command.command("diff")
@click.argument("servers", metavar="[SERVER]...", nargs=-1)
@json_option
@with_config
def diff(config: "Config", servers: tuple[str, ...], as_json: bool) -> None:
    """Start the servers, and show how what they offer differs from what is pinned. Approves and pins nothing.

    Without SERVER: all those whose `pin` is not off. Exits with 1 when anything differs, is not pinned yet, or could
    not be compared.
    """
    check_names(config, servers)
    names = servers or tuple(name for name, server in config.enabled.items() if server.pin != "off")
    sys.exit(run(_diff, config, names, as_json))


async def _diff(config: "Config", names: tuple[str, ...], as_json: bool) -> Exit:
    from gateway.cli.doctor.last_words import StderrTail
    from gateway.cli.doctor.pin_state import as_json as shown
    from gateway.cli.doctor.pin_state import ask, in_words

    redact = StderrTail().listen(config, at_least="error")
    compared = await ask(config, names, _load(config))
    if as_json:
        print_json([shown(each) for each in compared])
    else:
        for each in compared:
            click.echo("\n".join(in_words(each, redact)))
    differing = [each for each in compared if not each.is_as_pinned]
    if any(each.listing is not None for each in differing):
        click.echo(dim("`mcp-gateway pins approve SERVER` accepts what is shown."), err=True)
    return Exit.FOUND if differing else Exit.FINE


@command.command("approve")
@click.argument("server")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-y", "--yes", is_flag=True, help="Do not ask, at a terminal.")
@json_option
@with_config
def approve(config: "Config", server: str, names: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Pin what SERVER was last seen to offer: all of it, or the items of these NAMEs.

    A NAME is the server's own name of a tool or prompt, a URI, or `instructions`. That includes the URIs which it takes
    over from another server. What counts is what the gateway, or
    `mcp-gateway pins diff`, saw last; no server is started. At a terminal, shows it and asks first.
    """
    from gateway.cli.doctor.pin_state import as_json as shown
    from gateway.cli.doctor.pin_state import in_words, last_seen, only

    check_names(config, [server])
    configure_logs(config, at_least="error")
    (seen,) = last_seen(config, [server], _load(config))
    if seen.listing is None:
        fail(f"{server!r} was not seen yet; `mcp-gateway pins diff` looks at it", Exit.FOUND)
    if seen.pins is None and names:
        fail(f"nothing is pinned of {server!r} yet; approve it as a whole first, without names", Exit.USAGE)
    wanted = only(seen, names)
    if unknown := set(names) - {each.name for each in (*wanted.changes, *wanted.takeovers)}:
        fail(f"nothing called {', '.join(sorted(map(repr, unknown)))} of {server!r} waits for approval", Exit.USAGE)
    if as_json:
        print_json(shown(wanted))
    else:
        click.echo("\n".join(in_words(wanted, str)))
    if wanted.is_as_pinned:
        return
    if sys.stdin.isatty() and not yes:
        click.confirm("Approve this?", abort=True, err=True)
    _approve(config, wanted)
    click.echo(f"{plural(wanted.unapproved, 'change')} of {bold(server)} approved.", err=True)


def _approve(config: "Config", wanted: "Compared") -> None:
    from gateway.cli.doctor import owners as takeovers
    from gateway.cli.doctor.memory import remembered
    from gateway.cli.doctor.pin_state import approve
    from gateway.store import pins as pin_file

    try:
        if wanted.changes or wanted.pins is None:
            after = pin_file.update(config.gateway.state_dir / pin_file.NAME, lambda stored: approve(stored, wanted))
            if config.gateway.store is not None:
                key = pin_file.key(after, wanted.server, wanted.definition)
                run(_share, config, {key: after[key]})
        if wanted.takeovers:
            takeovers.approve(config, remembered(config), wanted.server, {each.name for each in wanted.takeovers})
    except ConfigError as error:
        fail(error.message, Exit.USAGE)


async def _share(config: "Config", pins: "Mapping[str, Pins]") -> None:
    """Tell the nodes of other folders."""
    import anyio

    from gateway.catalogue.shared_pins import publish
    from gateway.errors import StoreUnavailable
    from gateway.store.opening import open_store

    store = open_store(config.gateway)
    async with anyio.create_task_group() as tg:
        await tg.start(store.run)
        try:
            await publish(store, pins)
        except StoreUnavailable as error:
            click.echo(f"Only here for now, until a gateway of this folder runs: {error.message}", err=True)
        tg.cancel_scope.cancel()


def _load(config: "Config") -> "dict[str, Pins]":
    from gateway.store import pins as pin_file

    try:
        return pin_file.load(config.gateway.state_dir / pin_file.NAME)
    except ConfigError as error:
        fail(error.message, Exit.USAGE)
