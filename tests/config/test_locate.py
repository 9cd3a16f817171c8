"""Which file is used, and what is said when there is none."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import gateway
from gateway.config import find_config
from gateway.config.reading.locate import demo_file
from gateway.errors import ConfigError

TEXT = "servers: {a: {command: x}}"


@pytest.fixture
def xdg(folder: Path) -> dict[str, str]:
    """An environment with an XDG folder, empty yet."""
    (folder / "xdg" / "mcp-gateway").mkdir(parents=True)
    return {"XDG_CONFIG_HOME": str(folder / "xdg")}


def test_the_order_of_search(folder: Path, xdg: dict[str, str]) -> None:
    places = [
        folder / "given.yaml",
        folder / "named.yaml",
        Path("servers.yaml"),
        folder / "xdg/mcp-gateway/servers.yaml",
    ]
    environ = {**xdg, "GATEWAY_CONFIG": "named.yaml"}
    for place in places:
        place.write_text(TEXT)
    assert find_config(Path("given.yaml"), environ) == (Path("given.yaml"), False)
    assert find_config(None, environ) == (Path("named.yaml"), False)
    assert find_config(None, xdg) == (Path("servers.yaml"), False)
    Path("servers.yaml").unlink()
    assert find_config(None, xdg) == (places[3], False)


def test_the_demonstration_comes_last(xdg: dict[str, str]) -> None:
    demo = demo_file()
    assert demo is not None
    assert find_config(None, xdg) == (demo, True)
    shutil.copy(demo, "servers.yaml")
    assert find_config(None, xdg) == (Path("servers.yaml"), False)


def test_the_demonstration_is_known_by_any_path(folder: Path) -> None:
    demo = demo_file()
    assert demo is not None
    Path("servers.yaml").symlink_to(demo)
    assert find_config(None, {}).is_demo


def test_upstreams_alone_are_enough(folder: Path, xdg: dict[str, str]) -> None:
    Path("up.json").write_text("[]")
    environ = {**xdg, "GATEWAY_UPSTREAM_CONFIG_FILE": "up.json"}
    assert find_config(None, environ) == (Path("up.json"), False)
    Path("servers.yaml").write_text(TEXT)
    assert find_config(None, environ) == (Path("servers.yaml"), False)


def test_names_may_stand_in_dotenv(folder: Path, xdg: dict[str, str]) -> None:
    Path("a.yaml").write_text(TEXT)
    Path("b.yaml").write_text(TEXT)
    Path(".env").write_text("GATEWAY_CONFIG=a.yaml")
    assert find_config(None, xdg).path == Path("a.yaml")
    assert find_config(None, {"GATEWAY_CONFIG": "b.yaml"}).path == Path("b.yaml")
    assert find_config(None, xdg, dotenv=None).is_demo


@pytest.mark.parametrize(
    ("explicit", "environ", "said"),
    [
        ("nowhere.yaml", {}, "nowhere.yaml: there is no such file; check the path"),
        (".", {}, ".: is a folder; name the file in it"),
        (None, {"GATEWAY_CONFIG": "nowhere.yaml"}, "nowhere.yaml (from $GATEWAY_CONFIG): there is no such file"),
        (None, {"GATEWAY_UPSTREAM_CONFIG_FILE": "x"}, "x (from $GATEWAY_UPSTREAM_CONFIG_FILE): there is no such file"),
    ],
)
def test_a_file_that_was_asked_for_must_exist(
    explicit: str | None, environ: dict[str, str], said: str, xdg: dict[str, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(Path(explicit) if explicit else None, {**xdg, **environ})
    assert caught.value.message.startswith(said)


def test_a_relative_xdg_folder_is_ignored(folder: Path) -> None:
    (folder / "xdg" / "mcp-gateway").mkdir(parents=True)
    (folder / "xdg" / "mcp-gateway" / "servers.yaml").write_text(TEXT)
    assert find_config(None, {"XDG_CONFIG_HOME": "xdg", "HOME": str(folder)}).path != Path(
        "xdg/mcp-gateway/servers.yaml"
    )


def test_without_any_file_it_says_where_to_put_one(folder: Path) -> None:
    """As in a wheel that was built without the demonstration."""
    shutil.copytree(Path(gateway.__file__).parent, folder / "site" / "gateway")
    (folder / "site" / "gateway" / "demo" / "servers.yaml").unlink(missing_ok=True)
    program = "from gateway.config import find_config; find_config(None, {'XDG_CONFIG_HOME': '/nowhere'})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={"PYTHONPATH": "site"})
    assert "no configuration; write one of servers.yaml and /nowhere/mcp-gateway/servers.yaml" in run.stderr


def test_an_installed_gateway_brings_its_demonstration(folder: Path) -> None:
    shutil.copytree(Path(gateway.__file__).parent, folder / "site" / "gateway")
    packaged = folder / "site" / "gateway" / "demo" / "servers.yaml"
    packaged.write_text(TEXT)
    program = "from gateway.config import find_config; print(*find_config(None, {'XDG_CONFIG_HOME': '/nowhere'}))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": "site"}
    )
    assert run.stdout.strip() == f"{packaged} True"
