"""The tools of public servers: each API takes all of them once they are adapted, and the way back is right."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gateway.dialects.adapting import adapt
from gateway.dialects.dialect import DIALECTS
from gateway.dialects.restoring import restored
from tests.dialects.apis import APIS
from tests.dialects.measure import collected

REFUSED = {"gemini": 451, "openai": 1, "openai-strict": 574, "anthropic": 0}
"""Of 647, as they are."""


@pytest.mark.parametrize("name", APIS)
def test_each_api_takes_what_was_adapted_to_it(name: str) -> None:
    refuses = APIS[name]
    schemas = collected()
    refused = 0
    for schema in schemas:
        made, is_refused = adapt(schema, DIALECTS[name]), any(True for _ in refuses(schema))
        refused += is_refused
        assert made.schema is not None, made.reason
        if name in ("openai", "anthropic"):
            assert (made.schema is schema) != is_refused, "what is taken as it is, stays so"
        if made.schema is not schema:
            assert not list(refuses(made.schema)), schema
    assert refused == REFUSED[name]


@pytest.mark.parametrize("name", ["gemini", "openai-strict"])
def test_what_fits_the_adapted_schema_fits_the_servers_own_when_it_gets_there(name: str) -> None:
    for schema in collected():
        made = adapt(schema, DIALECTS[name])
        assert made.schema is not None
        given = restored(fitting(made.schema), made.restore)
        kinds = ("type", "enum", "const", "required", "additionalProperties")
        validator: Any = Draft202012Validator(schema)
        errors = [each for each in validator.iter_errors(given) if each.validator in kinds]
        assert not errors, (errors, schema)


def fitting(schema: dict[str, Any]) -> Any:
    """A value that fits an adapted schema, with everything in it that there may be."""
    if "anyOf" in schema:
        return fitting(schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    kinds = schema["type"]
    kind: str = kinds if isinstance(kinds, str) else kinds[0]
    match kind:
        case "object":
            return {name: fitting(each) for name, each in schema["properties"].items()}
        case "array":
            return [fitting(schema["items"])] * max(1, schema.get("minItems", 1))
        case "integer" | "number":
            return schema.get("minimum", min(schema.get("maximum", 1), 1))
        case "boolean":
            return True
        case _:
            return "{}" if "JSON object, as text" in schema.get("description", "") else "[]"
