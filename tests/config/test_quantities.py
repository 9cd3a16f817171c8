"""Durations become seconds, sizes become bytes; anything else is refused with an example of what would do."""

from typing import Any

import pytest

from gateway.config.models.quantities import seconds, size


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("500ms", 0.5),
        ("30s", 30.0),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("1.5 s", 1.5),
        (" 30s ", 30.0),
        ("45", 45.0),
        (45, 45.0),
        (0.25, 0.25),
        (1e-7, 1e-7),
        ("0", 0.0),
        ("8760h", 31_536_000.0),
    ],
)
def test_durations(written: Any, expected: float) -> None:
    assert seconds(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        "",
        "s",
        "5 minutes",
        "1m30s",
        "-1",
        -1,
        "1e3",
        "inf",
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        "9000h",
        10**400,
        "٣s",
        "9" * 5000,
    ],
)
def test_not_a_duration(written: Any) -> None:
    with pytest.raises(ValueError, match=r"must be (a duration such as|between)"):
        seconds(written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("16MiB", 16 * 2**20),
        ("4 mib", 4 * 2**20),
        ("500kB", 500_000),
        ("1GB", 10**9),
        ("1GiB", 2**30),
        ("2048", 2048),
        ("2048B", 2048),
        (2048, 2048),
    ],
)
def test_sizes(written: Any, expected: int) -> None:
    assert size(written) == expected


@pytest.mark.parametrize("written", ["", "MiB", "1.5MiB", "16M", "-1", 1.5, True, None, "9" * 5000])
def test_not_a_size(written: Any) -> None:
    with pytest.raises(ValueError, match="must be a size such as 16MiB"):
        size(written)
