"""The JSON Schema of the configuration file, for editors: generated from the models, widened to what files may say.

A file may say more than a `Config` holds: other clients' names for keys, and `${VAR}` where a number will be. The
schema is draft 7, which every editor knows.
"""

import ast
import inspect
import json
from itertools import pairwise
from types import ModuleType
from typing import Any, Final

from pydantic import BaseModel

from gateway.config import models
from gateway.config.models import access, auth, openapi, profiles, results, server, settings, telemetry
from gateway.config.reading import entries
from gateway.config.reading.source import Place

Schema = dict[str, Any]

_VARIABLE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}
_NARROW: Final = ("integer", "number", "boolean")
_NOISE: Final = frozenset({"title", "format"})


def json_schema() -> Schema:
    """The schema of a whole file."""
    definitions: Schema = {
        "GatewaySettings": _of(models.GatewaySettings),
        "ServerConfig": _server(),
        "ProfileConfig": _profile(),
    }
    for definition in list(definitions.values()):
        definitions |= definition.pop("$defs", {})
    definitions["NamedServer"] = _named(definitions["ServerConfig"])
    servers: Schema = {
        "description": "The upstream servers by name; or a list of them, with a `name` in each.",
        "type": ["object", "array", "null"],
        "additionalProperties": {"$ref": "#/definitions/ServerConfig"},
        "items": {"$ref": "#/definitions/NamedServer"},
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "mcp-gateway configuration",
        "description": "servers.yaml: the servers behind the gateway, and the gateway's own settings.",
        "type": ["object", "array"],
        "properties": {
            "gateway": {"$ref": "#/definitions/GatewaySettings"},
            "servers": servers,
            "profiles": {
                "description": "Views of some of the servers' tools, by name; each is served at /mcp/NAME.",
                "type": ["object", "null"],
                "additionalProperties": {"$ref": "#/definitions/ProfileConfig"},
            },
            "mcpServers": {**servers, "description": "Other clients' name for `servers`."},
        },
        "items": {"$ref": "#/definitions/NamedServer"},
        "anyOf": [
            {"type": "array"},
            {"required": ["servers"]},
            {"required": ["mcpServers"]},
            {"required": ["gateway"], "properties": {"gateway": {"required": ["upstream_config_file"]}}},
        ],
        "definitions": definitions,
    }


