"""What is left of a catalogue for somebody."""

from dataclasses import replace

from gateway.catalogue.catalogue import Catalogue


def test_prepared_pages_are_not_those_of_what_is_made_of_a_catalogue() -> None:
    whole = Catalogue()
    whole.pages["tools/list"] = b"[]"
    assert replace(whole).pages == {}, "they would show what was left out"
