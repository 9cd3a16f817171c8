"""The shell scripts bring uv to a machine that has only Python and pip, from any folder. No registry is asked: the
package they find is made here."""

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
TOOLS = ("sh", "cat", "dirname", "mkdir", "mktemp", "mv", "rm")
PRIVATE = "#!/bin/sh\necho private\n"
PROBE = '#!/bin/sh\nset -eu\n. "$(dirname -- "$0")/_uv.sh"\nuv --version\necho "$python"\n'


@dataclass
class Machine:
    """A PATH with nothing on it but what is put there, an empty home, and a checkout."""

    folder: Path
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("bin", "home", "wheels", "checkout/scripts"):
            (self.folder / name).mkdir(parents=True)
        for tool in TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.folder / "bin" / tool).symlink_to(found)
        for script in ("_uv.sh", "run", "test", "conformance"):
            shutil.copy(SCRIPTS / script, self.checkout / "scripts")
        self.script("checkout/scripts/probe", PROBE)
        self.environment = {
            "PATH": str(self.folder / "bin"),
            "HOME": str(self.folder / "home"),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.folder / "wheels"),
        }

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def private(self) -> Path:
        return self.folder / "home" / ".cache" / "mcp-gateway" / "uv"

    def script(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def install_python(self, *, venv: bool = True) -> None:
        """`python3`, the one these tests run on, but outside of any environment."""
        base = getattr(sys, "_base_executable", sys.executable)
        refuse = "" if venv else 'case "$*" in *"-m venv"*) echo "ensurepip is not available"; exit 1 ;; esac\n'
        self.script("bin/python3", f'#!/bin/sh\n{refuse}exec "{base}" "$@"\n')

    def publish_uv(self) -> None:
        """A package named uv whose programs say `private`."""
        info = "uv-9.9.9.dist-info"
        with zipfile.ZipFile(self.folder / "wheels" / "uv-9.9.9-py3-none-any.whl", "w") as wheel:
            for name in ("uv", "uvx"):
                program = zipfile.ZipInfo(f"uv-9.9.9.data/scripts/{name}")
                program.external_attr = 0o100755 << 16
                wheel.writestr(program, PRIVATE)
            wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 9.9.9\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")

    def run(self, script: str, *arguments: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.checkout / "scripts" / script), *arguments],
            env=self.environment,
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("venv", [True, False], ids=["with venv", "without venv"])
def test_uv_is_brought_once(machine: Machine, venv: bool) -> None:
    machine.install_python(venv=venv)
    machine.publish_uv()
    first = machine.run("probe")
    assert first.stdout.splitlines()[0] == "private", first.stderr
    assert "fetching a private copy" in first.stderr
    assert sorted(path.name for path in machine.private.iterdir()) == ["uv", "uvx"]

    machine.environment["PIP_FIND_LINKS"] = "/nowhere"
    second = machine.run("probe")
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_an_installed_uv_is_used(machine: Machine) -> None:
    machine.install_python()
    machine.script("bin/uv", "#!/bin/sh\necho installed\n")
    result = machine.run("probe")
    assert result.stdout.splitlines()[0] == "installed", result.stderr
    assert not machine.private.exists()


def test_names_on_path_that_do_not_run_are_passed_over(machine: Machine) -> None:
    machine.install_python()
    machine.private.mkdir(parents=True)
    machine.script("home/.cache/mcp-gateway/uv/uv", PRIVATE)  # from an earlier time
    for name in ("uv", "python3.13", "python3.12"):
        machine.script(f"bin/{name}", "#!/bin/sh\necho broken shim >&2\nexit 127\n")
    result = machine.run("probe")
    assert result.stdout.splitlines()[0] == "private", result.stderr
    assert "broken shim" not in result.stderr


def test_a_machine_without_python_is_told_so(machine: Machine) -> None:
    machine.script("bin/python3", "#!/bin/sh\nexit 1\n")  # as an old one answers
    result = machine.run("probe")
    assert result.returncode == 3
    assert "needs Python 3.11 or newer" in result.stderr


def test_a_registry_out_of_reach_leaves_nothing_behind(machine: Machine) -> None:
    machine.install_python(venv=False)
    result = machine.run("probe")
    assert result.returncode == 3
    assert "Could not fetch uv" in result.stderr
    assert list(machine.private.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("run", "/ run --project {root} --frozen --no-dev mcp-gateway serve --port 9 a b | {root}/servers.yaml"),
        ("test", "{root} run --frozen --group deploy pytest --port 9 a b | "),
        ("conformance", "{root} run --frozen python -m tests.conformance --port 9 a b | "),
    ],
)
def test_arguments_arrive_from_any_folder(machine: Machine, script: str, expected: str) -> None:
    machine.install_python()
    machine.script("bin/uv", '#!/bin/sh\n[ "$1" = --version ] || echo "$PWD $* | ${GATEWAY_CONFIG:-}"\n')
    root = machine.checkout.resolve()
    assert machine.run(script, "--port", "9", "a b").stdout == expected.format(root=root) + "\n"


def test_another_configuration_may_be_chosen(machine: Machine) -> None:
    machine.install_python()
    machine.script("bin/uv", '#!/bin/sh\n[ "$1" = --version ] || echo "$GATEWAY_CONFIG"\n')
    machine.environment["GATEWAY_CONFIG"] = "/etc/mine.yaml"
    assert machine.run("run").stdout == "/etc/mine.yaml\n"
