"""The samples in docs/examples are what they are called, and the gateway takes them."""

from pathlib import Path

from gateway.access import key_file
from gateway.config.reading.loader import load
from tests.support import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def test_api_keys() -> None:
    everything, ci = key_file.load(EXAMPLES / "api_keys.json").entries
    assert (everything.owner, everything.rate_limit_rpm) == ("me", -1)
    assert (ci.owner, ci.rate_limit_rpm) == ("ci", 120)


def test_upstreams(folder: Path) -> None:
    """Alone, and as the second file beside a servers.yaml."""
    path = EXAMPLES / "upstreams.json"
    config = load(path, environ={"GITHUB_TOKEN": "s3cret-token"})
    assert config.servers["github"].headers == {"Authorization": "Bearer s3cret-token"}
    assert (config.servers["wiki"].timeout, config.servers["wiki"].tags) == (10.0, ["docs", "internal"])
    own = folder / "servers.yaml"
    own.write_text("servers: {time: {command: x}}")
    both = load(own, environ={"GATEWAY_UPSTREAM_CONFIG_FILE": str(path)}, strict=False)
    assert list(both.enabled) == ["time", "github", "wiki"]


def test_every_example_is_tested() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == {"api_keys.json", "upstreams.json"}
