"""The documentation of the configuration is complete and true."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.config import GatewaySettings, ServerConfig, ToolRules, load
from gateway.config.models.server import TRANSPORTS
from gateway.config.reading import entries
from gateway.config.reading.envfile import read as read_envfile
from gateway.config.reading.environment import FLAT, known_names
from gateway.config.reload.diff import LIVE_KEYS, LIVE_SETTINGS
from gateway.errors import ConfigError

from .conftest import Load
from .test_settings import leaves

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "configuration.md").read_text("utf-8")
BLOCKS = re.findall(r"```(yaml|json)\n(.*?)```", PAGE, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
ABOUT_SERVERS, _, ABOUT_GATEWAY = PROSE.partition("## The gateway's own settings")
VARIABLES = {"GH_PAT": "x", "CRM_TOKEN": "x"}


def row(text: str, name: str) -> list[str]:
    """The cells of the one row that begins with `name`."""
    (line,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def in_code(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def loadable(place: str) -> Any:
    """The default of a setting."""
    value: Any = GatewaySettings()
    for step in place.split("."):
        value = getattr(value, step)
    return value


@pytest.mark.parametrize("place", leaves(GatewaySettings))
def test_every_setting_has_a_row(config: Load, place: str) -> None:
    _, default, variable, meaning = row(ABOUT_GATEWAY, place)
    assert meaning
    nested = f"GATEWAY_{place.upper().replace('.', '__')}"
    assert in_code(variable) <= {nested, *(flat for flat, to in FLAT.items() if to == nested)}
    assert in_code(variable) <= known_names()
    if default:
        written = yaml.safe_load(default.strip("`"))
        plain, told = config("servers: {}"), config("servers: {}", overrides={place: written})
        assert told.gateway == plain.gateway
    else:
        assert loadable(place) is None or place == "state_dir"


@pytest.mark.parametrize("name", ServerConfig.model_fields)
def test_every_key_of_a_server_has_a_row(name: str) -> None:
    _, default, meaning = row(ABOUT_SERVERS, name)
    assert meaning
    if default.startswith("`"):
        server = ServerConfig.model_validate({"command": "x", name: yaml.safe_load(default.strip("`"))})
        assert getattr(server, name) == getattr(ServerConfig(command="x"), name)


def test_every_other_name_is_there() -> None:
    assert {*entries.ALIASES, *entries.FOREIGN, *TRANSPORTS, "failures", "window", "cooldown"} <= in_code(PROSE)
    assert all(f"      {word}:" in PAGE for word in ToolRules.model_fields)


def test_no_variable_is_made_up() -> None:
    assert set(re.findall(r"GATEWAY_\w+", PAGE)) <= known_names()


@pytest.mark.parametrize(("kind", "text"), BLOCKS)
def test_every_example_is_valid(config: Load, kind: str, text: str) -> None:
    loaded = config(text, f"servers.{kind}", environ=VARIABLES)
    assert loaded.servers
    assert loaded.warnings == []


def test_the_messages_shown_are_the_messages_given(folder: Path) -> None:
    first = BLOCKS[0][1].replace("command: npx", "comand: npx")
    (folder / "servers.yaml").write_text(first)
    with pytest.raises(ConfigError) as caught:
        load(Path("servers.yaml"), environ={})
    assert f"```text\n{caught.value.message}\n```" in PAGE


def test_the_env_example_is_true(config: Load, folder: Path) -> None:
    text = (ROOT / ".env.example").read_text("utf-8")
    assert len(text.splitlines()) < 30
    (folder / "example.env").write_text(re.sub(r"^# (?=[A-Z_]+=)", "", text, flags=re.MULTILINE))
    (folder / "upstreams.json").write_text("[]")
    variables, faults = read_envfile(folder / "example.env")
    assert faults == []
    assert {name for name in variables if name.startswith("GATEWAY_")} <= known_names()
    plain, told = config("servers: {}"), config("servers: {}", environ=variables)
    assert told.warnings == plain.warnings
    changed: dict[str, Any] = json.loads(told.gateway.model_dump_json(exclude_defaults=True))
    assert changed.keys() <= {"state_dir", "upstream_config_file", "auth"}
    assert not told.gateway.auth.enabled


def test_what_a_reload_applies_is_said() -> None:
    """In both places, and nothing else."""
    reliability = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    keys = LIVE_KEYS - {"env_file"}
    (row_of_keys,) = [line for line in PAGE.splitlines() if line.startswith("| a server's `tools`")]
    (row_of_settings,) = [line for line in PAGE.splitlines() if line.startswith("| the gateway's `policy`")]
    assert in_code(row_of_keys) == keys
    assert in_code(row_of_settings) == LIVE_SETTINGS
    (adjusted,) = re.findall(r"is adjusted: (.*?)\. Nothing", reliability, re.DOTALL)
    (applied,) = re.findall(r"own settings (.*?) are applied", reliability, re.DOTALL)
    assert (in_code(adjusted), in_code(applied)) == (keys, LIVE_SETTINGS)
