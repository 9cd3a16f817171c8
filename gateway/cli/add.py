"""`mcp-gateway add`: one more server in servers.yaml, said on the command line."""

import os
from pathlib import Path
from typing import Any

import click

from gateway.cli.common import Exit, fail
from gateway.cli.importer import own_file
from gateway.cli.ui.terminal import bold, harmless, mark
from gateway.errors import ConfigError


@click.command("add")
@click.argument("name")
@click.argument("target", metavar="URL | -- COMMAND", required=False)
@click.argument("args", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.option("-e", "--env", metavar="NAME=VALUE", multiple=True, help="A variable of the program; repeatable.")
@click.option("-H", "--header", metavar="'NAME: VALUE'", multiple=True, help="A header to send; repeatable.")
@click.option("-t", "--transport", type=click.Choice(["stdio", "http", "sse"]), help="Where it cannot be inferred.")
@click.option("--openapi", "document", metavar="URL|FILE", help="The OpenAPI document of an HTTP API, that it is.")
@click.option("--url", metavar="URL", help="Where that API is, if its document does not say so.")
@click.option("--lazy", is_flag=True, help="Start it when something of it is called.")
@click.option("-c", "--config", "--into", "path", type=click.Path(path_type=Path), help="The file to add it to.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--keep-secrets", is_flag=True, help="Write secrets into the file itself, not into the .env beside it.")
def command(
    name: str,
    target: str | None,
    args: tuple[str, ...],
    env: tuple[str, ...],
    header: tuple[str, ...],
    transport: str | None,
    document: str | None,
    url: str | None,
    lazy: bool,
    path: Path | None,
    dry_run: bool,
    keep_secrets: bool,
) -> None:
    """Add a server to the configuration.

    \b
      mcp-gateway add files -- npx -y @modelcontextprotocol/server-filesystem /data
      mcp-gateway add github https://api.githubcopilot.com/mcp/ -H 'Authorization: Bearer …'
      mcp-gateway add petstore --openapi https://petstore3.swagger.io/api/v3/openapi.json

    What stands in the file stays as it is. Secrets in variables and headers go into the .env beside it.
    """
    file = Path(os.path.realpath(path or own_file.in_use()))
    if document is not None:
        if target is not None or env or transport:
            fail("an HTTP API has --openapi, --url and --header, and no command, --env or --transport", Exit.USAGE)
        values = _api(document, url, _pairs(header, ":"), file)
    elif url is not None:
        fail("--url is where an API is; it goes with --openapi. A server's URL follows its name", Exit.USAGE)
    elif target is None:
        fail("say what it is: NAME URL, NAME -- COMMAND, or NAME --openapi DOCUMENT", Exit.USAGE)
    else:
        values = _entry(target, args, _pairs(env, "="), _pairs(header, ":"), transport)
    if lazy:
        values["lazy"] = True
    _add(name, values, file, dry_run=dry_run, keep_secrets=keep_secrets)


def _pairs(given: tuple[str, ...], separator: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in given:
        name, found, value = text.partition(separator)
        if not found or not name.strip():
            fail(f"{name!r} is not NAME{separator}VALUE", Exit.USAGE)
        pairs[name.strip()] = value.strip() if separator == ":" else value
    return pairs


def _entry(
    target: str, args: tuple[str, ...], env: dict[str, str], headers: dict[str, str], transport: str | None
) -> dict[str, Any]:
    is_url = transport in ("http", "sse") or (transport is None and target.lower().startswith(("http://", "https://")))
    if is_url and (args or env):
        fail("a server at a URL takes no arguments and no --env; for a program, write NAME -- COMMAND", Exit.USAGE)
    if headers and not is_url:
        fail("--header is for a server at a URL", Exit.USAGE)
    if is_url:
        values: dict[str, Any] = {"type": "sse"} if transport == "sse" else {}
        return {**values, "url": target, **({"headers": headers} if headers else {})}
    return {"command": target, **({"args": list(args)} if args else {}), **({"env": env} if env else {})}


def _api(document: str, url: str | None, headers: dict[str, str], file: Path) -> dict[str, Any]:
    """The entry of an HTTP API. A file is named as the configuration will look for it."""
    from gateway.config.models.openapi import is_url

    if not is_url(document):
        found = Path(os.path.realpath(document))
        if not found.is_file():
            fail(f"there is no file {document}; --openapi takes the URL or the file of an OpenAPI document", Exit.USAGE)
        near = found.is_relative_to(file.parent)
        document = f"./{found.relative_to(file.parent).as_posix()}" if near else str(found)
    own = {"url": url} if url is not None else {}
    openapi: Any = document if url is not None else {"document": document, "use_servers": True}
    return {"openapi": openapi, **own, **({"headers": headers} if headers else {})}


def _add(name: str, values: dict[str, Any], file: Path, *, dry_run: bool, keep_secrets: bool) -> None:
    from gateway.cli.importer import replace
    from gateway.cli.importer.foreign import validate
    from gateway.cli.importer.insertion import CannotInsert, insert
    from gateway.cli.importer.takeover import is_own
    from gateway.cli.importer.withhold import SecretExtractor, Variable
    from gateway.config.reading.problems import name_fault
    from gateway.config.reading.source import parse, read_text

    variables: list[Variable] = []
    try:
        exists = file.exists()
        text = read_text(file, str(file)) if exists else own_file.HEADER
        data = parse(text, str(file)).data
        if fault := name_fault(name):
            raise ConfigError(f"{name!r}: {fault}")
        if name in own_file.servers_in(data):
            raise ConfigError(f"{file} has a server {name!r} already; `mcp-gateway remove {name}` removes it")
        if is_own(values, own_file.port_in(data)):
            raise ConfigError("this is the gateway itself")
        if not keep_secrets:
            values, variables = SecretExtractor(own_file.known_variables(file)).apply(name, values)
        validate(values)
    except ConfigError as error:
        fail(harmless(error.message), Exit.USAGE)
    try:
        result = insert(text, str(file), {name: values}, "")
        if dry_run:
            own_file.show_difference(text if exists else "", result, str(file))
            return
        secrets = {variable.name: variable.value for variable in variables}
        kept = own_file.keep_secrets(file, secrets) if secrets else None
        replace.replace(file, result, private=keep_secrets)
    except (CannotInsert, ConfigError, OSError) as error:
        own_file.left_as_it_was(file, error)
    click.echo(f"{mark('ok')} {bold(harmless(name))} added to {bold(str(file))}")
    if kept is not None:
        own_file.tell_of_secrets(kept, secrets)
    click.echo(f"See what it offers: mcp-gateway tools {harmless(name)}")
