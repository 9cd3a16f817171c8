"""Reads the servers out of another client's configuration and puts each into our own words.

What the client's words mean is known here and in `dialects`: milliseconds, `$NAME`, `${input:x}`, `${workspaceFolder}`.
"""

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from gateway.cli.importer import dialects
from gateway.config.models.server import TRANSPORTS, ServerConfig
from gateway.config.reading import entries
from gateway.config.reading.entries import ServerEntry
from gateway.config.reading.expand import Expander
from gateway.config.reading.problems import Problems, details, explain
from gateway.config.reading.secret_sources import SCHEMES
from gateway.config.reading.source import ConfigDocument, Place, mapping, read, read_text, sequence
from gateway.errors import ConfigError

PROJECT_FOLDERS: Final = (".vscode", ".cursor", ".gemini", ".claude", ".roo", ".codex", ".zed", ".opencode", ".github")
"""Folders in a project that hold a client's file: what is relative in it is relative to the project."""
ORDER: Final = ("command", "args", "env", "env_file", "cwd", "type", "url", "headers", "tools", "timeout")
"""How an entry is written down; other keys follow."""
STAND_IN: Final = "http://unset.invalid"
_GEMINI_KEYS: Final = frozenset({"httpUrl", "trust", "includeTools", "excludeTools"})
_INPUT: Final = re.compile(r"\$\{input:([^}]*)\}")
_SECRET: Final = re.compile(r"\$\{(" + "|".join(SCHEMES) + "):")
_BARE: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_REFERENCE: Final = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(\}|:-)")


@dataclass(slots=True)
class Foreign:
    """One server of another client."""

    name: str
    values: dict[str, Any]
    """Our keys, in `ORDER`; text as it is to be written, variables not expanded."""
    notes: list[str] = field(default_factory=list[str])
    """What was changed or left out."""
    prompts: dict[str, str] = field(default_factory=dict[str, str])
    """Variable → what the client would have asked a person for it."""
    fault: str = ""
    """Why nothing can be made of it."""


def read_servers(path: Path) -> list[Foreign]:
    """Every server in the file, in its order.

    Raises:
        ConfigError: it cannot be read, or there are none in it.
    """
    document = _read(path)
    found = [ServerEntry(name, document, place, values) for name, place, values in dialects.find(document)]
    if not found:
        raise ConfigError(f"{path}: no servers in it: {_why_none(document)}")
    is_gemini = path.absolute().parent.name == ".gemini" or any(_GEMINI_KEYS & set(entry.values) for entry in found)
    unit = dialects.MILLISECONDS if is_gemini else dialects.unit_of_timeout(document, [entry.values for entry in found])
    translation = _Translation(document, is_gemini, unit)
    return [translation.of(entry) for entry in found]


def _read(path: Path) -> ConfigDocument:
    """As `config.source.read`; TOML as well, in which Codex writes."""
    if path.suffix.lower() != ".toml":
        return read(path)
    try:
        data = tomllib.loads(read_text(path, str(path)))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return ConfigDocument(str(path), _as_text(data), {}, json=True)


def _as_text(value: Any) -> Any:
    """Numbers as they would have been read from JSON."""
    if (items := mapping(value)) is not None:
        return {key: _as_text(item) for key, item in items.items()}
    if (elements := sequence(value)) is not None:
        return [_as_text(item) for item in elements]
    return value if isinstance(value, bool) else str(value)


def _why_none(document: ConfigDocument) -> str:
    if roots := dialects.roots_in(document):
        return f"its `{roots[0]}` is empty"
    keys = ", ".join(list(mapping(document.data) or {})[:5])
    return "neither `mcpServers` nor `servers`" + (f"; it has {keys}" if keys else "")


