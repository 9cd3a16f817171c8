"""`mcp-gateway doctor`: what does not work, why, and what to do about it."""

import platform
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway import __version__
from gateway.cli.common import Exit, config_option, file_argument, json_option, run_once
from gateway.cli.ui.terminal import (
    bold,
    columns,
    dim,
    first_line,
    harmless,
    mark,
    plural,
    print_json,
    table,
    width,
    wrapped,
)
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.cli.doctor.findings import Finding
    from gateway.cli.doctor.probe import ServerProbe
    from gateway.config.models import Config

Redact = Callable[[str], str]


@click.command("doctor")
@file_argument
@config_option
@json_option
def command(file: Path | None, path: Path | None, as_json: bool) -> None:
    """Find out what does not work, and what to do about it.

    Looks at the configuration, at programs, variables and folders, tries every server, and checks that the gateway
    could listen and keep its state; and says what is blocked because it is not as it was pinned. Exits with 1 when
    something is wrong.
    """
    about, probes, redact = run_once(_examine, file or path)
    findings = [finding for group in about.values() for finding in group]
    wrong = any(finding.kind == "problem" for finding in findings)
    if as_json:
        print_json(
            {
                "ok": not wrong,
                "version": _versions(),
                "servers": [{"name": name, **tried.as_json()} for name, tried in probes.items()],
                "findings": [{"about": topic, **each.as_json(redact)} for topic in about for each in about[topic]],
            }
        )
    else:
        _print(about, probes, redact)
    sys.exit(Exit.FOUND if wrong else Exit.FINE)


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {"mcp-gateway": __version__, "python": platform.python_version(), "mcp": version("mcp")}


# --- Examining ----------------------------------------------------------------------------------------------------

Report = tuple[dict[str, list["Finding"]], dict[str, "ServerProbe"], Redact]


async def _examine(path: Path | None) -> Report:
    from gateway.cli.doctor import examine
    from gateway.cli.doctor.findings import Finding
    from gateway.cli.doctor.lenient import read_leniently
    from gateway.config.models import GatewaySettings
    from gateway.config.reading.locate import find_config

    try:
        found = find_config(path)
    except ConfigError as error:
        return {"configuration": [Finding("problem", error.message)]}, {}, str
    reading = read_leniently(found.path)
    config = reading.config
    servers: list[Finding]
    probes: dict[str, ServerProbe]
    redact: Redact
    if config is None:
        settings = GatewaySettings()
        servers, probes, redact = [], {}, str
    else:
        settings = config.gateway
        reading.findings[:0] = [_valid(config, found.is_demo)] if not reading.findings else []
        reading.findings += [Finding("note", warning) for warning in config.warnings]
        servers, probes, redact = await _examine_servers(config)
    own = [examine.port(settings), *examine.state(settings.state_dir)]
    servers += [
        Finding("note", "was not tried: it lacks a variable", server=name) for name in sorted(reading.set_aside)
    ]
    return {"configuration": reading.findings, "servers": servers, "gateway": own}, probes, redact


def _valid(config: "Config", is_demo: bool) -> "Finding":
    from gateway.cli.doctor.findings import Finding

    disabled = len(config.servers) - len(config.enabled)
    counted = plural(len(config.servers), "server") + (f", {disabled} of them disabled" if disabled else "")
    what = " (the one that comes with mcp-gateway)" if is_demo else ""
    return Finding("ok", f"{config.path}{what} is valid: {counted}")


