"""What a refusal says is wanted."""

import pytest

from gateway.logins.challenge import Wanted, wanted


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("", Wanted()),
        ("Basic realm=x", Wanted()),
        ("Bearer", Wanted(is_bearer=True)),
        ('bearer  resource_metadata="https://a.example/x,y"', Wanted("https://a.example/x,y", is_bearer=True)),
        ('Bearer scope="a b  a"', Wanted(scopes=("a", "b"), is_bearer=True)),
        ('Bearer error="insufficient_scope", scope=a', Wanted(None, ("a",), "insufficient_scope", True)),
        ('Basic realm="x", Bearer scope="a"', Wanted(scopes=("a",), is_bearer=True)),
        ('Negotiate YIIabc==, Bearer error="invalid_token"', Wanted(error="invalid_token", is_bearer=True)),
        ('Bearer xscope="no", scope="yes"', Wanted(scopes=("yes",), is_bearer=True)),
        (r'Bearer realm="a \" scope=no", scope="yes"', Wanted(scopes=("yes",), is_bearer=True)),
        ("Bearer, Bearer scope=a", Wanted(scopes=("a",), is_bearer=True)),
        ('Bearer scope="unterminated', Wanted(is_bearer=True)),
        ("Bearer " + "scope=a, " * 10_000, Wanted(scopes=("a",), is_bearer=True)),
    ],
)
def test_wanted(header: str, meant: Wanted) -> None:
    assert wanted(header) == meant
