"""What a file may say of results that fit."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.config.models import ResultsConfig, ServerConfig


def of(results: Any, **more: Any) -> ResultsConfig:
    return ServerConfig.model_validate({"command": "x", "results": results, **more}).results


@pytest.mark.parametrize("results", [4000, "4000", {"max_tokens": 4000}, {"max_tokens": "4000"}])
def test_a_number_is_short_for_max_tokens(results: Any) -> None:
    assert of(results) == ResultsConfig(max_tokens=4000)


@pytest.mark.parametrize("results", ["whole", {}, {"max_tokens": "whole"}, {"max_tokens": None}])
def test_whole_is_all_of_it(results: Any) -> None:
    assert of(results).limit_of("any") is None


def test_the_first_glob_that_matches_counts() -> None:
    results = of({"max_tokens": 4000, "tools": {"get_log": "whole", "get_*": 1000, "*": 300}})
    limits = {tool: results.limit_of(tool) for tool in ("get_log", "get_logs", "Get_log")}
    assert limits == {"get_log": None, "get_logs": 1000, "Get_log": 300}
    assert of({"tools": {"get_*": 1000}}).limit_of("other") is None
    assert results.limit_of("getLogLines", words=True) == 1000


@pytest.mark.parametrize("tokens", [0, 255, -5, True, 3.5, "many", "4k", [4000]])
def test_what_is_no_number_of_tokens_is_refused(tokens: Any) -> None:
    for results in ({"max_tokens": tokens}, {"tools": {"a": tokens}}, tokens):
        with pytest.raises(ValidationError, match="must be a number of tokens, at least 256, or `whole`"):
            of(results)


def test_another_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        of({"max_token": 4000})
