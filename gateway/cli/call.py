"""`mcp-gateway call`: try one tool, the way an agent would call it."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.common import Exit, fail, json_option, run_once, with_config
from gateway.cli.ui.terminal import dim, harmless, print_json
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.catalogue.catalogue import Catalogue
    from gateway.cli.agent import Visit
    from gateway.config.models import Config


@click.command("call", context_settings={"ignore_unknown_options": True})
@click.argument("tool", metavar="SERVER__TOOL")
@click.argument("words", metavar="[ARGUMENTS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("--whole", is_flag=True, help="All of a result, also where agents are given its head (`results`).")
@json_option
@with_config
def command(config: "Config", tool: str, words: tuple[str, ...], whole: bool, as_json: bool) -> None:
    """Call one tool, by the name that `mcp-gateway tools` shows.

    ARGUMENTS are one JSON object, or --key=value or key=value pairs whose values are JSON where they can be and text
    where not, or - for JSON on stdin. What has the name of an option of ours is written without dashes. Progress and
    log messages go to stderr, the answer to stdout; --json prints all of it.

    \b
      mcp-gateway call time__now --timezone=Europe/Berlin
      mcp-gateway call notes__add '{"title": "Milk", "text": "Two litres"}'

    Exits with 1 when the tool reports an error.
    """
    outcome: _Outcome = run_once(_call, _unbounded(config) if whole else config, tool, words)
    sys.exit(_print(outcome, as_json))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of it: a result, or an error, or words for whoever asked for what cannot be."""

    result: dict[str, Any] | None = None
    error: GatewayError | None = None
    refused: str = ""
    code: Exit = Exit.FINE
    hint: str = ""


def _unbounded(config: "Config") -> "Config":
    from gateway.config.models import ResultsConfig

    servers = {name: each.model_copy(update={"results": ResultsConfig()}) for name, each in config.servers.items()}
    return config.model_copy(update={"servers": servers})


# --- Calling ------------------------------------------------------------------------------------------------------


async def _call(config: "Config", tool: str, words: tuple[str, ...]) -> _Outcome:
    from gateway.cli.agent import awake, visiting
    from gateway.cli.doctor.last_words import StderrTail
    from gateway.cli.doctor.memory import owner

    redact = StderrTail().listen(config, at_least="error")
    if owner(config, tool) is not None:
        config = awake(config, ())  # the call itself wakes the owner up
    else:
        everyone = {name: server.model_copy(update={"lazy": False}) for name, server in config.enabled.items()}
        config = config.model_copy(update={"servers": everyone})
    async with visiting(config) as visit:
        await visit.meet(enough=lambda: visit.catalogue.tool(tool) is not None)
        found = visit.catalogue.tool(tool)
        if found is None:
            return _unknown(tool, visit, redact)
        return await _ask(visit, tool, found.upstream, words, found.item.get("inputSchema"))


async def _ask(visit: "Visit", tool: str, server: str, words: tuple[str, ...], schema: Any) -> _Outcome:
    from gateway.cli.ui.arguments import ArgumentError, missing, parse
    from gateway.cli.ui.progress import Progress
    from gateway.cli.ui.waiting import waiting_for
    from gateway.jsonrpc import as_object

    try:
        arguments = parse(words, sys.stdin.read, as_object(schema))
    except ArgumentError as error:
        return _Outcome(refused=str(error), code=Exit.USAGE)
    lacking = missing(arguments, as_object(schema))
    hint = f"{tool} needs {', '.join(lacking)}" if lacking else ""
    progress = Progress(sys.stderr)
    started = False

    def notify(method: str, params: dict[str, Any] | None) -> None:
        nonlocal started
        started = True
        progress(method, params)

    params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "call"}}
    try:
        async with waiting_for(lambda: [] if started else [server]):
            await visit.listen(notify, "info")
            return _Outcome(await visit.request("tools/call", params), hint=hint)
    except GatewayError as error:
        return _Outcome(error=error, hint=hint)
    finally:
        progress.done()


def _unknown(tool: str, visit: "Visit", redact: Any) -> _Outcome:
    text = f"there is no tool {tool!r}"
    if near := near_names(tool, visit.catalogue):
        text += f"; did you mean {' or '.join(near)}?"
    elif not visit.failed:
        text += "; `mcp-gateway tools` lists those there are"
    for name, met in visit.failed.items():
        text += f"\n  server {name!r} did not work: {redact(met.reason)}"
    return _Outcome(refused=text, code=Exit.FOUND if visit.failed else Exit.USAGE)


def near_names(tool: str, catalogue: "Catalogue") -> list[str]:
    """Up to three public names that may have been meant: misspelt ones, and those of whoever left the server out."""
    import difflib

    owners = catalogue.tool_owners
    local = [public for public, owner in owners.items() if tool.lower() in (owner.original.lower(), public.lower())]
    return list(dict.fromkeys([*local, *difflib.get_close_matches(tool, owners, n=3, cutoff=0.7)]))[:3]


# --- Showing ------------------------------------------------------------------------------------------------------


def _print(outcome: _Outcome, as_json: bool) -> Exit:
    from gateway.cli.ui.content import render
    from gateway.jsonrpc import as_object
    from gateway.server.results import META as CUT

    if outcome.refused:
        fail(harmless(outcome.refused), outcome.code)
    if outcome.error is not None:
        error = outcome.error
        if as_json:
            shown = {"code": error.code, "message": error.message, "data": error.data}
            print_json({"error": {key: value for key, value in shown.items() if value is not None}})
        else:
            click.echo(f"mcp-gateway: {harmless(error.message)}", err=True)
        _print_hint(outcome.hint)
        return Exit.FOUND
    result = outcome.result or {}
    is_error = result.get("isError") is True
    if as_json:
        print_json(result)
    else:
        text = render(result)
        to_terminal = (sys.stderr if is_error else sys.stdout).isatty()
        click.echo(harmless(text) if to_terminal else text, err=is_error)
    if is_error:
        _print_hint(outcome.hint)
    if CUT in as_object(result.get("_meta")):
        _print_hint("Cut as it is for agents (`results`), and this command keeps nothing; --whole prints all of it.")
    return Exit.FOUND if is_error else Exit.FINE


def _print_hint(hint: str) -> None:
    if hint:
        click.echo(dim(hint), err=True)
