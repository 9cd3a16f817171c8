"""Reads `NAME=value` files: the `.env` of the working directory, the one beside the configuration, and the `env_file`
of a server.

Values are what they say; nothing is expanded in them, so that a password may contain `${`.
"""

import io
import os
from collections.abc import Mapping
from pathlib import Path

from gateway.config.reading.source import read_text
from gateway.errors import ConfigError


def read(path: Path, name: str | None = None) -> tuple[dict[str, str], list[str]]:
    """The variables of a file, and its lines that are not `NAME=value`, each as `file:line: what`.

    Raises:
        ConfigError: the file cannot be read.
    """
    name = name or str(path)
    return parse(read_text(path, name), name)


def parse(text: str, name: str) -> tuple[dict[str, str], list[str]]:
    """As `read`, of a text; `name` is what messages call it."""
    from dotenv.parser import parse_stream  # most configurations have no such file

    variables: dict[str, str] = {}
    faults: list[str] = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            faults.append(f"{name}:{binding.original.line}: is not NAME=value; correct or remove the line")
        elif binding.key and binding.value is not None:
            variables[binding.key] = binding.value
    return variables, faults


def optional(path: Path | None) -> tuple[dict[str, str], list[str]]:
    """The variables of a `.env` that happens to lie somewhere, and warnings.

    It may be another program's, so nothing in it is an error; `None` reads nothing.
    """
    if path is None or not os.path.isfile(path):
        return {}, []
    try:
        return read(path)
    except ConfigError as error:
        return {}, [f"{error.message}; the file is ignored"]


def beneath(environ: Mapping[str, str], *paths: Path | None) -> dict[str, str]:
    """`environ` with the variables of `.env` files beneath it; an earlier one prevails over a later."""
    variables: dict[str, str] = {}
    for path in reversed(paths):
        variables |= optional(path)[0]
    return {**variables, **environ}


def beside(configuration: Path) -> Path:
    """The `.env` that belongs to a configuration file, whether it exists or not."""
    return configuration.absolute().parent / ".env"