class _Translation:
    """How one file's entries are to be read."""

    def __init__(self, document: ConfigDocument, is_gemini: bool, unit: str) -> None:
        self._is_gemini = is_gemini
        self._unit = unit
        parent = Path(document.name).absolute().parent
        self._is_project = parent.name in PROJECT_FOLDERS and parent.parent != Path.home()
        self._base = parent.parent if self._is_project else parent
        asked = (mapping(item) or {} for place in (("inputs",), ("mcp", "inputs")) for item in _list(document, place))
        self._inputs = {str(item.get("id")): str(item.get("description") or "") for item in asked}

    def of(self, entry: ServerEntry) -> Foreign:
        foreign = Foreign(_valid_name(entry.name), {})
        if foreign.name != entry.name:
            foreign.notes.append(f"was called {entry.name!r}, which cannot be a name here")
        if "httpUrl" in entry.values:
            entry.values.pop("url", None)  # the client prefers it, too
        entries.drop_foreign(entry, [])
        problems = Problems()
        entries.canonical(entry, problems)
        values = {key: value for key, value in entry.values.items() if key in ServerConfig.model_fields}
        if unknown := sorted(entry.values.keys() - values.keys()):
            foreign.notes.append(f"left out, for nothing here corresponds to it: {', '.join(unknown)}")
        values = {key: self._text(_without_none(value), foreign) for key, value in values.items()}
        self._settle(values, foreign)
        values = {key: _harmless(value, foreign) for key, value in values.items()}
        foreign.values = {
            key: values[key] for key in (*ORDER, *values) if key in values and values[key] not in ({}, [])
        }
        try:
            problems.raise_if_any()
            validate(foreign.values)
        except ConfigError as error:
            foreign.fault = error.message
        return foreign

    def _settle(self, values: dict[str, Any], foreign: Foreign) -> None:
        """The keys whose meaning differs."""
        kind = TRANSPORTS.get(str(values.get("type")))
        if kind == "sse":
            values["type"] = kind
        elif kind is not None and ("url" in values) == (kind == "http"):
            del values["type"]  # inferred
        if tools := mapping(values.get("tools")):
            values["tools"] = {key: rule for key, rule in tools.items() if not (key == "allow" and rule == ["*"])}
        if "timeout" in values:
            values["timeout"] = self._timeout(str(values["timeout"]), foreign)
        for key in ("cwd", "env_file"):
            path = values.get(key)
            if isinstance(path, str) and not path.startswith(("~", "$")):
                values[key] = str(self._base / path)
        if (path := values.get("env_file")) and "$" not in path and not Path(path).expanduser().is_file():
            foreign.notes.append(f"left out, for there is no such file: env_file {values.pop('env_file')}")
        disabled = str(values.pop("disabled", "")).lower() == "true"
        if disabled:
            foreign.notes.append("is disabled, as it was")
        if unknown := _unexpandable(values):
            foreign.notes.append(f"disabled for now: {unknown}; then remove `disabled`")
            disabled = True
        if disabled:
            values["disabled"] = True

    def _timeout(self, given: str, foreign: Foreign) -> str:
        is_long = given.isdecimal() and int(given) >= (
            dialects.LONGEST_SECONDS + 1 if self._unit == dialects.SECONDS else 1000
        )
        if not given.isdecimal() or not (is_long or self._unit == dialects.MILLISECONDS):
            return given
        ours = f"{int(given) // 1000}s" if int(given) % 1000 == 0 else f"{given}ms"
        foreign.notes.append(f"timeout {given} taken as milliseconds: {ours}")
        return ours

    # --- Variables ------------------------------------------------------------------------------------------------

    def _text(self, value: Any, foreign: Foreign) -> Any:
        """`value` with the client's variables written as ours."""
        if isinstance(value, str):
            return self._variables(value, foreign)
        if (items := mapping(value)) is not None:
            return {key: self._text(item, foreign) for key, item in items.items()}
        if (elements := sequence(value)) is not None:
            return [self._text(item, foreign) for item in elements]
        return value

    def _variables(self, text: str, foreign: Foreign) -> str:
        def asked(match: re.Match[str]) -> str:
            name = variable(match[1])
            foreign.prompts[name] = self._inputs.get(match[1], "")
            foreign.notes.append(f"{match[0]} became ${{{name}}}: nobody can be asked here")
            return f"${{{name}}}"

        text = _INPUT.sub(asked, text)
        text = text.replace("${userHome}", "${HOME}").replace("${pathSeparator}", "/").replace("${/}", "/")
        if self._is_project:
            text = text.replace("${workspaceFolder}", str(self._base))
            text = text.replace("${workspaceFolderBasename}", self._base.name)
        return _BARE.sub(r"${\1}", text) if self._is_gemini else text


def _harmless(value: Any, foreign: Foreign) -> Any:
    """`value` without references to secrets: what others wrote starts no program and reads no file here."""
    if isinstance(value, str):
        for scheme in dict.fromkeys(_SECRET.findall(value)):
            foreign.notes.append(f"${{{scheme}:…}} is left as text: it would make a gateway run or read something")
        return _SECRET.sub(r"$${\1:", value)
    if (items := mapping(value)) is not None:
        return {key: _harmless(item, foreign) for key, item in items.items()}
    if (elements := sequence(value)) is not None:
        return [_harmless(item, foreign) for item in elements]
    return value


def variable(*parts: str) -> str:
    """A name for an environment variable, made of other names."""
    name = "_".join(filter(None, (re.sub(r"[^A-Za-z0-9]+", "_", part).strip("_") for part in parts))).upper()
    return f"_{name}" if name[:1].isdigit() else name or "VALUE"


def references(value: Any) -> dict[str, bool]:
    """The variables that occur in a value, and whether each has to be set, for want of a default."""
    if isinstance(value, str):
        return {name: end == "}" for name, end in _REFERENCE.findall(value)}
    found: dict[str, bool] = {}
    for item in [*(mapping(value) or {}).values(), *(sequence(value) or [])]:
        for name, needed in references(item).items():
            found[name] = needed or found.get(name, False)
    return found


def _expanded(values: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """As if every variable were set, and what even then cannot be expanded."""
    expander = Expander({name: STAND_IN for name in references(values) if _can_be_set(name)})
    return expander.expand(values, ()), [fault.what for fault in expander.faults]


def _can_be_set(name: str) -> bool:
    """Whether it is a variable of the environment, and not one that only editors know."""
    expander = Expander({})
    expander.expand(f"${{{name}}}", ())
    return all("is not set" in fault.what for fault in expander.faults)


def _unexpandable(values: dict[str, Any]) -> str:
    return "; ".join(dict.fromkeys(_expanded(values)[1]))


def validate(values: dict[str, Any]) -> None:
    """
    Raises:
        ConfigError: an entry of ours is not valid, whatever its variables are set to.
    """
    expanded, _ = _expanded(values)
    try:
        ServerConfig.model_validate(expanded)
    except ValidationError as error:
        found = (explain(each, ServerConfig, None) for each in details(error))
        places = (".".join(map(str, each["loc"])) for each in details(error))
        both = zip(places, found, strict=True)
        raise ConfigError("; ".join(f"{place}: {what}" if place else what for place, what in both)) from None


def _valid_name(name: str) -> str:
    return re.sub(r"[^\w.+@: ()-]+", "-", name.replace("/", "-")).strip("-") or "server"


def _without_none(value: Any) -> Any:
    if (items := mapping(value)) is not None:
        return {key: item for key, item in items.items() if item is not None}
    return value


def _list(document: ConfigDocument, place: Place) -> list[Any]:
    return sequence(document.written(place)) or []
