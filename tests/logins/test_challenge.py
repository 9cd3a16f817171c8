"""What a refusal says is wanted."""

import pytest

from gateway.logins.challenge import Wanted, wanted


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("", Wanted()),
        ("Basic realm=x", Wanted()),
        ("Bearer", Wanted()),
        ('bearer  resource_metadata="https://a.example/x,y"', Wanted("https://a.example/x,y")),
        ('Bearer scope="a b  a"', Wanted(scopes=("a", "b"))),
        ('Bearer error="insufficient_scope", scope=a', Wanted(None, ("a",), "insufficient_scope")),
        ('Basic realm="x", Bearer scope="a"', Wanted(scopes=("a",))),
        ('Negotiate YIIabc==, Bearer error="invalid_token"', Wanted(error="invalid_token")),
        ('Bearer xscope="no", scope="yes"', Wanted(scopes=("yes",))),
        (r'Bearer realm="a \" scope=no", scope="yes"', Wanted(scopes=("yes",))),
        ("Bearer, Bearer scope=a", Wanted(scopes=("a",))),
        ('Bearer scope="unterminated', Wanted()),
        ("Bearer " + "scope=a, " * 10_000, Wanted(scopes=("a",))),
    ],
)
def test_wanted(header: str, meant: Wanted) -> None:
    assert wanted(header) == meant
