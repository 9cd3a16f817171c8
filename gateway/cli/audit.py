"""`mcp-gateway audit`: is the audit log whole?"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.common import Exit, config_option, fail, json_option, read_config
from gateway.cli.ui.terminal import bold, plural, print_json

if TYPE_CHECKING:
    from gateway.telemetry.audit.chain import Keys
    from gateway.telemetry.audit.verify import Report

SHORTEST_KEY = 32


@click.group("audit")
def command() -> None:
    """Check the audit log (gateway.audit)."""


@command.command("verify")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="File with the key, or one key a line; no configuration is read.",
)
@click.option("--heads", type=click.Path(path_type=Path), help="The folder that says where chains end.")
@click.option("--no-heads", is_flag=True, help="Do without: lines cut off the end are not missed then.")
@click.option("--partial", is_flag=True, help="Older files have been deleted: chains may begin in the middle.")
@json_option
@config_option
def verify(
    files: tuple[Path, ...],
    key_file: Path | None,
    heads: Path | None,
    no_heads: bool,
    partial: bool,
    as_json: bool,
    path: Path | None,
) -> None:
    """Check that nothing in the audit log was changed, and that nothing is missing.

    FILES are the log and what rotation made of it, in any order, .gz too; those that stand beside the configured file
    when none are given. Exits with 0 if all is whole, 1 if it is not, and 2 if that cannot be found out.
    """
    from gateway.telemetry.audit import verify as verification

    if key_file is not None:
        keys = _keys_in(key_file)
    else:
        keys, configured, its_heads = _configured(path)
        files, heads = files or configured, heads or its_heads
    if not files:
        fail("which files? The configuration names none", Exit.USAGE)
    if heads is None and not no_heads:
        fail("say with --heads where chains end, or --no-heads to do without", Exit.USAGE)
    try:
        report = verification.verify(files, keys, None if no_heads else heads, has_oldest=not partial)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", Exit.USAGE)
    except EOFError:
        fail("one of the .gz files is cut short", Exit.USAGE)
    if as_json:
        print_json(_as_json(report))
    else:
        _print(report)
    sys.exit(Exit.FOUND if report.count else Exit.FINE)


def _keys_in(path: Path) -> "list[Keys]":
    from gateway.telemetry.audit.chain import keys_of

    try:
        lines = [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {getattr(error, 'strerror', None) or 'is not text'}", Exit.USAGE)
    if not lines or any(len(line) < SHORTEST_KEY for line in lines):
        fail(f"{path}: has to have keys of at least {SHORTEST_KEY} characters, one a line", Exit.USAGE)
    return [keys_of(line) for line in lines]


def _configured(path: Path | None) -> "tuple[list[Keys], tuple[Path, ...], Path]":
    """Keys, files, and the folder of heads."""
    from gateway.telemetry.audit import HEADS
    from gateway.telemetry.audit.chain import keys_of

    config = read_config(path, {})
    settings = config.gateway.audit
    if settings is None:
        fail(f"{config.path} has no gateway.audit; use --key-file, or set it", Exit.USAGE)
    file = settings.file
    beside = [] if file is None else [*file.parent.glob(f"{file.name}.*"), *file.parent.glob(f"{file.name}-*")]
    files = () if file is None else (file, *(each for each in beside if each.is_file()))
    keys = [keys_of(key) for key in (settings.key, *settings.previous_keys)]
    return keys, files, settings.heads or config.gateway.state_dir / HEADS


def _print(report: "Report") -> None:
    for finding in report.findings:
        click.echo(f"{bold(finding.place)}: {finding.message}" + (f" (chain {finding.chain})" if finding.chain else ""))
    if (more := report.count - len(report.findings)) > 0:
        click.echo(f"… and {more} more")
    for notice in report.notices:
        click.echo(f"note: {notice}", err=True)
    span = f", {report.first} to {report.last}" if report.records else ""
    what = f"{plural(report.records, 'line')} in {plural(len(report.files), 'file')}"
    verdict = f"{plural(report.count, 'finding')}" if report.count else "nothing was changed, nothing is missing"
    click.echo(f"{what}, {plural(len(report.chains), 'chain')}{span}: {verdict}.", err=bool(report.findings))


def _as_json(report: "Report") -> object:
    chains = {
        name: {"first": seen.first, "last": seen.last, "lines": seen.records, "has_ended": seen.has_ended}
        for name, seen in report.chains.items()
    }
    return {
        "whole": not report.count,
        "files": report.files,
        "lines": report.records,
        "first": report.first,
        "last": report.last,
        "chains": chains,
        "findings": [asdict(finding) for finding in report.findings],
        "findings_in_all": report.count,
        "notices": report.notices,
    }
