"""From a file, the environment and the command line to a `Config`, or to one error that lists everything wrong.

The order of work: parse, find the servers, forget what is only other clients' business, expand variables, translate
spellings, validate. Each step knows where a value was written, so that the last can still name file and line.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError

from gateway.config import redact
from gateway.config.models import Config, OutOfOrder, ProfileConfig, ServerConfig
from gateway.config.models.fields import absolute_path
from gateway.config.models.openapi import is_url
from gateway.config.models.settings import state_home
from gateway.config.reading import advice, auth_words, entries, envfile, layers, profiles
from gateway.config.reading.entries import ServerEntry
from gateway.config.reading.expand import Expander, UnreadVariable, Unset
from gateway.config.reading.layers import Layer
from gateway.config.reading.problems import Problems, closest, details, dotted, explain, line_at
from gateway.config.reading.secret_sources import SecretSources
from gateway.config.reading.source import ConfigDocument, Place, mapping, read, sequence
from gateway.errors import ConfigError

Ask = Literal["all", "settings", "none"]
"""For which values commands are started and the keyring is asked: all, those of `gateway:` alone, or none."""

STAND_IN: Final = "https://unread.invalid"
"""What text is taken to be that was not asked for, so that the rest can be validated."""
_TEXTS: Final = frozenset({"command", "args", "env", "url", "headers", "auth", "openapi"})
"""Where `STAND_IN` can stand. What is not asked for elsewhere in an entry counts as absent."""


def load(
    path: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
    dotenv: Path | None = Path(".env"),
    strict: bool = True,
    ask: Ask = "all",
) -> Config:
    """Read and validate a configuration.

    Args:
        path: A `servers.yaml`, a client's JSON file, or a JSON list of named servers.
        environ: Environment variables; they override the file's settings and fill its `${…}`.
        overrides: Settings given on the command line, over everything else: `{"port": 9000, "auth.enabled": True}`.
            None is not given.
        dotenv: A file with more variables, beneath `environ`, and the `.env` beside `path` beneath both; neither need
            exist. None reads neither.
        strict: Whether a server that lacks a variable makes the whole unusable. Else it is `OutOfOrder`.
        ask: For which values commands are started and the keyring is asked. What is not asked for is left out, with a
            warning that says what it takes: such a configuration is to be looked at, and not to be run.

    Raises:
        ConfigError: it cannot be used. The message has one line for each problem; `files` are those that were read.
    """
    loading = _Loading(Path(path), environ, dotenv, strict, ask)
    try:
        return loading.load(overrides or {})
    except ConfigError as error:
        error.files = loading.files
        raise


class _Loading:
    """One run of `load`: what every step adds to."""

    def __init__(self, path: Path, environ: Mapping[str, str], dotenv: Path | None, strict: bool, ask: "Ask") -> None:
        self._path = path
        self._environ = environ
        self._strict = strict
        self._dotenv, self._warnings = envfile.optional(dotenv)
        beside = envfile.beside(path)
        if dotenv is None or os.path.realpath(dotenv) == os.path.realpath(beside):
            beside = None
        self._beside, more = envfile.optional(beside)
        self._warnings += more
        self._variables = {**self._beside, **self._dotenv, **environ}
        self._expander = Expander(self._variables)
        self._sources = SecretSources(path.absolute().parent, self._variables, ask=ask != "none")
        self._ask = ask
        self._refreshable: set[str] = set()
        self._problems = Problems()
        self._files: list[Path] = []
        self._beneath = [each.absolute() for each in (dotenv, beside) if each and os.path.isfile(each)]

    @property
    def files(self) -> list[Path]:
        return [*self._files, *self._beneath, *self._sources.files]

    def load(self, overrides: Mapping[str, Any]) -> Config:
        path = self._path
        document = self._read(path)
        stack = self._settings(document, overrides)
        second = self._second(document, layers.merge(stack).get("upstream_config_file"))
        gateway = layers.validate(stack, self._problems)

        found = entries.find(document, self._problems, self._warnings, required=second is None)
        if second:
            found += entries.find(second, self._problems, self._warnings)
        servers = self._servers(found)
        views = self._profiles(document, found)
        self._check_prefix(found, stack)
        self._problems.raise_if_any()

        assert gateway is not None
        if all(server.disabled for server in servers.values()):
            self._warnings.append(f"{document.name}: has no enabled server; there is nothing to offer")
        return Config(
            gateway=gateway,
            servers=servers,
            profiles=views,
            path=path.absolute(),
            files=self.files,
            warnings=self._warnings,
            secrets=redact.secrets(
                servers.values(), self._expander.used, gateway.store, self._sources.values, gateway.auth
            ),
            refreshable=frozenset(self._refreshable),
        )

    def _read(self, path: Path) -> ConfigDocument:
        self._files.append(path.absolute())
        return read(path)

    # --- The gateway's own settings -------------------------------------------------------------------------------

    def _settings(self, document: ConfigDocument, overrides: Mapping[str, Any]) -> list[Layer]:
        """The layers of the settings, lowest first."""
        written = document.written((layers.ROOT,))
        block = mapping(written)
        if written is not None and block is None:
            self._problems.add(document, (layers.ROOT,), layers.ROOT, "must be a mapping of settings to values")
        expanded = self._expander.expand(block or {}, (layers.ROOT,), self._sources_for(document))
        self._tell_unread(document)
        self._sources.ask = self._ask == "all"
        for fault in self._expander.faults:
            self._problems.add(document, fault.place, dotted(fault.place), fault.what)
        return [
            layers.from_default({"state_dir": str(state_home(self._environ))}),
            layers.from_file(document, _without_unset(expanded)),
            layers.from_environment(self._beside, ".env beside the file", self._warnings, document.folder),
            layers.from_environment(self._dotenv, ".env", self._warnings),
            layers.from_environment(self._environ, "environment", self._warnings),
            layers.from_command_line(overrides),
        ]

    def _sources_for(self, document: ConfigDocument) -> SecretSources | None:
        """Where the secrets of a file are, if it is the gateway's own: not a list of upstreams, which others may make,
        and nothing that has the form of another client's file."""
        keys = mapping(document.data) or {}
        is_ours = layers.ROOT in keys or ("servers" in keys and not document.json)
        listed = self._variables.get("GATEWAY_UPSTREAM_CONFIG_FILE")
        is_list = bool(listed) and os.path.realpath(os.path.expanduser(str(listed))) == os.path.realpath(document.name)
        is_main = document.name == str(self._path)
        return self._sources if is_ours and is_main and not is_list else None

    def _tell_unread(self, document: ConfigDocument, about: str = "", start: int = 0) -> bool:
        """Say what it takes to have the values that nobody was asked for. Returns whether there are any."""
        unread, self._expander.unread = self._expander.unread, []
        for fault in unread:
            self._warnings.append(line_at(document, fault.place, about, dotted(fault.place[start:]), fault.what))
        return bool(unread)

    def _second(self, document: ConfigDocument, path: Any) -> ConfigDocument | None:
        """The file that `upstream_config_file` names, unless it is the one being read."""
        if not isinstance(path, str) or "\0" in path or os.path.realpath(path) == os.path.realpath(document.name):
            return None
        try:
            second = self._read(Path(path))
        except ConfigError as error:
            self._problems.add_line(f"{error.message} (named by gateway.upstream_config_file)")
            return None
        if second.written((layers.ROOT,)) is not None:
            what = f"ignored; settings belong into {document.name}"
            self._warnings.append(line_at(second, (layers.ROOT,), layers.ROOT, what))
        return second

    # --- Profiles -------------------------------------------------------------------------------------------------

    def _profiles(self, document: ConfigDocument, found: list[ServerEntry]) -> dict[str, ProfileConfig]:
        written = document.written((profiles.ROOT,)) if mapping(document.data) is not None else None
        block = mapping(written)
        if written is None:
            return {}
        if block is None:
            what = "must be a mapping of names to profiles"
            self._problems.add(document, (profiles.ROOT,), profiles.ROOT, what)
            return {}
        before = len(self._expander.faults)
        expanded = self._expander.expand(block, (profiles.ROOT,), None)
        for fault in self._expander.faults[before:]:
            self._problems.add(document, fault.place, dotted(fault.place), fault.what)
        return profiles.read(document, _without_unset(expanded), found, self._problems)

    # --- Servers --------------------------------------------------------------------------------------------------

    def _servers(self, found: list[ServerEntry]) -> dict[str, ServerConfig]:
        first: dict[str, ServerEntry] = {}
        servers: dict[str, ServerConfig] = {}
        for entry in found:
            if entry.name in first:
                other = first[entry.name]
                where = f"{other.document.name}:{other.document.line(other.place)}"
                self._report(entry, (), f"is already at {where}; rename one of the two")
                continue
            first[entry.name] = entry
            if server := self._server(entry):
                servers[entry.name] = server
        return servers

    def _server(self, entry: ServerEntry) -> ServerConfig | None:
        entries.drop_foreign(entry, self._warnings)
        lacking = self._expand(entry)
        if entry.document.json:
            self._drop_unknown(entry)
        values = dict(entry.values)
        lacking += self._settle_paths(entry, values)
        if lacking:
            values["disabled"] = True  # report what else is wrong, but not what follows from what is missing
        try:
            server = ServerConfig.model_validate(values)
        except ValidationError as error:
            self._explain(entry, error)
            return None
        if lacking:
            return OutOfOrder.of(server, "; ".join(lacking))
        for place, what in advice.look_at(entry.values, server):
            self._warnings.append(line_at(entry.document, entry.origin(place), entry.about, entry.label(place), what))
        return server

    def _expand(self, entry: ServerEntry) -> list[str]:
        """Expand and translate the entry; returns what it lacks."""
        before, uses = len(self._expander.faults), self._sources.uses
        sources = None if entries.is_written_disabled(entry) else self._sources_for(entry.document)
        entry.values = self._expander.expand(entry.values, entry.place, sources)
        faults = self._expander.faults[before:]
        if self._sources.uses > uses:
            self._refreshable.add(entry.name)
        is_unread = self._tell_unread(entry.document, entry.about, len(entry.place))
        entries.canonical(entry, self._problems)
        auth_words.translate(entry, self._warnings)
        if is_unread:
            entry.values = _without_unset({key: _stood_in(key, value) for key, value in entry.values.items()})
        if not faults:
            return []
        entry.values = _without_unset(entry.values, keep=("command", "url"))
        if entries.is_disabled(entry):
            return []
        return [
            self._lacks(entry, fault.place, dotted(fault.place[len(entry.place) :]), fault.what) for fault in faults
        ]

    def _lacks(self, entry: ServerEntry, place: Place, field: str, what: str) -> str:
        """The server lacks something of its environment, which is no mistake in the file; `place` is the document's."""
        if self._strict:
            self._problems.add(entry.document, place, entry.about, field, what)
        else:
            self._warnings.append(
                line_at(entry.document, place, entry.about, field, f"{what}; until then the server is out of order")
            )
        return f"{field}: {what}"

    def _drop_unknown(self, entry: ServerEntry) -> None:
        """A JSON file may be a client's own, with keys of its own: they are worth a warning, not a refusal."""
        known = _server_keys()
        for key in [key for key in entry.values if key not in ServerConfig.model_fields]:
            del entry.values[key]
            hint = f"; did you mean {meant!r}?" if (meant := closest(key, known)) else ""
            self._warnings.append(
                line_at(entry.document, (*entry.place, key), entry.about, key, f"ignored, not a key of ours{hint}")
            )

    def _settle_paths(self, entry: ServerEntry, values: dict[str, Any]) -> list[str]:
        """Make paths absolute, and put the variables of `env_file` beneath `env`; returns what is lacking."""
        for key in ("cwd", "env_file"):
            if values.get(key) == "":  # as `${NAME:-}` leaves it
                del values[key]
            elif isinstance(values.get(key), str):
                values[key] = absolute_path(values[key], entry.document.folder)
        if "openapi" in values:
            values["openapi"] = _absolute_document(values["openapi"], entry.document.folder)
        if "auth" in values:
            values["auth"] = _absolute(values["auth"], entry.document.folder)
        env, path = mapping(values.get("env", {})), values.get("env_file")
        if not isinstance(path, str) or env is None or entries.is_disabled(entry):
            return []
        self._files.append(Path(path))
        place = ("env_file",)
        try:
            variables, faults = envfile.read(Path(path))
        except ConfigError as error:
            return [self._lacks(entry, entry.origin(place), entry.label(place), error.message)]
        for fault in faults:
            self._report(entry, place, fault)
        values["env"] = {**variables, **env}
        return []

    def _explain(self, entry: ServerEntry, error: ValidationError) -> None:
        for each in details(error):
            place = tuple(step for step in each["loc"] if step != "[key]")
            written = entry.document.written(entry.origin(place))
            self._report(entry, place, explain(each, ServerConfig, written, _server_keys()))

    def _report(self, entry: ServerEntry, place: Place, what: str) -> None:
        self._problems.add(entry.document, entry.origin(place), entry.about, entry.label(place), what)

    def _check_prefix(self, found: list[ServerEntry], stack: list[Layer]) -> None:
        enabled = [entry for entry in found if not entries.is_disabled(entry)]
        if len(enabled) < 2:
            return
        what = f"allows one enabled server, and there are {len(enabled)}; remove it, or disable the others"
        if layers.merge(stack).get("prefix") == "none":
            layers.owner(stack, ("prefix",)).report(self._problems, ("prefix",), f"none {what}")
        for entry in enabled:
            if entry.values.get("prefix") == "none":
                self._report(entry, ("prefix",), f"none {what}")


