"""What of JSON Schema each model's API takes, as one table a dialect, with where that is said.

What a table says is what the API's own documentation says, or what it answers where that is silent.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_FOR_PEOPLE: Final = frozenset({"description", "title"})
_NO_FORMATS: Final[Mapping[str, frozenset[str]]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class SchemaDialect:
    """One API's; equal only to itself. Which fields count, depends on `keywords`: with None, only the top of a schema
    has to be another."""

    name: str
    sources: tuple[str, ...]
    argument: re.Pattern[str] | None = None
    """What the names of a tool's arguments must match."""
    not_on_top: frozenset[str] = frozenset()
    """Keywords that the schema itself must not have, though those within it may."""
    needs_items: bool = False
    """Whether an array without `items` is refused."""

    keywords: frozenset[str] | None = None
    """All that there may be: no `$ref`, a type everywhere, and no object without properties."""
    formats: Mapping[str, frozenset[str]] = field(default_factory=lambda: _NO_FORMATS)
    """Type → what its `format` may be."""
    null_is_flag: bool = False
    """Whether null is allowed by `nullable: true`, as in OpenAPI 3.0."""
    enum_of_text: bool = False
    """Whether only text can be listed in an `enum`."""
    closed: bool = False
    """Whether all properties are required, and no others allowed."""
    max_levels: int = 24
    """Of objects inside one another."""
    max_values: int = 1_000
    """In one `enum`."""


GEMINI: Final = SchemaDialect(
    "gemini",
    (
        "https://ai.google.dev/api/caching#Schema",
        "https://ai.google.dev/api/caching#FunctionDeclaration",
        "https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1beta1/FunctionDeclaration",
        # "format: only 'enum' and 'date-time' are supported for STRING type": google-gemini/gemini-cli#3178
        # "enum: only allowed for STRING type": directus/directus#27100
        # "When using any_of, it must be the only field set": lambda-alpha-labs/Graphenium#37
        # "type: Proto field is not repeating, cannot start list": aoci-spec/aoci-code#61
        # "type: must be specified when not using one_of, any_of or all_of fields": danny-avila/LibreChat#6971
    ),
    argument=re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}"),
    needs_items=True,
    keywords=_FOR_PEOPLE
    | {"type", "format", "nullable", "enum", "items", "maxItems", "minItems", "properties", "required", "default"}
    | {"minProperties", "maxProperties", "minimum", "maximum", "minLength", "maxLength", "pattern", "anyOf"},
    formats={
        "string": frozenset({"date-time"}),
        "number": frozenset({"float", "double"}),
        "integer": frozenset({"int32", "int64"}),
    },
    null_is_flag=True,
    enum_of_text=True,
)
"""`parameters` of a function declaration. Newer models also take `parametersJsonSchema`, if a client sends that."""

OPENAI: Final = SchemaDialect(
    "openai",
    (
        "https://platform.openai.com/docs/guides/function-calling",
        # "must have type 'object' and not have 'oneOf'/'anyOf'/'allOf'/'enum'/'const'/'not' at the top level":
        # langchain-ai/langchainjs#9804, goruck/home-generative-agent#545
        # "array schema missing items": modelcontextprotocol/modelcontextprotocol#410
    ),
    not_on_top=frozenset({"oneOf", "anyOf", "allOf", "enum", "const", "not"}),
    needs_items=True,
)
"""Functions without `strict`."""

OPENAI_STRICT: Final = SchemaDialect(
    "openai-strict",
    ("https://platform.openai.com/docs/guides/structured-outputs#supported-schemas",),
    needs_items=True,
    keywords=_FOR_PEOPLE
    | {"type", "format", "enum", "items", "maxItems", "minItems", "properties", "required", "additionalProperties"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern", "anyOf"},
    formats={
        "string": frozenset(
            {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"},
        )
    },
    closed=True,
    max_levels=10,
    max_values=250,
)
"""Functions with `strict: true`, whose arguments always fit."""

ANTHROPIC: Final = SchemaDialect(
    "anthropic",
    (
        "https://platform.claude.com/docs/en/agents-and-tools/tool-use/overview",
        # "input_schema does not support oneOf, allOf, or anyOf at the top level": anthropics/claude-code#40075
        # the pattern that its error "Property keys should match pattern" names: magemaclean/azure-devops-mcp
        # "JSON schema is invalid. It must match JSON Schema draft 2020-12"
    ),
    argument=re.compile(r"[A-Za-z0-9_.-]{1,64}"),
    not_on_top=frozenset({"oneOf", "anyOf", "allOf"}),
)
"""`input_schema` of a tool."""

DIALECTS: Final[Mapping[str, SchemaDialect]] = {each.name: each for each in (GEMINI, OPENAI, OPENAI_STRICT, ANTHROPIC)}
