"""From the bytes of a document to lines of JSON, one for each operation: what the process of its own does."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

import msgspec
import orjson
import yaml

from gateway.openapi.bundling import MAX_NAMES, bundled, elsewhere
from gateway.openapi.faults import DocumentFault
from gateway.openapi.model import Compiled, CompileOptions, Elsewhere, LeftOut, Operation
from gateway.openapi.operations import compile_document

MAX_TOOLS: Final = 7 * 1024 * 1024
"""Bytes of all tools together. Where they would be more, schemas are written shorter; what is still too much is left
out."""
_SCALES: Final = (1.0, 0.25, 0.06)
_OTHERS: Final = re.compile(rb"""\$ref["']?\s*:\s*["']?[^"'#\s>|{\[]""")
"""Where a reference may lead to another document."""


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """YAML as JSON has it: keys are text, and there are no dates, and no `yes`."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
        self.flatten_mapping(node)
        pairs = cast("list[tuple[Any, Any]]", node.value)
        return {str(key.value): self.construct_object(value, deep=deep) for key, value in pairs}


def _resolvers() -> dict[Any, list[tuple[str, re.Pattern[str]]]]:
    left_out = {f"tag:yaml.org,2002:{tag}" for tag in ("timestamp", "value", "bool")}
    given = cast("dict[Any, list[tuple[str, re.Pattern[str]]]]", yaml.SafeLoader.yaml_implicit_resolvers)
    kept = {first: [each for each in found if each[0] not in left_out] for first, found in given.items()}
    boolean = "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
    for first in "tTfF":
        kept[first] = [*kept.get(first, []), boolean]
    return kept


_Loader.yaml_implicit_resolvers = _resolvers()


def parse(data: bytes) -> Any:
    """A document as it is written, in JSON or YAML.

    Raises:
        DocumentFault: it is neither, or nested too deep.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        reason = str(error)
    if data.lstrip()[:1] in (b"<", b""):
        raise DocumentFault("is a page of HTML or XML, or empty; give the address of the document itself")
    try:
        return yaml.load(data.decode("utf-8-sig"), _Loader)  # noqa: S506 - it makes plain values only
    except UnicodeDecodeError:
        raise DocumentFault("is not UTF-8") from None
    except RecursionError:
        raise DocumentFault("is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        if data.lstrip()[:1] == b"{":
            raise DocumentFault(f"is not JSON ({reason})") from None
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where is not None else ""
        raise DocumentFault(f"is neither JSON nor YAML: {getattr(error, 'problem', None) or 'no text'}{line}") from None


def compile_bytes(data: bytes, options: CompileOptions, others: Mapping[str, bytes] | None = None) -> list[Compiled]:
    """Everything that a document has to offer; or which others it refers to, if it is not known of these what they are.

    Args:
        others: the documents that it, or one of them, refers to.

    Raises:
        DocumentFault: it cannot be used.
    """
    document, faults = parse(data), dict(options.unavailable)
    if others is not None or _OTHERS.search(data):
        documents: dict[str, Any] = {options.name: document}
        for name, each in (others or {}).items():
            try:
                documents[name] = parse(each)
            except DocumentFault as fault:
                faults[name] = str(fault)
        if others is None and (names := elsewhere(document, options.name) - faults.keys()):
            return [Elsewhere(tuple(sorted(names)))]
        document = bundled(documents, options.name)
        options = msgspec.structs.replace(options, unavailable=faults)
    for scale in _SCALES:
        found = list(compile_document(document, msgspec.structs.replace(options, scale=scale)))
        if sum(_size(each) for each in found) <= MAX_TOOLS:
            return found
    return list(_within(found))  # pyright: ignore[reportPossiblyUnboundVariable]


def look(documents: Mapping[str, bytes]) -> Elsewhere:
    """To which others some documents refer."""
    names: set[str] = set()
    faults: dict[str, str] = {}
    for name, data in documents.items():
        try:
            names |= elsewhere(parse(data), name)
        except DocumentFault as fault:
            faults[name] = str(fault)
    return Elsewhere(tuple(sorted(names)[:MAX_NAMES]), faults)


def _within(found: list[Compiled]) -> Iterator[Compiled]:
    spent = 0
    for each in found:
        spent += _size(each)
        if spent > MAX_TOOLS and isinstance(each, Operation):
            reason = f"is one too many: those before it have {MAX_TOOLS} bytes; choose by `openapi.operations`"
            yield LeftOut(each.name, reason)
        else:
            yield each


def _size(each: Compiled) -> int:
    return len(msgspec.json.encode(each.tool)) if isinstance(each, Operation) else 0
