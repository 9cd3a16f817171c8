"""The examples of proxies: nginx and Envoy understand them, and none of them buffers, cuts off or repeats."""

import importlib
import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from gateway.config.models import GatewaySettings, ServerConfig
from gateway.config.models.quantities import seconds, size
from tests.certificates import issue
from tests.deploy.programs import DEPLOY, find, output

PROXY: Final = DEPLOY / "nginx/proxy.conf"


@pytest.fixture
def directives() -> dict[str, str]:
    """Those of `proxy.conf` that stand there once."""
    return dict(re.findall(r"^ +([a-z_]+) +([^;]+);", PROXY.read_text(), re.MULTILINE))


def test_nginx_understands_the_example_with_https(tmp_path: Path) -> None:
    site = (DEPLOY / "nginx/mcp-gateway.conf").read_text()
    output([find("nginx"), "-t", "-q", "-c", _server(tmp_path, site), "-e", tmp_path / "errors"])


def test_nginx_understands_what_the_containers_have(tmp_path: Path) -> None:
    """But for what came with 1.27.3, where this one is older: that it asks for the gateways' addresses again."""
    text = (DEPLOY / "docker/nginx.conf").read_text()
    assert " resolve " in text
    found = re.search(r"nginx/1\.(\d+)\.", output(["sh", "-c", f"{find('nginx')} -v 2>&1"]))
    assert found
    if int(found[1]) < 28:
        text = text.replace("gateway:8080 resolve", "127.0.0.1:8080")
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/etc/nginx/mcp-gateway", str(PROXY.parent))
    file = tmp_path / "nginx.conf"
    file.write_text(text)
    output([find("nginx"), "-t", "-q", "-c", file, "-e", tmp_path / "errors"])


def test_nginx_neither_buffers_nor_cuts_off(directives: dict[str, str]) -> None:
    for name in ("proxy_buffering", "proxy_request_buffering", "proxy_cache", "gzip"):
        assert directives[name] == "off", name
    server, settings = ServerConfig(command="any"), GatewaySettings()
    assert seconds(directives["proxy_read_timeout"]) > max(server.max_timeout, settings.keepalive)
    assert seconds(directives["client_body_timeout"]) > settings.read_timeout
    assert size(f"{directives['client_max_body_size']}iB") > settings.max_request_bytes


def test_nginx_never_sends_a_call_twice(directives: dict[str, str]) -> None:
    assert directives["proxy_next_upstream"] == "error timeout"  # for a POST: only what no gateway saw


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the classes that were made from Envoy's own
def test_envoy_knows_every_field_of_the_example() -> None:
    bootstrap = _envoy("config.bootstrap.v3").Bootstrap
    for kind in (
        "extensions.filters.network.http_connection_manager.v3",
        "extensions.filters.http.router.v3",
        "extensions.transport_sockets.tls.v3",
        "extensions.retry.host.previous_hosts.v3",
    ):
        _envoy(kind)  # registers the types that `@type` names
    said = _example()
    bootstrap.from_dict(said)
    said["static_resources"]["clusters"][0]["lb_polcy"] = "LEAST_REQUEST"
    with pytest.raises(KeyError, match="lb_polcy"):
        bootstrap.from_dict(said)


def test_envoy_neither_cuts_off_nor_repeats() -> None:
    (listener,) = _example()["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert seconds(manager["stream_idle_timeout"]) > ServerConfig(command="any").max_timeout
    assert seconds(manager["request_headers_timeout"]) > GatewaySettings().header_timeout
    (route,) = manager["route_config"]["virtual_hosts"][0]["routes"]
    assert route["route"]["timeout"] == "0s"
    assert set(route["route"]["retry_policy"]["retry_on"].split(",")) == {"connect-failure", "refused-stream"}
    assert [each["name"] for each in manager["http_filters"]] == ["envoy.filters.http.router"], "none that buffers"


def _example() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "envoy/envoy.yaml").read_text())


def _envoy(module: str) -> Any:
    try:
        return importlib.import_module(f"envoy_data_plane.envoy.{module}")
    except ModuleNotFoundError:
        pytest.skip("envoy-data-plane is not here; it comes with the dependency group `deploy`")


def _server(folder: Path, site: str) -> Path:
    """A whole configuration around a site, which needs a certificate."""
    cert, key = issue("mcp.example.com").write(folder, "nginx")
    site = re.sub(r"(ssl_certificate) \S+;", rf"\1 {cert};", site)
    site = re.sub(r"(ssl_certificate_key) \S+;", rf"\1 {key};", site)
    site = site.replace("/etc/nginx/mcp-gateway", str(PROXY.parent))
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    file = folder / "nginx.conf"
    file.write_text(f"pid {folder}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{places}{site}\n}}\n")
    return file
