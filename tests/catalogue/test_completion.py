"""What is suggested for a resource template: only what leads to URIs that one may have."""

from typing import Any

import pytest

from gateway.catalogue.completion import permitted


def suggested(template: str, values: list[Any], *, chosen: dict[str, str] | None = None) -> Any:
    """The result for who may not have what lies under `x://no/`."""
    params = {"argument": {"name": "b", "value": ""}, "context": {"arguments": chosen or {}}}
    result = {"completion": {"values": values, "total": 90, "hasMore": True}, "_meta": {"kept": 1}}
    return permitted(result, template, params, lambda uri: not uri.startswith("x://no/"))


def test_where_all_is_allowed_nothing_changes() -> None:
    assert suggested("x://{b}", ["yes"])["completion"] == {"values": ["yes"], "total": 90, "hasMore": True}


def test_the_total_goes_with_the_hidden() -> None:
    answer = suggested("x://{b}/1", ["yes", "no"])
    assert answer == {"completion": {"values": ["yes"], "hasMore": True}, "_meta": {"kept": 1}}


def test_what_was_chosen_before_counts() -> None:
    assert suggested("x://{a}/{b}", ["1"], chosen={"a": "no"})["completion"]["values"] == []
    assert suggested("x://{a}/{b}", ["1"], chosen={"a": "yes"})["completion"]["values"] == ["1"]


def test_what_is_still_open_is_left_empty() -> None:
    assert suggested("x://{b}/{a}", ["yes", "no"])["completion"]["values"] == ["yes"]


@pytest.mark.parametrize("template", ["x://{unclosed", "x://{a}{b}", "x://{a}"])
def test_of_what_makes_no_uri_nothing_is_suggested(template: str) -> None:
    assert suggested(template, ["yes"])["completion"]["values"] == []


@pytest.mark.parametrize("result", [{}, {"completion": None}, {"completion": {"values": "yes"}}])
def test_an_odd_result_stays(result: dict[str, Any]) -> None:
    assert permitted(result, "x://{a}", {}, lambda uri: False) == result
