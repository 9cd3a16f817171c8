"""The Justfile has the recipes that people look for, and what these call exists."""

import re

import pytest

from tests.support import ROOT

JUSTFILE = (ROOT / "Justfile").read_text("utf-8")


@pytest.mark.parametrize(
    "name", ["setup", "run", "run-reload", "test", "test-unit", "lint", "format", "typecheck", "clean"]
)
def test_there_is_a_recipe(name: str) -> None:
    """With a comment, which `just` lists."""
    assert re.search(rf"(?m)^# .+\n{name}(?: \*arguments)?:(?: [a-z ]+)?$", JUSTFILE), (
        "with a comment, which `just` lists"
    )


def test_the_paths_in_recipes_exist() -> None:
    paths = re.findall(r"(?:@| )((?:scripts|tests|\.ci)/[\w./-]+)", JUSTFILE)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
