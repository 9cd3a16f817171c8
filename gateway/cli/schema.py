"""`mcp-gateway schema`: what editors complete `servers.yaml` with."""

import json

import click

from gateway.config.reading.schema import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of servers.yaml."""
    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
