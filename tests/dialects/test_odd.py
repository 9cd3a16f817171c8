"""Schemas that nobody would write: whatever a server lists, what is shown is taken, and arguments find their way."""

import random
from contextlib import suppress
from typing import Any, Final, cast

import pytest

from gateway.dialects.adapting import adapt
from gateway.dialects.dialect import DIALECTS
from gateway.dialects.restoring import restored
from gateway.errors import InvalidParams
from tests.dialects.apis import APIS

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")
NAMES: Final = ("a", "b", "c-d", "1e", "e e")
VALUES: Final[tuple[Any, ...]] = (None, True, 0, 1.5, "", "x", "y", [1], {"a": 1}, -3, "{}", '"q"', "[")


def schema_of(chance: random.Random, depth: int) -> Any:
    """Any schema, or what is nearly one."""
    if depth <= 0 or chance.random() < 0.05:
        return chance.choice([True, False, {}, {"type": chance.choice(TYPES)}])

    def inner() -> Any:
        return schema_of(chance, depth - 1)

    def some(most: int = 3) -> list[Any]:
        return [inner() for _ in range(chance.randint(1, most))]

    def named() -> dict[str, Any]:
        return {name: inner() for name in chance.sample(NAMES, chance.randint(1, 3))}

    makers: dict[str, Any] = {
        "type": lambda: chance.choice(TYPES) if chance.random() < 0.7 else chance.sample(TYPES, chance.randint(1, 4)),
        **dict.fromkeys(
            ("format", "pattern", "description", "title"), lambda: chance.choice(["uri", "date-time", "x"])
        ),
        "enum": lambda: [chance.choice(VALUES) for _ in range(chance.randint(0, 4))],
        **dict.fromkeys(("const", "default"), lambda: chance.choice(VALUES)),
        **dict.fromkeys(("items", "not", "if", "additionalProperties", "propertyNames"), inner),
        **dict.fromkeys(("prefixItems", "anyOf", "oneOf", "allOf"), some),
        **dict.fromkeys(("properties", "patternProperties"), named),
        "required": lambda: chance.sample(["a", "b", "zz"], chance.randint(0, 3)),
        "$ref": lambda: chance.choice(["#/$defs/x", "#/$defs/y", "#", "#/$defs/gone", "http://x/y"]),
        **dict.fromkeys(("minimum", "exclusiveMinimum"), lambda: chance.choice([0, 1.5, -2, True])),
        **dict.fromkeys(("nullable", "uniqueItems"), lambda: chance.random() < 0.5),
        **dict.fromkeys(("minLength", "maxItems", "minProperties"), lambda: chance.randint(0, 3)),
    }
    keys = chance.sample([*makers], chance.randint(0, 5))
    return {key: chance.choice(VALUES) if chance.random() < 0.05 else makers[key]() for key in keys}


@pytest.mark.parametrize("name", ["gemini", "openai", "openai-strict"])
def test_whatever_is_shown_is_taken(name: str) -> None:
    shown = 0
    for seed in range(1_000):
        chance = random.Random(seed)
        found = schema_of(chance, 4)
        if not isinstance(found, dict):
            continue
        schema = cast("dict[str, Any]", found)
        schema |= {"type": "object", "$defs": {"x": schema_of(chance, 3), "y": schema_of(chance, 3)}}
        made = adapt(schema, DIALECTS[name])
        if made.schema is None:
            assert made.reason, seed
            continue
        shown += 1
        assert not list(APIS[name](made.schema)), (seed, schema, made.schema)
        for _ in range(3):
            with suppress(InvalidParams):
                restored({key: chance.choice(VALUES) for key in made.schema.get("properties", {})}, made.restore)
    assert shown > 500
