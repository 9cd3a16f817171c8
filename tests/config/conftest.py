"""A folder to write configurations in, which is also the working directory."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gateway.config import Config, load
from gateway.errors import ConfigError

Load = Callable[..., Config]
Complain = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(folder: Path) -> Load:
    """`config(text, name="servers.yaml", environ={}, overrides={})`: write the text, load it."""

    def load_text(
        text: str,
        name: str = "servers.yaml",
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Config:
        Path(name).write_text(dedent(text), "utf-8")
        return load(Path(name), environ=environ or {}, overrides=overrides)

    return load_text


@pytest.fixture
def complaints(config: Load) -> Complain:
    """As `config`, for text that is refused: the lines of the error."""

    def refused(*args: Any, **kwargs: Any) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            config(*args, **kwargs)
        return caught.value.message.splitlines()

    return refused
