"""Names in other scripts: by their sound where they have one here, else by their hash; never only underscores."""

import pytest

from gateway.catalogue.naming import public_names
from gateway.catalogue.transliteration import latin


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("погода", "s__pogoda"),
        ("Щука", "s__Shchuka"),
        ("größe", "s__grosse"),
        ("Straße", "s__Strasse"),
        ("été", "s__ete"),
        ("e\u0301te", "s__ete"),
        ("καλημέρα", "s__kalimera"),
        ("ひらがな", "s__hiragana"),
        ("날씨", "s__nalssi"),
        ("v٣", "s__v3"),
        ("查询", "s__xaac8d5bf"),
        ("查询_weather", "s__weather_da705fb4"),
        ("🌦", "s__x"),
        ("plain_name-1", "s__plain_name-1"),
        ("a.b", "s__a_b"),
    ],
)
def test_examples(name: str, public: str) -> None:
    assert public_names("s", [name])[name].startswith(public)


def test_a_name_that_lost_letters_does_not_depend_on_the_others() -> None:
    one, other = "删除_weather", "查询_weather"
    alone = public_names("s", [one])[one]
    together = public_names("s", [one, other])
    assert together[one] == alone
    assert together[other] != alone


@pytest.mark.parametrize("text", ["", "ascii only!", "a_b-c"])
def test_what_is_ascii_stays(text: str) -> None:
    assert latin(text) == (text, False)
