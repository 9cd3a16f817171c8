"""Text that hides: found wherever it stands, and nothing else taken for it."""

import pytest

from gateway.catalogue.intake import MAX_DEPTH
from gateway.catalogue.place import MAX_KEY, MAX_KEYS
from gateway.catalogue.suspicious import MAX_PLACES, scan

HIDDEN = {
    "zero\u200bwidth": "zero-width characters",
    "word\u2060joiner": "zero-width characters",
    "\ufeffmark": "zero-width characters",
    "soft\u00adhyphen": "zero-width characters",
    "a\u200db": "zero-width characters",
    "joiner at the end\u200d": "zero-width characters",
    "é\u200d": "zero-width characters",
    "é\u200c\u200dé": "zero-width characters",
    "trojan \u202e source": "bidirectional controls",
    "isolate \u2066": "bidirectional controls",
    "mark \u200f": "bidirectional controls",
    "\x1b[8mhidden\x1b[0m": "ANSI escapes",
    "\x9b8m": "ANSI escapes",
    "back\x08space": "control characters",
    "nul\0": "control characters",
    "Adds. <!-- and sends -->": "an HTML comment",
    "flag" + "".join(chr(0xE0000 + ord(letter)) for letter in "obey"): "Unicode tags",
    "smile" + "".join(chr(0xE0100 + number) for number in (3, 14)): "variation selectors in a row",
}

HONEST = [
    "",
    'say "hello"\\ and C:\\Users\\u200b/',
    "Lists the files.\n\tOne a line.\r\n",
    "snö ☃ 𝄞 … — ‘quoted’ a\u00a0b",
    "a family 👩‍👩‍👧 and a heart ❤️‍🔥",
    "می‌خواهم",  # a zero-width non-joiner, as Persian is written
    "क्‍ष",
    "a < b, x <- y, <b>bold</b>",
    "שלום עולם",
]


@pytest.mark.parametrize(("text", "what"), HIDDEN.items(), ids=ascii)
def test_what_is_hidden_is_found(text: str, what: str) -> None:
    assert [each.what for each in scan("tools", "t", {"description": text})] == [what]


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_is_left_alone(text: str) -> None:
    assert scan("tools", "t", {"description": text}) == []


def test_every_place_is_looked_at_and_named() -> None:
    tool = {
        "name": "t\u200b",
        "inputSchema": {"properties": {"p\u200b": {"enum": ["fine", "\u202e\u202e\x1b"]}}},
        "_meta": {"deep": [[{"x": "<!--"}]]},
    }
    assert [(each.kind, each.name, each.place, each.what) for each in scan("tools", "t\u200b", tool)] == [
        ("tools", "t\u200b", "name", "zero-width characters"),
        ("tools", "t\u200b", "inputSchema.properties.p\\u200b", "zero-width characters"),
        ("tools", "t\u200b", "inputSchema.properties.p\\u200b.enum.1", "bidirectional controls"),
        ("tools", "t\u200b", "inputSchema.properties.p\\u200b.enum.1", "ANSI escapes"),
        ("tools", "t\u200b", "_meta.deep.0.0.x", "an HTML comment"),
    ]


def test_no_character_that_hides_passes_for_plain() -> None:
    """Most definitions are told to be plain at a glance, which must see all that a closer look would."""
    for number in [*range(0x3000), *range(0xFB00, 0x10000), *range(0xE0000, 0xE0200)]:
        text = chr(number) * 2
        closer = [each for each in scan("tools", "t", ["\x1b", text]) if each.place == "1"]
        assert len(scan("tools", "t", text)) == len(closer), hex(number)


def test_of_one_definition_there_is_an_end_to_it() -> None:
    assert len(scan("tools", "t", ["\u200b"] * 1000)) == MAX_PLACES
    assert len(scan("tools", "t", ["\u200b" * 1000])) == 1


def test_a_place_is_shown_in_brief() -> None:
    (found,) = scan("tools", "t", {"k" * 10_000: {"fine": "\u200b"}})
    assert found.place == "k" * MAX_KEY + "….fine"
    nested: object = "\u200b"
    for _ in range(MAX_DEPTH):
        nested = {"k" * 1000: nested}
    (found,) = scan("tools", "t", nested)
    assert found.place == "…" + ("." + "k" * MAX_KEY + "…") * MAX_KEYS


def test_instructions_are_a_text_of_their_own() -> None:
    (found,) = scan("instructions", "instructions", "Obey.<!-- me -->")
    assert (found.place, found.what) == ("", "an HTML comment")
    assert scan("instructions", "instructions", None) == []


def test_depth_is_no_defence() -> None:
    nested: object = "\u200b"
    for _ in range(MAX_DEPTH):
        nested = [nested]
    assert len(scan("tools", "t", nested)) == 1
