"""The body of a request: in which of the media types that an API takes it is written, and from which argument."""

from typing import Any, Final, cast

from gateway.openapi.faults import OperationFault
from gateway.openapi.inspecting import has_files, is_file, is_object, properties_of
from gateway.openapi.model import Body, BodyKind, FormField
from gateway.openapi.refs import Refs
from gateway.openapi.schemas import FILE

Node = dict[str, Any]

FORM: Final = "application/x-www-form-urlencoded"
MULTIPART: Final = "multipart/form-data"
_TEXTS: Final = ("xml", "yaml", "csv", "html", "graphql", "javascript", "toml", "ndjson", "jsonl", "x-www")


def body_of(request_body: Any, argument: str, refs: Refs) -> tuple[Body, Node] | None:
    """The argument that is the body, and its schema; None if there is no body.

    Raises:
        OperationFault: it cannot be written from arguments.
    """
    node = refs.follow(request_body)
    content = node.get("content")
    if not isinstance(content, dict) or not content:
        return None
    media, kind, chosen = _choice(cast(Node, content), refs)
    schema: Any = chosen.get("schema")
    schema = cast(Node, schema) if isinstance(schema, dict) else {}
    fields: dict[str, FormField] = {}
    if kind == "file":
        schema = dict(FILE)
    elif kind == "text":
        schema = {"type": "string", "description": f"As {media}."}
    elif kind in ("form", "multipart"):
        encoding = chosen.get("encoding")
        fields = _fields(schema, cast(Node, encoding) if isinstance(encoding, dict) else {}, refs)
    description = node.get("description")
    if isinstance(description, str) and description and "$ref" not in schema:
        schema = {**schema, "description": description}
    return Body(argument, kind, media, node.get("required") is True, fields), schema


def plain_media(media: str) -> str:
    """A media type without its parameters, in lower case."""
    return media.partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    plain = plain_media(media)
    return plain in ("application/json", "text/json") or plain.endswith("+json")


def _choice(content: Node, refs: Refs) -> tuple[str, BodyKind, Node]:
    offered = [(media, refs.follow(each)) for media, each in content.items()]
    return min((_ranked(media, each, refs) for media, each in offered), key=lambda found: found[0])[1:]


def _ranked(media: str, node: Node, refs: Refs) -> tuple[int, str, BodyKind, Node]:
    plain = plain_media(media)
    if plain == "application/json":
        return 0, media, "json", node
    if plain == "application/merge-patch+json":
        return 1, media, "json", node
    if is_json(plain):
        return 2, media, "json", node
    if plain == FORM:
        return 4, FORM, "form", node
    if plain in (MULTIPART, "multipart/*"):
        return (3 if has_files(node.get("schema"), refs) else 5), MULTIPART, "multipart", node
    if plain in ("*/*", "application/*") and _is_structured(node.get("schema"), refs):
        return 6, "application/json", "json", node
    if plain.startswith("multipart/"):
        return 9, media, "file", node
    if plain.startswith("text/") or any(word in plain for word in _TEXTS):
        return 7, media if "*" not in media else "text/plain", "text", node
    return 8, media if "*" not in media else "application/octet-stream", "file", node


def _is_structured(schema: Any, refs: Refs) -> bool:
    return is_object(schema, refs) is True or "items" in refs.follow(schema)


def _fields(schema: Node, encoding: Node, refs: Refs) -> dict[str, FormField]:
    return {
        name: _field(each, refs.follow(encoding.get(name)), refs) for name, each in properties_of(schema, refs).items()
    }


def _field(schema: Node, encoding: Node, refs: Refs) -> FormField:
    style, explode, media = encoding.get("style"), encoding.get("explode"), encoding.get("contentType")
    known = style if style in ("form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject") else "form"
    return FormField(
        style=known,
        explode=explode if isinstance(explode, bool) else known in ("form", "deepObject"),
        media=media.partition(",")[0].strip() if isinstance(media, str) and "*" not in media else "",
        is_file=is_file(schema, refs),
        is_plain=style is not None or not _is_nested(schema, refs),
    )


def _is_nested(schema: Node, refs: Refs) -> bool:
    """Whether it is an object, or a list of such, which a form has no usual way to write."""
    items = schema.get("items")
    return is_object(schema, refs) is True or (isinstance(items, dict) and is_object(items, refs) is True)


def check_media(media: str) -> None:
    """
    Raises:
        OperationFault: it is no media type, and must not stand in a header.
    """
    if not media.isascii() or not media.isprintable() or "/" not in media:
        raise OperationFault(f"has a body of {media[:60]!r}, which is no media type")
