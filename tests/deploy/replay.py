"""Replays a Dockerfile's steps where there is no Docker engine, in layers over this machine's own root.

    unshare --mount python -m tests.deploy.replay DOCKERFILE SCRATCH [VOLUME…]

SCRATCH is an empty folder, on which a file system in memory is mounted. A VOLUME is a folder of the image on which an
empty volume is mounted, with its owner and mode, as Docker does it. Each stage is an overlay over the stage it is
made from, and the first over `/`: so this machine stands in for the base image, with a Python of its own. Nothing is
written to it, and all is gone with the process. When all is built it remounts the last stage's root read-only, prints
that root, its environment and settings as JSON, and lives until its stdin ends. It is for root.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.deploy.dockerfile import Instruction, Stage, read
from tests.support import ROOT

PYTHON: Final = "/usr/local/image"
"""The virtual environment that stands in for the base image's Python."""
PATH: Final = f"{PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OF_REGISTRIES: Final = re.compile(r"SSL_CERT_.*|.*_CA_BUNDLE|.*_PROXY|PIP_.*|UV_.*INDEX.*", re.IGNORECASE)
"""Variables without which a package registry may not be reached."""
_INTERPRETERS: Final = ("/usr/bin/python3", "/usr/local/bin/python3")
"""Of this machine, where everybody may run them."""


class Replay:
    """
    Args:
        scratch: where layers and roots are made.
    """

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._layers: dict[str, list[Path]] = {}
        """Stage → its layers, the newest first."""
        self._roots: dict[str, Path] = {}
        self._environments: dict[str, dict[str, str]] = {}
        _run("mount", "-t", "tmpfs", "tmpfs", scratch)

    def build(self, stage: Stage) -> dict[str, Any]:
        """Carry out a stage; returns where it is and what it says of how it is run."""
        below = self._layers.get(stage.image, [Path("/")])
        root = self._overlay(stage.name, below)
        if stage.image not in self._layers:
            self._bring_python(root)
        environment = dict(self._environments.get(stage.image, {"PATH": PATH}))
        said: dict[str, Any] = {"root": str(root), "environment": environment, "folder": "/"}
        for each in stage.instructions:
            match each.name:
                case "RUN":
                    self._in(root, each, environment, said["folder"])
                case "COPY":
                    self._copy(root, each, said["folder"])
                case "ENV":
                    environment |= {name: _expand(value, environment) for name, value in _pairs(each)}
                case "WORKDIR":
                    said["folder"] = each.rest
                    (root / each.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
                case name:
                    said[name.lower()] = each.rest
        self._environments[stage.name] = environment
        return said

    def _overlay(self, name: str, below: Sequence[Path]) -> Path:
        upper, work, root = (self._scratch / name / each for each in ("layer", "work", "root"))
        for folder in (upper, work, root):
            folder.mkdir(parents=True)
        options = f"lowerdir={':'.join(map(str, below))},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, root)
        for kernels in ("proc", "dev"):
            _run("mount", "--rbind", f"/{kernels}", root / kernels)
        _run("mount", "-t", "tmpfs", "tmpfs", root / "tmp", "-o", "mode=1777")
        self._layers[name] = [upper, *below]
        self._roots[name] = root
        return root

    def _bring_python(self, root: Path) -> None:
        interpreter = next(each for each in _INTERPRETERS if (root / each.lstrip("/")).exists())
        _run("chroot", root, interpreter, "-m", "venv", PYTHON)

    def _in(self, root: Path, run: Instruction, environment: dict[str, str], folder: str) -> None:
        bound = root / "root/.cache/uv"
        if run.flags.get("mount", "").startswith("type=cache"):
            assert f"target=/{bound.relative_to(root)}" in run.flags["mount"]
            bound.mkdir(parents=True, exist_ok=True)
            _run("mount", "--bind", os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache/uv", bound)
        registries = {name: value for name, value in os.environ.items() if _OF_REGISTRIES.fullmatch(name)}
        inside = ["env", "-i", "-C", folder, *(f"{name}={value}" for name, value in (registries | environment).items())]
        try:
            _run("chroot", root, *inside, "HOME=/root", "/bin/sh", "-euc", run.rest)
        finally:
            if os.path.ismount(bound):
                _run("umount", bound)

    def _copy(self, root: Path, copy: Instruction, folder: str) -> None:
        *sources, target = copy.words
        origin = self._roots[copy.flags["from"]] if "from" in copy.flags else ROOT
        to = root / os.path.join(folder, target).lstrip("/")
        for source in sources:
            path = origin / source.lstrip("/")
            assert "from" in copy.flags or is_sent(source), f"{source} is not sent to the builder"
            if path.is_dir():
                shutil.copytree(
                    path, to, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                is_folder = target.endswith("/") or target == "." or to.is_dir()
                (to if is_folder else to.parent).mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to / path.name if is_folder else to)


def is_sent(source: str) -> bool:
    """Whether `Dockerfile.dockerignore`, which names what is sent, names this."""
    lines = (ROOT / "deploy/docker/Dockerfile.dockerignore").read_text().splitlines()
    return f"!{source}" in lines


def _pairs(env: Instruction) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (word.partition("=") for word in env.words)]


def _expand(value: str, environment: dict[str, str]) -> str:
    return re.sub(r"\$(\w+)", lambda found: environment.get(found[1], ""), value)


def _run(*words: str | Path) -> None:
    subprocess.run(words, check=True, stdout=sys.stderr)


def _mount_volume(target: Path, volume: Path) -> None:
    volume.mkdir(parents=True)
    shutil.copystat(target, volume)
    owner = target.stat()
    os.chown(volume, owner.st_uid, owner.st_gid)
    _run("mount", "--bind", volume, target)


def main() -> None:
    replay = Replay(Path(sys.argv[2]))
    said = [replay.build(stage) for stage in read(Path(sys.argv[1]))][-1]
    for volume in sys.argv[3:]:
        _mount_volume(Path(said["root"]) / volume.lstrip("/"), Path(sys.argv[2]) / "volumes" / Path(volume).name)
    _run("mount", "-o", "remount,ro", said["root"])
    print(json.dumps(said), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
