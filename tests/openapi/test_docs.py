"""What is said of APIs is complete and true."""

import re
from pathlib import Path

import pytest
import yaml

from gateway.config import load
from gateway.config.models import OpenApiConfig

PAGE = (Path(__file__).parents[2] / "docs" / "apis.md").read_text("utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", OpenApiConfig.model_fields)
def test_every_setting_has_a_row(name: str) -> None:
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
    _, default, meaning = [cell.strip() for cell in row.strip("|").split("|")]
    assert meaning
    if default.startswith("`"):
        told = OpenApiConfig.model_validate({"document": "x", name: yaml.safe_load(default.strip("`"))})
        assert told == OpenApiConfig(document="x")


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_valid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "servers.yaml"
    secret = tmp_path / "weather"
    secret.write_text("s3cret-key")
    path.write_text(text.replace("/run/secrets/weather", str(secret)))
    loaded = load(path, environ={"TOKEN": "x", "CRM_SECRET": "y" * 8}, dotenv=None)
    assert loaded.servers
    assert loaded.warnings == []
