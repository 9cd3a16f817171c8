"""Requirements and tests agree, in both directions: each requirement has a test, and each test a requirement."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

from tests.interaction._requirements import REQUIREMENTS, requirements_of
from tests.support import ROOT

UNITS: Final = {"tests.interaction.test_requirements"}
"""Modules that show nothing an agent could see."""


def wire_modules() -> Iterator[str]:
    """The test modules that speak to a gateway as an agent does."""
    for path in sorted([*(ROOT / "tests/interaction").glob("test_*.py"), *(ROOT / "tests/frontend").glob("test_*.py")]):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if module not in UNITS and "@requirement(" in path.read_text():
            yield module


def marked() -> Iterator[tuple[str, Any]]:
    for module in wire_modules():
        for name, value in vars(import_module(module)).items():
            if name.startswith("test_"):
                yield f"{module}.{name}", value


def test_every_requirement_has_a_test() -> None:
    covered = {id for _, test in marked() for id in requirements_of(test)}
    assert sorted(REQUIREMENTS.keys() - covered) == []


def test_every_test_has_a_requirement() -> None:
    assert [name for name, test in marked() if not requirements_of(test)] == []


def test_every_source_of_our_own_is_there() -> None:
    """Specifications are not fetched; pages of this repository are opened, down to the heading."""
    for id, requirement in REQUIREMENTS.items():
        if requirement.source.startswith("https://"):
            continue
        page, _, anchor = requirement.source.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        assert anchor in {_anchor(heading) for heading in headings}, id


def test_every_test_that_the_page_on_the_protocol_names_is_there() -> None:
    page = (ROOT / "docs/protocol.md").read_text()
    places = dict(re.findall(r"^\[(\w+)\]: \.\./(\S+)$", page, re.MULTILINE))
    named = re.findall(r"\[`(test_\w+)`\]\[(\w+)\]", page)
    assert len(named) > 20
    for test, place in named:
        assert f"def {test}(" in (ROOT / places[place]).read_text(), test


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
