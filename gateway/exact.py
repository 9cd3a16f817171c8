"""JSON whose numbers keep their text: `1.50`, `1e400`, `0.1234567890123456789`, integers beyond 64 bits. And half a
surrogate pair its escape: `"\\ud83d"` is what is left of an emoji that JavaScript cut in two.

Slower than `orjson`, above all for what has thousands of decimal fractions; `is_needed` says which documents take this
way. A number that Python would write in another way is a `Number`: a float that remembers how it was written.
"""

import json
import re
from json.encoder import encode_basestring
from typing import Any, Final, cast

import msgspec
import orjson

_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG: Final = b"0" * 19
"""Marks are looked for where all digits are alike: a regular expression takes ten times as long, and most on hostile
input."""
_LONGEST: Final = 24
"""Characters of a float that Python writes: `-2.2250738585072014e-308`."""
_NEGATIVE_ZERO: Final = re.compile(rb"-0(?=[\s,\]}]|\Z)")


class Number(float):
    """A number whose text is not what Python makes of its value."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "Number":
        self = super().__new__(cls, text)
        self.text = text
        return self

    def __reduce__(self) -> tuple[type["Number"], tuple[str]]:
        return Number, (self.text,)


def is_needed(data: bytes) -> bool:
    """Whether a document may have a number that `orjson` would not write as it was. Digits in strings count, too."""
    alike = data.translate(_DIGITS_ALIKE)
    found = alike.find  # `in` makes an exception, and drops it
    if found(b"0.") >= 0 or found(b"0e") >= 0 or found(b"0E") >= 0 or found(_LONG) >= 0:
        return True
    return data.find(b"-0") >= 0 and _NEGATIVE_ZERO.search(data) is not None


def loads(data: bytes) -> Any:
    """
    Raises:
        ValueError: not JSON, nested too deep, not UTF-8, or an integer of more than some 300 digits.
    """
    try:
        if _NEGATIVE_ZERO.search(data) is None:
            try:
                return _decoder.decode(data)
            except msgspec.DecodeError:
                if b"\\ud" not in data and b"\\uD" not in data:
                    raise
        # The standard library lets more pass than JSON is. Surrogates are other characters to this check.
        _syntax.decode(data.replace(b"\\ud", b"\\u0").replace(b"\\uD", b"\\u0"))
        return json.loads(data.decode(), parse_float=_from_text, parse_int=_integer)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """As `jsonrpc.dumps`, for values that `orjson` refuses: integers beyond 64 bits, and half a surrogate pair."""
    try:
        try:
            return (_sorting_encoder if sort_keys else _encoder).encode(value)
        except UnicodeEncodeError:
            pieces: list[str] = []
            _write(value, pieces, sort_keys)
            return "".join(pieces).encode(errors="backslashreplace")
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from None


def verbatim(value: object) -> orjson.Fragment:
    """What `orjson` takes as `default`.

    Raises:
        TypeError: the value is nothing that JSON has.
    """
    if isinstance(value, msgspec.Raw):
        return orjson.Fragment(bytes(value))
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _from_text(text: str) -> float:
    if len(text) > _LONGEST or text.find("e") >= 0 or text.find("E") >= 0:  # encoders differ on exponents
        return Number(text)  # read once, and not written: with what is tiny, either takes long
    value = float(text)
    return value if repr(value) == text else Number(text)


def _integer(text: str) -> int | Number:
    return Number(text) if text == "-0" else int(text)


def _write(value: object, pieces: list[str], sort_keys: bool) -> None:
    """Encode piece by piece: no library writes half a surrogate pair *and* numbers as they were."""
    if isinstance(value, str):
        pieces.append(encode_basestring(value))
    elif isinstance(value, dict):
        members = cast("dict[str, object]", value)
        pieces.append("{")
        for key in sorted(members) if sort_keys else members:
            pieces += (encode_basestring(key), ":")
            _write(members[key], pieces, sort_keys)
            pieces.append(",")
        _close(pieces, "}")
    elif isinstance(value, list | tuple):
        pieces.append("[")
        for each in cast("list[object]", value):
            _write(each, pieces, sort_keys)
            pieces.append(",")
        _close(pieces, "]")
    else:
        pieces.append(_encoder.encode(value).decode())


def _close(pieces: list[str], end: str) -> None:
    if pieces[-1] == ",":
        pieces[-1] = end
    else:
        pieces.append(end)


def _raw(value: object) -> msgspec.Raw:
    if isinstance(value, Number):
        return msgspec.Raw(value.text.encode())
    raise TypeError(f"{type(value).__name__} has no JSON form")


_decoder: Final = msgspec.json.Decoder(float_hook=_from_text)
_syntax: Final = msgspec.json.Decoder(msgspec.Raw)
_encoder: Final = msgspec.json.Encoder(enc_hook=_raw)
encode_spliced: Final = _encoder.encode
"""As `jsonrpc.dumps`, for what is mostly `msgspec.Raw`: three times as fast. For long texts of its own, slower. Raises
whatever it may of what cannot be encoded so."""
_sorting_encoder: Final = msgspec.json.Encoder(enc_hook=_raw, order="deterministic")