def render() -> str:
    """The schema as the text of a file: `docs/servers.schema.json`."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _of(model: type[BaseModel]) -> Schema:
    return _widened(_described(model.model_json_schema(ref_template="#/definitions/{model}")))


def _server() -> Schema:
    schema = _of(models.ServerConfig)
    properties: Schema = schema["properties"]
    properties["type"]["anyOf"][0]["enum"] = [*server.TRANSPORTS]
    del properties["type"]["default"], properties["fallback_sse"]["default"]  # they are inferred
    rules = properties["tools"]
    properties["tools"] = {
        "description": rules.pop("description"),
        "anyOf": [rules, schema["$defs"]["ToolRules"]["properties"]["allow"]],
    }
    api = properties["openapi"]
    properties["openapi"] = {"description": api.pop("description"), "anyOf": [api, {"type": "string"}]}
    fitting = properties["results"]
    limit = schema["$defs"]["ResultsConfig"]["properties"]["max_tokens"]
    properties["results"] = {
        "description": fitting.pop("description"),
        "anyOf": [fitting, {key: value for key, value in limit.items() if key != "description"}],
    }
    proof = properties["auth"]
    properties["auth"] = {
        "description": proof.pop("description"),
        "anyOf": [proof, {"enum": ["auto", "none", "shared", "each"]}, dict(_VARIABLE)],
    }
    for alias, place in entries.ALIASES.items():
        properties[alias] = _alias(schema, place)
    properties["enabled"]["description"] = "The opposite of `disabled`."
    properties["upstream_token"]["description"] = "Sent as `Authorization: Bearer …`."
    for key in sorted(entries.FOREIGN):
        properties[key] = {"description": "Another client's setting; ignored, with a warning."}
    ways_in = ("command", "url", "openapi", "httpUrl", "serverUrl", "disabled", "enabled")
    schema["anyOf"] = [{"required": [key]} for key in ways_in]
    return schema


def _profile() -> Schema:
    schema = _of(models.ProfileConfig)
    properties: Schema = schema["properties"]
    for name in ("tools", "prompts", "resources"):
        rules = properties[name]
        allow = schema["$defs"]["UriRules"]["properties"]["allow"]
        properties[name] = {"description": rules.pop("description"), "anyOf": [rules, allow]}
    return schema


def _alias(schema: Schema, place: Place) -> Schema:
    if place[0] == "headers":
        return {"type": "string"}
    target: Schema = schema["properties"][place[0]]
    if len(place) == 2:
        target = schema["$defs"]["ToolRules"]["properties"][place[1]]
    shape = {key: value for key, value in target.items() if key != "default"}
    return {**shape, "description": f"Other clients' name for `{'.'.join(map(str, place))}`."}


def _named(entry: Schema) -> Schema:
    name = {"type": "string", "minLength": 1, "description": "The server's name."}
    return {**entry, "properties": {**entry["properties"], "name": name}, "required": ["name"]}


# --- From pydantic's schema to one for files ----------------------------------------------------------------------


def _widened(schema: Schema) -> Schema:
    """Without nulls and titles; and wherever a number, a boolean or a choice is due, a variable will do."""
    wide = {key: value for key, value in schema.items() if key not in _NOISE}
    for option in wide.pop("anyOf", []):  # pydantic's way to say `X | None`
        if option != {"type": "null"}:
            wide |= {key: value for key, value in option.items() if key not in _NOISE}
    if wide.get("default", ...) in (None, [], {}) or isinstance(wide.get("default"), dict):
        del wide["default"]
    if "$ref" in wide:  # draft 7 sees nothing beside a $ref
        wide["allOf"] = [{"$ref": wide.pop("$ref")}]
    for key in ("properties", "$defs"):
        if key in wide:
            wide[key] = {name: _widened(part) for name, part in wide[key].items()}
    for key in ("items", "additionalProperties"):
        if wide.get(key):
            wide[key] = _widened(wide[key])
    return _or_variable(wide) if wide.get("type") in _NARROW or "enum" in wide or "const" in wide else wide


def _or_variable(schema: Schema) -> Schema:
    outside = {key: schema[key] for key in ("description", "default") if key in schema}
    inside = {key: value for key, value in schema.items() if key not in outside}
    return {**outside, "anyOf": [inside, dict(_VARIABLE)]}


# --- Descriptions -------------------------------------------------------------------------------------------------


def _described(schema: Schema) -> Schema:
    """Put the string under each field of a model into the schema."""
    documented = {
        **_strings_below(server),
        **_strings_below(auth),
        **_strings_below(openapi),
        **_strings_below(settings),
        **_strings_below(access),
        **_strings_below(telemetry),
        **_strings_below(profiles),
        **_strings_below(results),
    }
    for title, part in {**schema.get("$defs", {}), schema["title"]: schema}.items():
        for name, description in documented[title].items():
            part["properties"][name.rstrip("_")]["description"] = description
    return schema


def _strings_below(module: ModuleType) -> dict[str, dict[str, str]]:
    """Class → field → the string that stands under it in the source, there or in a class above it that it inherits."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.ClassDef):
            bases = [found.get(base.id, {}) for base in node.bases if isinstance(base, ast.Name)]
            found[node.name] = {name: text for fields in (*bases, _fields(node)) for name, text in fields.items()}
    return found


def _fields(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, below in pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(below, ast.Expr):
            found[field.target.id] = str(ast.literal_eval(below.value))
    return found
