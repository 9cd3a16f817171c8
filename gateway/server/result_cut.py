"""Where a result is cut that is too large to be given at once. Pure; sizes are in bytes of UTF-8.

Text is what models read: text blocks, and the text of embedded resources. All of a result together is one document, the
blocks one after another with a line break between them; what is given is its head, and places in it are counted in
characters. Whatever else a result has (images, audio, links) costs other than by its letters, and stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import msgspec

from gateway import jsonrpc
from gateway.jsonrpc import as_object
from gateway.server.in_pieces import blocks_of

NEAR: Final = 4
"""A line end in the last fourth of what fits is near: the head ends there."""

MORE: Final = 2
"""So many times as long as the text, structured content says more than that."""

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CutResult:
    """What becomes of a result of which only the head is given."""

    content: list[Any]
    """The blocks that are left."""
    document: str
    size: int
    """The document's bytes."""
    end: int
    """How many characters of the document they have."""

    @property
    def bytes_left(self) -> int:
        """How much is not given."""
        return self.size - len(_utf8(self.document[: self.end]))


def cut(result: Mapping[str, Any], budget: int, reserved: int) -> CutResult | None:
    """None if it fits, and is to be given as it is.

    Structured content says the same as the text, as a rule; where it has so much more that it cannot, it stands in the
    document as JSON, after the text.

    Args:
        budget: the most bytes of text, or of structured content.
        reserved: how many of these are needed to say that something is missing.

    Raises:
        ValueError: it cannot be looked into.
    """
    raw_content, raw_structured = result.get("content"), result.get("structuredContent")
    if _size(raw_content) <= budget and _size(raw_structured) <= budget:
        return None
    content: object = blocks_of(bytes(raw_content)) if isinstance(raw_content, msgspec.Raw) else raw_content
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    texts = [text for block in blocks if (text := text_of(block)) is not None]
    structured = _encoded(raw_structured)
    document = "\n".join(texts)
    size = len(_utf8(document))
    is_said = len(structured) <= MORE * size
    if size <= budget and (is_said or len(structured) <= budget):
        return None
    if not is_said:
        said = {"type": "text", "text": structured.decode()}
        blocks = [*blocks, said]
        document = "\n".join([*texts, said["text"]])
        size = len(_utf8(document))
    left, end = _head(blocks, max(budget - reserved, budget // 2))
    return CutResult(left, document, size, end)


def head(text: str, size: int, *, goes_on: bool = False) -> str:
    """The head of a text in at most that many bytes: to a line end where one is near, and never within a character.

    Args:
        goes_on: whether there is more than this text.
    """
    data = _utf8(text[:size])
    if len(data) > size:
        while data[size] & 0xC0 == 0x80:  # a character goes on here
            size -= 1
        data = data[:size]
    kept = data.decode("utf-8", "surrogatepass")
    if len(kept) == len(text) and not goes_on:
        return text
    at = kept.rfind("\n", len(kept) - len(kept) // NEAR)
    return kept[: at + 1] if at >= 0 else kept


def _head(blocks: list[Any], room: int) -> tuple[list[Any], int]:
    """The blocks that are left, and how many characters of the document that is. Once the room is used up, no text
    follows, however short."""
    left: list[Any] = []
    end, is_full = 0, False
    for block in blocks:
        text = text_of(block)
        if text is None:
            left.append(block)
        elif not is_full:
            size = len(_utf8(text))
            if size <= room:
                left.append(block)
                room -= size + 1
                end += len(text) + 1
            else:
                is_full = True
                if begun := head(text, max(room, 0)):
                    left.append(_with_text(block, begun))
                    end += len(begun)
    return left, end


def _with_text(block: Block, text: str) -> Block:
    """A resource of which there is only some is none: of that, its text is left."""
    return {**block, "text": text} if block["type"] == "text" else {"type": "text", "text": text}


def text_of(block: object) -> str | None:
    """What of a block counts; None if nothing does."""
    known = as_object(block)
    text = known.get("text") if known.get("type") == "text" else None
    if known.get("type") == "resource":
        text = as_object(known.get("resource")).get("text")
    return text if isinstance(text, str) else None


def _size(value: object) -> int:
    """At least as large as all text in it."""
    return len(bytes(value)) if isinstance(value, msgspec.Raw) else len(_encoded(value))


def _encoded(value: object) -> bytes:
    if value is None:
        return b""
    return bytes(value) if isinstance(value, msgspec.Raw) else jsonrpc.dumps(value)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