def _absolute(value: Any, folder: Path) -> Any:
    """A copy in which all that is called `…_file` is absolute."""
    if (items := mapping(value)) is None:
        return value
    return {
        key: absolute_path(item, folder)
        if isinstance(item, str) and str(key).endswith("_file")
        else _absolute(item, folder)
        for key, item in items.items()
    }


def _absolute_document(value: Any, folder: Path) -> Any:
    """`openapi`, with the document's file absolute."""
    if isinstance(value, str):
        return value if is_url(value) or not value else absolute_path(value, folder)
    items = mapping(value)
    if items is None or not isinstance(items.get("document"), str):
        return value
    return {**items, "document": _absolute_document(items["document"], folder)}


def _stood_in(key: str, value: Any) -> Any:
    """A copy of a value of an entry, with `STAND_IN` for what was not asked for where that is text."""
    if isinstance(value, UnreadVariable) and key in _TEXTS:
        return STAND_IN
    if (items := mapping(value)) is not None:
        return {name: _stood_in(key, item) for name, item in items.items()}
    if (elements := sequence(value)) is not None:
        return [_stood_in(key, item) for item in elements]
    return value


def _server_keys() -> set[str]:
    return {*ServerConfig.model_fields, *entries.ALIASES}


def _without_unset(value: Any, keep: tuple[str, ...] = ()) -> Any:
    """A copy without the values that could not be expanded; text under the keys in `keep` stays as it was written."""
    if (items := mapping(value)) is not None:
        return {key: _without_unset(item) for key, item in items.items() if key in keep or not isinstance(item, Unset)}
    if (elements := sequence(value)) is not None:
        return [_without_unset(item) for item in elements if not isinstance(item, Unset)]
    return value
