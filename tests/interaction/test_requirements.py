"""Every requirement has a test. (That every test's requirement exists is checked where it is claimed.)"""

from importlib import import_module
from pathlib import Path

from tests.interaction._requirements import COVERED, REQUIREMENTS


def test_every_requirement_is_covered() -> None:
    for module in sorted(Path(__file__).parent.glob("test_*.py")):
        import_module(f"tests.interaction.{module.stem}")
    assert REQUIREMENTS.keys() - COVERED == set()
