"""The manifests: what kustomize makes of them is valid by Kubernetes' own schemas, and fits together."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.cli.keys_init import SECRETS
from gateway.config.models.quantities import seconds, size
from gateway.config.reading.loader import load
from tests.deploy.dockerfile import read
from tests.deploy.programs import DEPLOY, find, output
from tests.support import command

FOLDER: Final = DEPLOY / "k8s"
OVERLAYS: Final = ("base", "overlays/example")
OF_OTHERS: Final = {"ServiceMonitor"}
"""Kinds that are not Kubernetes' own, so that it has no schemas of them."""
CHILDREN_SECONDS: Final = 6
"""How long servers have to end, after the last call."""


@cache
def built(overlay: str) -> str:
    return output([find("kubectl"), "kustomize", FOLDER / overlay])


def manifests(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(built(overlay)))


def one(overlay: str, kind: str, name: str = "mcp-gateway") -> dict[str, Any]:
    (found,) = [each for each in manifests(overlay) if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def container(overlay: str) -> dict[str, Any]:
    (found,) = one(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def environment(overlay: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container(overlay)["env"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_valid_by_the_published_schemas(overlay: str, tmp_path: Path) -> None:
    mine = [each for each in manifests(overlay) if each["kind"] not in OF_OTHERS]
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(mine))
    said = output([find("kubernetes-validate"), "--strict", file])
    assert said.count("passed for resource") == len(mine)


def test_example_of_the_secrets_is_valid_and_has_what_the_deployment_asks_for() -> None:
    file = FOLDER / "overlays/example/secret.example.yaml"
    output([find("kubernetes-validate"), "--strict", file])
    named = {each["metadata"]["name"]: set(each["stringData"]) for each in yaml.safe_load_all(file.read_text())}
    asked = set(
        re.findall(r"secret(?:Name|Ref|KeyRef):(?:\s+key: \w+)?(?:\s+name:)? ([\w-]+)", built("overlays/example"))
    )
    asked -= {"mcp-example-com-tls"}  # whoever issues certificates makes it
    assert named.keys() == asked
    assert {"GATEWAY_STORE", "GITHUB_TOKEN", *SECRETS} <= named["mcp-gateway"]
    assert named["mcp-gateway-api-keys"] == {"api_keys.json"}


def test_what_keys_init_makes_becomes_the_secrets(tmp_path: Path) -> None:
    output(command("gateway", "keys", "init", str(tmp_path)))
    secret = [find("kubectl"), "create", "secret", "generic", "any", "--dry-run=client", "--output=yaml"]
    environment = yaml.safe_load(output([*secret, f"--from-env-file={tmp_path / '.env'}"]))
    files = yaml.safe_load(output([*secret, f"--from-file={tmp_path / 'api_keys.json'}"]))
    assert set(environment["data"]) == set(SECRETS)
    assert set(files["data"]) == {"api_keys.json"}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_selectors_find_the_pods_and_nothing_else(overlay: str) -> None:
    labels = one(overlay, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        one(overlay, "Service")["spec"]["selector"],
        one(overlay, "Deployment")["spec"]["selector"]["matchLabels"],
        one(overlay, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        one(overlay, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [{"app.kubernetes.io/name": "mcp-gateway"}] * 4
    assert selectors[0].items() <= labels.items()


def test_names_of_ports_lead_somewhere() -> None:
    ports = {port["name"]: port["containerPort"] for port in container("overlays/example")["ports"]}
    service = one("overlays/example", "Service")["spec"]["ports"]
    assert {port["targetPort"] for port in service} <= ports.keys()
    probes = [container("overlays/example")[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
    assert {probe["port"] for probe in probes} == {"http"}
    assert [probe["path"] for probe in probes] == ["/health", "/health", "/readyz"]
    (endpoint,) = one("overlays/example", "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service}
    labels = one("overlays/example", "Service")["metadata"]["labels"]
    assert one("overlays/example", "ServiceMonitor")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (rule,) = one("overlays/example", "Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {"name": "mcp-gateway", "port": {"name": "http"}}
    assert rule["host"] in environment("overlays/example")["GATEWAY_ALLOWED_HOSTS"].split(",")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_stop_has_the_time_it_takes(overlay: str) -> None:
    """Nobody is sent to a pod that refuses, and no pod is killed while it answers."""
    pod = one(overlay, "Deployment")["spec"]["template"]["spec"]
    readiness = container(overlay)["readinessProbe"]
    delay = seconds(environment(overlay)["GATEWAY_DRAIN_DELAY"])
    timeout = seconds(environment(overlay)["GATEWAY_DRAIN_TIMEOUT"])
    assert delay > readiness["periodSeconds"] * readiness["failureThreshold"]
    assert pod["terminationGracePeriodSeconds"] >= delay + timeout + CHILDREN_SECONDS


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_settings_and_servers_are_valid_together(overlay: str, tmp_path: Path) -> None:
    file = tmp_path / "servers.yaml"
    file.write_text(one(overlay, "ConfigMap")["data"]["servers.yaml"])
    (stage,) = [stage for stage in read(DEPLOY / "docker/Dockerfile") if stage.of("ENTRYPOINT")]
    image = dict(word.split("=", 1) for env in stage.of("ENV") for word in env.words)
    variables = (
        image
        | environment(overlay)
        | {
            "GITHUB_TOKEN": "a-token-of-github",
            "GATEWAY_STORE": "valkey://:password@valkey",
            "GATEWAY_STATE_KEYS": "k" * 32,
        }
    )
    config = load(file, environ=variables, dotenv=None)
    assert not config.warnings
    mounted = {each["mountPath"] for each in container(overlay)["volumeMounts"]}
    assert str(Path(variables["GATEWAY_CONFIG"]).parent) in mounted
    assert str(Path(variables["GATEWAY_API_KEYS_FILE"]).parent) in mounted
    assert variables["GATEWAY_STATE_DIR"] in mounted


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_no_pod_has_more_rights_than_it_needs(overlay: str) -> None:
    """What the `restricted` pod security standard asks for, and a root that cannot be written to."""
    for workload in (each for each in manifests(overlay) if each["kind"] in ("Deployment", "StatefulSet")):
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for each in pod["containers"]:
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_memory_is_refused_before_the_container_is_killed(overlay: str) -> None:
    limit = container(overlay)["resources"]["limits"]["memory"]
    assert size(environment(overlay)["GATEWAY_MAX_MEMORY"]) <= 0.8 * size(f"{limit}B")
