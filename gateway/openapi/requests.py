"""From a tool's arguments to an HTTP request. An argument never leaves its place.

Whatever a value is: in the path it stays one segment, in the query one pair, in a header one line; and what the
configuration sends (credentials, cookies, `Host`) no argument replaces.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from gateway import jsonrpc
from gateway.openapi import values
from gateway.openapi.faults import ArgumentFault
from gateway.openapi.files import FileContent, file_of
from gateway.openapi.model import Body, FormField, Operation, Parameter
from gateway.openapi.parameters import OUR_HEADERS
from gateway.openapi.security import NO_PROOF, Proof
from gateway.openapi.values import Pair, as_dict, as_list, text

_VARIABLE: Final = re.compile(r"\{([^{}]+)\}")
_LITERAL: Final = "!$&'()*+,;=:@%-._~"
"""What a document's own text keeps in a path."""
NO_FILES: Final[Mapping[str, FileContent]] = {}


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An HTTP request, but for what is the same in all."""

    method: str
    target: str
    """Path and query, encoded."""
    headers: tuple[Pair, ...] = ()
    """Lower-case names; without what HTTP itself needs."""
    body: bytes | None = None
    visible: str = ""
    """`target` without what the configuration adds."""


def build(
    operation: Operation,
    arguments: Mapping[str, Any],
    *,
    base: str = "",
    proof: Proof = NO_PROOF,
    linked: Mapping[str, FileContent] = NO_FILES,
    boundary: Callable[[], str] = lambda: "boundary",
) -> ApiRequest:
    """The request that a call of an operation's tool is.

    Args:
        base: path of the server, encoded, without `/` at its end.
        proof: what the configuration sends. Its headers are not written here, but none of them is set either.
        linked: what URIs among the arguments lead to.
        boundary: makes a boundary that is in no file.

    Raises:
        ArgumentFault: there is none.
    """
    _check(operation, arguments)
    given = [(each, arguments[each.argument]) for each in operation.parameters if _is_given(arguments, each.argument)]
    path = base + _path(operation, {each.name: (each, value) for each, value in given if each.place == "path"})
    visible = "&".join(filter(None, [operation.fixed_query, *_query(operation, given, proof)]))
    added = [values.query_of(name, value) for name, value in proof.query.items()]
    query = "&".join(filter(None, [visible, *added]))
    headers = dict(_headers(given, proof))
    if cookies := _cookies(given, proof):
        headers["cookie"] = cookies
    headers["accept"] = operation.accept
    body = None
    if operation.body is not None and _is_given(arguments, operation.body.argument):
        body, media = _body(operation.body, arguments[operation.body.argument], linked, boundary)
        headers["content-type"] = media
    elif operation.method in ("POST", "PUT", "PATCH"):
        body = b""
    return ApiRequest(
        operation.method,
        path + (f"?{query}" if query else ""),
        tuple(headers.items()),
        body,
        path + (f"?{visible}" if visible else ""),
    )


def _is_given(arguments: Mapping[str, Any], name: str) -> bool:
    return arguments.get(name) is not None


def _check(operation: Operation, arguments: Mapping[str, Any]) -> None:
    body = operation.body
    known = [each.argument for each in operation.parameters] + ([body.argument] if body is not None else [])
    if unknown := [name for name in arguments if name not in known]:
        takes = f"it takes {', '.join(f'`{name}`' for name in known)}" if known else "it takes none"
        raise ArgumentFault(f"There is no argument `{unknown[0][:60]}`; {takes}.")
    needed = [each.argument for each in operation.parameters if each.required]
    needed += [body.argument] if body is not None and body.required else []
    if missing := [name for name in needed if not _is_given(arguments, name)]:
        raise ArgumentFault(f"{', '.join(f'`{name}`' for name in missing)} must be given.")


# --- Path and query ---------------------------------------------------------------------------------------------------


def _path(operation: Operation, given: Mapping[str, tuple[Parameter, Any]]) -> str:
    segments: list[str] = []
    for template in operation.path.split("/"):
        pieces = _VARIABLE.split(template)
        if len(pieces) == 1:
            segments.append(quote(template, safe=_LITERAL))
            continue
        joined = "".join(
            quote(piece, safe=_LITERAL) if index % 2 == 0 else values.in_path(*given[piece])
            for index, piece in enumerate(pieces)
        )
        segments.append(values.segment(joined))
    return "/".join(segments)


def _query(operation: Operation, given: list[tuple[Parameter, Any]], proof: Proof) -> Iterator[str]:
    declared = {each.name for each in operation.parameters if each.place == "query"}
    fixed = {pair.partition("=")[0] for pair in operation.fixed_query.split("&")}
    for parameter, value in given:
        if parameter.place == "query":
            others = (declared - {parameter.name}) | proof.query.keys() | fixed
            for name, each in values.pairs(parameter, value):
                _stays(parameter.argument, name, others)
                yield values.query_of(name, each, reserved=parameter.reserved)


def _stays(argument: str, name: str, others: set[str]) -> None:
    """
    Raises:
        ArgumentFault: a member of an object would be taken for another parameter.
    """
    if name in others:
        raise ArgumentFault(f"`{argument}` has a member {name[:60]!r}, which is a parameter of its own; give it there")


def _headers(given: list[tuple[Parameter, Any]], proof: Proof) -> Iterator[Pair]:
    for parameter, value in given:
        name = parameter.name.lower()
        if parameter.place == "header" and name not in OUR_HEADERS and name not in proof.headers:
            yield name, values.in_header(parameter, value)


def _cookies(given: list[tuple[Parameter, Any]], proof: Proof) -> str:
    """Those that the configuration sends, and after them the arguments, none of which can be one of those."""
    written = [proof.headers["cookie"]] if "cookie" in proof.headers else []
    written += [f"{name}={value}" for name, value in proof.cookies.items()]
    taken = {pair.partition("=")[0].strip() for each in written for pair in each.split(";")}
    for parameter, value in given:
        if parameter.place == "cookie":
            for name, each in values.pairs(parameter, value):
                _stays(parameter.argument, name, taken)
                written.append(f"{quote(name, safe='')}={quote(each, safe='')}")
    return "; ".join(written)


# --- Body -------------------------------------------------------------------------------------------------------------


def _body(body: Body, value: Any, linked: Mapping[str, FileContent], boundary: Callable[[], str]) -> tuple[bytes, str]:
    """The body, and its media type."""
    if body.kind == "json":
        return jsonrpc.dumps(value), body.media
    if body.kind == "text":
        return (text(value)).encode("utf-8", "replace"), _with_charset(body.media)
    if body.kind == "file":
        file = file_of(body.argument, value, linked)
        return file.data, file.media if body.media == "application/octet-stream" and file.media else body.media
    members = as_dict(value)
    if members is None:
        raise ArgumentFault(f"`{body.argument}` must be an object: a form is written of it")
    known = {name: each for name, each in members.items() if each is not None}
    if body.kind == "form":
        return "&".join(_form(body, known)).encode(), body.media
    mark = boundary()
    parts = b"".join(b"--%s\r\n%s\r\n" % (mark.encode(), part) for part in _parts(body, known, linked))
    return parts + b"--%s--\r\n" % mark.encode(), f"{body.media}; boundary={mark}"


def _with_charset(media: str) -> str:
    return media if "charset" in media.lower() else f"{media}; charset=utf-8"


def _field(body: Body, name: str, value: Any) -> FormField:
    if (field := body.fields.get(name)) is not None:
        return field
    nested = isinstance(value, dict) or any(isinstance(each, list | dict) for each in as_list(value) or [])
    return FormField(is_plain=not nested)


def _form(body: Body, members: Mapping[str, Any]) -> Iterator[str]:
    for name, value in members.items():
        for key, each in values.field_pairs(name, _field(body, name, value), value):
            _stays(name, key, (body.fields.keys() | members.keys()) - {name})
            yield values.query_of(key, each)


def _parts(body: Body, members: Mapping[str, Any], linked: Mapping[str, FileContent]) -> Iterator[bytes]:
    for name, value in members.items():
        field = _field(body, name, value)
        for each in as_list(value) if field.explode and as_list(value) is not None else [value]:  # pyright: ignore[reportOptionalIterable]
            yield _part(name, field, each, linked)


def _part(name: str, field: FormField, value: Any, linked: Mapping[str, FileContent]) -> bytes:
    """RFC 7578; names as browsers write them (WHATWG, HTML, 4.10.22.8)."""
    head = f'content-disposition: form-data; name="{_quoted(name)}"'
    if field.is_file:
        file = file_of(name, value, linked)
        media = field.media or file.media or "application/octet-stream"
        head += f'; filename="{_quoted(file.name or name)}"'
        content = file.data
    elif isinstance(value, list | dict):
        media, content = field.media or "application/json", jsonrpc.dumps(value)
    else:
        media, content = field.media, text(value).encode("utf-8", "replace")
    lines = f"{head}\r\n" + (f"content-type: {media}\r\n" if media else "")
    return lines.encode("utf-8", "replace") + b"\r\n" + content


def _quoted(name: str) -> str:
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22").replace("\0", "")
