"""`mcp-gateway tools`: what agents see, what it costs them, and what they do not see because it does not work."""

import sys
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.common import (
    Exit,
    check_names,
    check_profile,
    fail,
    json_option,
    profile_option,
    run_once,
    with_config,
)
from gateway.cli.ui.terminal import bold, columns, dim, first_line, harmless, plural, print_json, table, width, wrapped

if TYPE_CHECKING:
    from gateway.catalogue.pins import PinVerdict
    from gateway.cli.agent import Visit
    from gateway.config.models import Config


OURS = "(gateway)"
"""Whose the tools are that search the others."""


@click.command("tools")
@click.argument("servers", metavar="[SERVER]...", nargs=-1)
@click.option("--server", "more", metavar="NAME", multiple=True, help="Only this server's; may be repeated.")
@profile_option
@click.option("--tokens", is_flag=True, help="What the tools of each view cost: of /mcp, the profiles and the servers.")
@click.option("--explain", is_flag=True, help="What profiles with `schema` change in the tools' input schemas.")
@json_option
@with_config
def command(
    config: "Config",
    servers: tuple[str, ...],
    more: tuple[str, ...],
    profile: str | None,
    tokens: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """List what agents see: starts the configured servers, or those named, and asks the gateway as an agent would.

    Exits with 1 when a server could not be reached or listed, or something of it is blocked.
    """
    servers += more
    check_names(config, servers)
    check_profile(config, profile)
    if tokens and (servers or profile):
        fail("--tokens is about all views; leave --profile and the servers away", Exit.USAGE)
    explained: list[str] = []
    if explain:
        explained = [profile] if profile is not None else list(config.profiles)
        explained = [name for name in explained if config.profiles[name].schema_ is not None]
        if tokens or not explained:
            fail("--explain is about profiles that have a `schema`, and shows nothing else", Exit.USAGE)
    sys.exit(run_once(_list, config, servers, profile, tokens, as_json, explained))


async def _list(
    config: "Config",
    servers: tuple[str, ...],
    profile: str | None,
    as_tokens: bool,
    as_json: bool,
    explained: list[str],
) -> Exit:
    from gateway.cli.agent import awake, visiting
    from gateway.cli.doctor.last_words import StderrTail

    last_words = StderrTail()
    redact = last_words.listen(config, at_least="error")
    wanted = servers or tuple(config.enabled)
    async with visiting(awake(config, wanted) if servers else config, profile) as visit:
        await visit.meet()
        tools = await visit.tools()
        owners = {name: owner.upstream for name, owner in visit.catalogue.tool_owners.items()}
        tools = [tool for tool in tools if owners.get(tool["name"], OURS) in (OURS, *wanted)]
        if explained:
            from gateway.cli import explain

            explain.show({name: visit.catalogue_of(name) for name in explained}, as_json=as_json)
        elif as_tokens:
            from gateway.cli import tokens as views

            views.show(_views(visit, config), as_json=as_json)
        elif as_json:
            print_json(tools)
        else:
            _print_table(tools, owners)
        _print_problems(visit, last_words.of, redact, len(wanted))
        library = visit.gateway.library
        blocked = any(library.verdict(name).blocked for name in wanted if name in visit.gateway.upstreams)
        return Exit.FOUND if visit.failed or blocked else Exit.FINE


def _views(visit: "Visit", config: "Config") -> list[tuple[str, Any]]:
    """Each view, and the tools that it lists."""
    from gateway.catalogue.adapted import all_shown

    catalogues = {name: visit.catalogue_of(name) for name in (None, *config.profiles, *config.enabled)}
    return [
        ("/mcp" if name is None else f"/mcp/{name}", all_shown(catalogue, catalogue.tools))
        for name, catalogue in catalogues.items()
    ]


# --- What works ---------------------------------------------------------------------------------------------------


def _print_table(tools: list[dict[str, Any]], owners: dict[str, str]) -> None:
    if not tools:
        click.echo("No tools.")
        return
    owners = {tool["name"]: OURS for tool in tools} | owners
    rows = [(tool["name"], owners[tool["name"]], summary(tool)) for tool in tools]
    lines = table(rows, header=("TOOL", "SERVER", "DESCRIPTION"), styles=(bold, None, None), limit=width(sys.stdout))
    click.echo("\n".join(lines))
    click.echo()
    costs: dict[str, list[int]] = {}
    for tool in tools:
        costs.setdefault(owners[tool["name"]], []).append(tokens(tool))
    total = sum(map(sum, costs.values()))
    click.echo(f"{plural(len(tools), 'tool')} from {plural(len(costs), 'server')}, about {total:,} tokens", nl=False)
    click.echo(dim(" of each agent's context (an estimate: bytes ÷ 4)"))
    if len(costs) > 1:
        dearest_first = sorted(costs.items(), key=lambda item: -sum(item[1]))
        each = [(name, plural(len(cost), "tool"), f"~{sum(cost):,}") for name, cost in dearest_first]
        click.echo("\n".join(table(each, right=(1, 2), indent=2)))


def summary(tool: dict[str, Any]) -> str:
    """One line about a tool: its description's first, else its title."""
    texts = (tool.get("description"), tool.get("title"))
    return next((first_line(text) for text in texts if isinstance(text, str) and text.strip()), "")


def tokens(tool: dict[str, Any]) -> int:
    """Roughly what a tool takes of a model's context: clients pass on its name, description and input schema."""
    from gateway import jsonrpc

    shown = {key: tool[key] for key in ("name", "description", "inputSchema") if key in tool}
    return round(len(jsonrpc.dumps(shown)) / 4)


# --- What does not ------------------------------------------------------------------------------------------------


def _about_pins(verdict: "PinVerdict") -> str:
    """What agents are, or are not, shown although nobody approved it; and what in it people would not see."""
    from gateway.cli.doctor.blocked import named

    notes: list[str] = []
    if verdict.changes:
        notes.append(f"{plural(len(verdict.changes), 'unapproved change')} of definitions")
    if verdict.blocked:
        notes.append(f"blocked until approved: {named(verdict.blocked.values())}")
    if verdict.suspicions:
        notes.append(f"suspicious text in {plural(len(verdict.suspicions), 'place')}")
    return ", ".join(notes)


def _print_problems(visit: "Visit", last_words: Any, redact: Any, asked: int) -> None:
    failed = visit.failed
    if failed:
        click.echo(err=True)
        click.echo(click.style(f"{len(failed)} of {plural(asked, 'server')} did not work:", fg="red"), err=True)
    lines = [(name, met.reason, last_words(name)) for name, met in failed.items()]
    lines += [(name, met.reason, []) for name, met in visit.contacts.items() if met.works and met.reason]
    names = {name for name, _, _ in lines}
    for dropped in visit.catalogue.dropped:
        if dropped.upstream not in failed:
            lines.append((dropped.upstream, f"{dropped.kind} item {dropped.name!r} left out: {dropped.reason}", []))
            names.add(dropped.upstream)
    for upstream in visit.gateway.upstreams:
        if note := _about_pins(visit.gateway.library.verdict(upstream)):
            lines.append((upstream, f"{note}; see `mcp-gateway pins diff`", []))
            names.add(upstream)
    indent = max(map(columns, names), default=0) + 4
    for name, reason, said in lines:
        shown = wrapped(redact(harmless(reason)), indent, width(sys.stderr))
        click.echo(f"  {bold(name)}{' ' * (indent - 2 - columns(name))}{shown}", err=True)
        for line in said:
            click.echo(" " * indent + dim(redact(harmless(line))), err=True)
    if failed:
        click.echo(dim("`mcp-gateway doctor` looks closer."), err=True)
