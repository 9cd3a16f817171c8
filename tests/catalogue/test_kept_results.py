"""URIs of kept results: what of them is a range, and what is none."""

import time

import pytest

from gateway.catalogue.kept_results import is_kept, parsed
from gateway.errors import InvalidParams

ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("", {}),
        ("?start=5", {"start": 5}),
        ("?start=5&length=7", {"start": 5, "length": 7}),
        ("?start=%35", {"start": 5}),
        ("?", {}),
    ],
)
def test_what_a_uri_asks_for(query: str, asked: dict[str, int]) -> None:
    assert parsed(f"result://{ID}{query}") == (ID, asked)
    assert parsed(f"RESULT://{ID.upper()}/{query}") == (ID, asked)


@pytest.mark.parametrize(
    "query", ["?start=-1", "?start=1&start=2", "?length=0", "?start=", "?x=1", "?start=1e3", "?start=" + "9" * 13]
)
def test_what_is_no_range_is_refused(query: str) -> None:
    with pytest.raises(InvalidParams, match=r"range|length"):
        parsed(f"result://{ID}{query}")


def test_a_range_of_megabytes_is_refused_without_a_look() -> None:
    uri = f"result://{ID}?" + "start=1&" * 500_000
    began = time.process_time()
    with pytest.raises(InvalidParams) as refused:
        parsed(uri)
    assert len(refused.value.message) < 400
    assert time.process_time() - began < 0.5
    assert is_kept(uri)


@pytest.mark.parametrize("uri", [f"result://{ID}#a", f"result://{ID}/..", f"result://{ID[1:]}", f"result://{ID}\n", ""])
def test_other_uris_are_not_ours(uri: str) -> None:
    assert parsed(uri) is None
    assert not is_kept(uri)
