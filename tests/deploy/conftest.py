"""What is started here is large: the tests of a file are run by one process, which starts it once."""

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Before pytest-xdist looks for the marks."""
    item.add_marker(pytest.mark.xdist_group(f"deploy/{item.path.stem}"))
