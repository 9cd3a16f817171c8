"""What is masked of arguments, also under the name that an API of models has for it, or as JSON in a text."""

from typing import Any

import pytest

from gateway.config.models.telemetry import AuditSettings
from gateway.telemetry.audit.arguments import ArgumentRules

CANARY = "canary-4711"
RULES = ArgumentRules(
    AuditSettings.model_validate(
        {"key": "k" * 32, "stream": "stderr", "arguments": "redact", "mask": ["e-mail", "data.inner", "*.body"]}
    ),
    b"k",
)


def described(**arguments: Any) -> Any:
    return RULES.describe("tool", arguments, lambda text: text)["arguments"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"e-mail": CANARY},
        {"e_mail": CANARY},
        {"data": {"inner": CANARY}},
        {"data": f'{{"inner": "{CANARY}"}}'},
        {"data": f' {{"inner": {{"deep": ["{CANARY}"]}}}}'},
        {"data": f'{{"inner": "{CANARY}"'},
        {"any": f'[{{"password": "{CANARY}"}}]'},
        {"any": f'{{"a": "{{\\"password\\": \\"{CANARY}\\"}}"}}'},
        {"any": f'{{"password": "{CANARY}'},
        {"x": f'{{"body": "{CANARY}"}}'},
    ],
    ids=str,
)
def test_what_is_masked(arguments: dict[str, Any]) -> None:
    assert CANARY not in str(described(**arguments))


@pytest.mark.parametrize(
    "arguments",
    [{"note": "[1] as {said}"}, {"any": '{ "a":1.50, "b": [true] }'}, {"any": "[a, b]"}, {"data": "text"}, {"n": 5}],
    ids=str,
)
def test_what_is_not_is_said_as_it_came(arguments: dict[str, Any]) -> None:
    assert described(**arguments) == arguments
