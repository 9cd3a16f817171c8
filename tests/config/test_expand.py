"""Every form of `${…}`, what stays as it is, and what is refused."""

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.reading.expand import Expander, Fault, Unset

VARIABLES = {"HOST": "example.com", "EMPTY": "", "TOKEN": "s3cret-${HOST}", "lower_1": "x"}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("https://${HOST}/mcp", "https://example.com/mcp"),
        ("${env:HOST}", "example.com"),
        ("${env:HOST:-other}", "example.com"),
        ("${lower_1}${lower_1}", "xx"),
        ("${HOST:-other}", "example.com"),
        ("${NOPE:-other}", "other"),
        ("${NOPE:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("${NOPE:-https://a:1/b?c=d}", "https://a:1/b?c=d"),
        ("${NOPE:-${HOST}}", "example.com"),
        ("${NOPE:-${NADA:-deep}er}", "deeper"),
        ('${NOPE:-{"a": {}}}', '{"a": {}}'),
        ("${TOKEN}", "s3cret-${HOST}"),  # what a variable holds is not expanded again
        ("$HOST", "$HOST"),
        ("$", "$"),
        ("$$", "$$"),
        ("100$", "100$"),
        ("a$b$$c", "a$b$$c"),
        ("{HOST}", "{HOST}"),
        ("$${HOST}", "${HOST}"),
        ("$${", "${"),
        ("$$${HOST}", "$${HOST}"),
        ("$${HOST} ${HOST}", "${HOST} example.com"),
        ("${HOST}$${HOST}", "example.com${HOST}"),
    ],
)
def test_forms(written: str, expected: str) -> None:
    expander = Expander(VARIABLES)
    assert expander.expand(written, ()) == expected
    assert expander.faults == []


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("${NOPE}", "the environment variable NOPE is not set; set it, or give a default: ${NOPE:-…}"),
        ("${env:NOPE}", "the environment variable NOPE is not set"),
        ("${A:-${B}}", "the environment variable B is not set"),
        ("${input:token}", "use an environment variable"),
        ("${workspaceFolder}/x", "only editors know ${workspaceFolder}; write the path itself"),
        ("${HOST", "never closed"),
        ("${A:-{}", "never closed"),
        ("${}", "not a variable"),
        ("${HOST-x}", "not a variable"),
        ("${config:x}", "not a variable"),
        ("${1A}", "not a variable"),
        ("${A:-" * 20 + "}" * 20, "go too deep"),
    ],
)
def test_faults(written: str, what: str) -> None:
    expander = Expander(VARIABLES)
    value = expander.expand({"headers": ["ok", written]}, ("servers", "x"))
    assert isinstance(value["headers"][1], Unset)
    assert value == {"headers": ["ok", written]}
    (fault,) = expander.faults
    assert fault.place == ("servers", "x", "headers", 1)
    assert what in fault.what


def test_everything_inside_is_expanded_but_keys() -> None:
    written: dict[str, Any] = {"${HOST}": {"a": ["${HOST}", {"b": "${HOST}"}], "c": True, "d": None}}
    expander = Expander(VARIABLES)
    assert expander.expand(written, ()) == {
        "${HOST}": {"a": ["example.com", {"b": "example.com"}], "c": True, "d": None}
    }
    assert expander.used == {"HOST": "example.com"}


def test_the_gateways_own_python() -> None:
    assert Expander({}).expand("${GATEWAY_PYTHON}", ()) == sys.executable
    assert Expander({"GATEWAY_PYTHON": "/bin/py"}).expand("${GATEWAY_PYTHON}", ()) == "/bin/py"


def test_all_faults_are_kept() -> None:
    expander = Expander({})
    expander.expand(["${A}", "${B}"], ())
    assert [fault.place for fault in expander.faults] == [(0,), (1,)]
    assert isinstance(expander.faults[0], Fault)


@settings(deadline=None)
@given(st.text(st.sampled_from("${}:-AB env"), max_size=30))
def test_it_never_raises(text: str) -> None:
    expander = Expander({"A": "1"})
    value = expander.expand(text, ())
    assert isinstance(value, Unset) == bool(expander.faults)


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_a_value_arrives_exactly(before: str, value: str) -> None:
    before = before.replace("$", "")
    assert Expander({"A": value}).expand(f"{before}${{A}}", ()) == before + value