async def _examine_servers(config: "Config") -> "tuple[list[Finding], dict[str, ServerProbe], Redact]":
    from gateway.cli.doctor import apis, blocked, examine
    from gateway.cli.doctor.findings import Finding
    from gateway.cli.doctor.last_words import StderrTail
    from gateway.cli.doctor.memory import remembered
    from gateway.cli.doctor.probe import probe
    from gateway.cli.doctor.remedies import explain
    from gateway.cli.doctor.shadows import shadows
    from gateway.logins.opening import logins_of

    last_words = StderrTail()
    redact = last_words.listen(config, at_least="critical")
    stdio = {name: server for name, server in config.enabled.items() if server.type == "stdio"}
    findings = [finding for name, server in stdio.items() for finding in examine.program(name, server)]
    hopeless = {finding.server for finding in findings}
    tried = {name: server for name, server in config.enabled.items() if name not in hopeless}
    async with logins_of(config) as logins:
        probes = await probe(tried, logins.source)
        each = [name for name in probes if (source := logins.source_of(name)) is not None and source.has_own_lists]
    probes = {name: tried for name, tried in probes.items() if name not in each}
    text = "everybody logs in to it for themselves, so it was not tried; see the gateway's page /connect/"
    findings += [Finding("note", f"{text}{name}", server=name) for name in each]
    for name, tried in probes.items():
        if tried.contact.reason:
            findings.append(await explain(name, config.servers[name], tried, last_words.of(name)))
    findings += blocked.findings(config, probes)
    findings += await apis.findings(config.servers, probes)
    known = {name: tried.listing for name, tried in probes.items() if tried.listing is not None}
    findings += [Finding("note", text, server=name) for name, text in shadows(config, {**remembered(config), **known})]
    order = {name: position for position, name in enumerate(config.servers)}
    return sorted(findings, key=lambda finding: order.get(finding.server or "", len(order))), probes, redact


# --- Showing ------------------------------------------------------------------------------------------------------


def _print(about: "dict[str, list[Finding]]", probes: "dict[str, ServerProbe]", redact: Redact) -> None:
    click.echo(dim(" · ".join(f"{name} {version}" for name, version in _versions().items())))
    for topic, findings in about.items():
        if not findings and not (topic == "servers" and probes):
            continue
        click.echo("\n" + bold(topic.capitalize()))
        if topic == "servers":
            _print_probes(probes)
        for finding in findings:
            _print_finding(finding, redact)
    counted = {kind: sum(each.kind == kind for each in _all(about)) for kind in ("problem", "note")}
    parts = [plural(count, kind) for kind, count in counted.items() if count]
    click.echo("\n" + (" and ".join(parts) + "." if parts else "Nothing is wrong."))


def _all(about: "dict[str, list[Finding]]") -> "Iterable[Finding]":
    return (finding for findings in about.values() for finding in findings)


def _print_probes(probes: "dict[str, ServerProbe]") -> None:
    works = {name: tried for name, tried in probes.items() if tried.contact.works}
    if works:
        header = ("SERVER", "STATE", "PROTOCOL", "TOOLS", "START", "PING", "IMPLEMENTATION")
        rows = [(name, *_row(tried)) for name, tried in works.items()]
        lines = table(rows, header=header, styles=(bold,), right=(3, 4, 5), limit=(width(sys.stdout) or 1000) - 4)
        signs = [" ", *(mark("ok" if not tried.contact.reason else "note") for tried in works.values())]
        click.echo("\n".join(f"  {sign} {line}" for sign, line in zip(signs, lines, strict=True)))


def _row(tried: "ServerProbe") -> tuple[Any, ...]:
    return (
        tried.state,
        f"{tried.version} ({tried.era})",
        str(tried.tools),
        f"{tried.contact.seconds * 1000:,.0f} ms",
        f"{tried.latency * 1000:,.1f} ms" if tried.latency is not None else "",
        first_line(tried.implementation),
    )


def _print_finding(finding: "Finding", redact: Redact) -> None:
    limit = width(sys.stdout)
    text = wrapped(redact(harmless(finding.text)), 4 + (columns(finding.server) + 2 if finding.server else 0), limit)
    head = bold(finding.server) + ": " if finding.server else ""
    click.echo(f"  {mark(finding.kind)} {head}{text}")
    for line in finding.said:
        click.echo("    " + dim(redact(harmless(line))))
    for step in filter(None, finding.remedy.split("\n")):
        click.echo("    " + click.style("→ ", fg="cyan") + wrapped(redact(harmless(step)), 6, limit))
