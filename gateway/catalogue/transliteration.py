"""Names in other scripts, in letters that agents accept: `погода` is `pogoda`, `größe` is `grosse`.

Pure, and the same for ever: decompositions and character names are fixed by Unicode's stability policy. What has no
sound here, such as Chinese characters, is reported as lost, so that the caller can tell two such names apart.
"""

import re
import unicodedata
from typing import Final

_LATIN: Final = "ß ss æ ae ø o ð d þ th đ d ħ h ı i ł l œ oe ŧ t ŋ ng"
_CYRILLIC: Final = (
    "а a б b в v г g д d е e ж zh з z и i к k л l м m н n о o п p р r с s т t у u ф f х kh ц ts ч ch ш sh щ shch "
    "ъ - ы y ь - э e ю yu я ya і i ґ g є ye ђ dj ј j љ lj њ nj ћ c џ dz"
)
_GREEK: Final = "α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps ω o"
_PAIRS: Final = " ".join((_LATIN, _CYRILLIC, _GREEK)).split()
_LETTERS: Final = {letter: sound.replace("-", "") for letter, sound in zip(_PAIRS[::2], _PAIRS[1::2], strict=True)}
"""`-` stands for a letter without a sound."""
_SOUND: Final = re.compile(r"(?:HIRAGANA LETTER|KATAKANA LETTER|HANGUL SYLLABLE) (?:SMALL )?([A-Z]+)")


def latin(text: str) -> tuple[str, bool]:
    """`text` with each character outside ASCII by its sound or as `_`, and whether a letter was lost that way."""
    if text.isascii():
        return text, False
    done: list[str] = []
    lost = False
    for character in unicodedata.normalize("NFC", text):
        sound = _sound(character)
        lost |= sound is None and character.isalpha()
        done.append("_" if sound is None else sound)
    return "".join(done), lost


def _sound(character: str) -> str | None:
    """In ASCII; None when it has none that we know."""
    if character.isascii():
        return character
    if match := _SOUND.match(unicodedata.name(character, "")):
        return match[1].lower()
    if (digit := unicodedata.decimal(character, None)) is not None:
        return str(digit)
    base = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    known = base if base.isascii() else _LETTERS.get(base.lower())
    if known is None:
        return "" if unicodedata.combining(character) or unicodedata.category(character) == "Cf" else None
    return known.capitalize() if character.isupper() and not base.isascii() else known
