"""Takes secrets out of a server's entry: what stood there literally becomes `${VARIABLE}`, and is listed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.cli.importer.foreign import variable
from gateway.config.reading.source import mapping

_TELLING: Final = re.compile(
    r"key|token|secret|passw|pwd|credential|auth|cookie|session|(^|_|-)pat($|_|-)", re.IGNORECASE
)
_HARMLESS: Final = re.compile(
    r"(^|_)(file|path|dir|url|uri|host|port|endpoint|region|mode|type|enabled)$", re.IGNORECASE
)
"""`GOOGLE_CREDENTIALS_FILE` says where a secret is, and is none."""
_LOOKS_SECRET: Final = re.compile(
    r"(gh[pousr]_|github_pat_|glpat-|sk-|sk_|pk_|rk_|xox[abposr]-|xapp-|AKIA|AIza|ntn_|secret_|hf_|eyJ)[\w.-]{12,}"
)
"""How tokens of well-known services begin."""
_SCHEME: Final = re.compile(r"((?:Bearer|Basic|Token|ApiKey)\s+)(.+)", re.IGNORECASE)
_ARGUMENT: Final = re.compile(r"--?[\w-]*(key|token|secret|password)(=.+)?$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that has to be set from now on."""

    name: str
    server: str
    place: str
    """The field that uses it."""
    value: str = field(default="", repr=False)


class SecretExtractor:
    """Remembers which variable stands for which secret, over all entries of one import.

    Args:
        known: variables that are set already; one that holds something else is not taken.
    """

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._values: dict[str, str] = dict(known or {})

    def apply(self, server: str, values: dict[str, Any]) -> tuple[dict[str, Any], list[Variable]]:
        """A copy of `values` without literal secrets in `env` and `headers`."""
        copy = dict(values)
        variables: list[Variable] = []
        for group in ("env", "headers"):
            items = dict(mapping(values.get(group)) or {})
            for key, value in items.items():
                text = value if isinstance(value, str) else ""
                if not is_secret(key, text):
                    continue
                head, secret = _split(text) if group == "headers" else ("", text)
                name = self._name(server, group, key, secret)
                items[key] = f"{head}${{{name}}}"
                variables.append(Variable(name, server, f"{group}.{key}", secret))
            if items:
                copy[group] = items
        return copy, variables

    def _name(self, server: str, group: str, key: str, secret: str) -> str:
        wanted = variable(key) if group == "env" else variable(server, _noun(key))
        names = (wanted, variable(server, wanted), *(variable(server, wanted, str(n)) for n in range(2, 100)))
        candidates = (f"MCP_{name}" if name.startswith("GATEWAY_") else name for name in names)  # no setting of ours
        name = next(name for name in candidates if self._values.get(name, secret) == secret)
        self._values[name] = secret
        return name


def is_secret(key: str, value: str) -> bool:
    """Whether a literal value is better not written down."""
    if not value or "${" in value:
        return False
    return bool(_LOOKS_SECRET.search(value) or (_TELLING.search(key) and not _HARMLESS.search(key)))


def exposed(values: dict[str, Any]) -> Iterator[str]:
    """Where else a secret seems to stand: places that are left as they are."""
    args: list[Any] = values.get("args") or []
    for index, word in enumerate(args):
        text = str(word)
        flag = _ARGUMENT.match(text)
        following = str(args[index + 1]) if index + 1 < len(args) else ""
        given = flag[2] if flag and flag[2] else following if flag else ""
        if (given and "${" not in given) or _LOOKS_SECRET.search(text):
            yield "args"
            break
    query = str(values.get("url") or "").partition("?")[2]
    if any(is_secret(*pair.partition("=")[::2]) for pair in query.split("&")):
        yield "url"


def _split(header: str) -> tuple[str, str]:
    """A header's value as its scheme, with the blank after it, and the secret."""
    match = _SCHEME.fullmatch(header)
    return (match[1], match[2]) if match else ("", header)


def _noun(header: str) -> str:
    return "TOKEN" if header.lower() == "authorization" else re.sub(r"^x-", "", header, flags=re.IGNORECASE)
