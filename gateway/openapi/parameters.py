"""The parameters of an operation: which are arguments of its tool, and which are the configuration's alone."""

import re
from collections.abc import Collection, Iterator
from typing import Any, Final, cast

from gateway.openapi.faults import OperationFault
from gateway.openapi.model import Parameter, Place
from gateway.openapi.names import argument_name
from gateway.openapi.refs import Refs

Node = dict[str, Any]

_PLACES: Final[tuple[Place, ...]] = ("path", "query", "header", "cookie")
"""Who comes first keeps a name that several want."""
_STYLES: Final[dict[Place, tuple[str, tuple[str, ...]]]] = {
    "path": ("simple", ("simple", "label", "matrix")),
    "query": ("form", ("form", "spaceDelimited", "pipeDelimited", "tabDelimited", "deepObject")),
    "header": ("simple", ("simple",)),
    "cookie": ("form", ("form",)),
}
"""Place → its usual style, and those that there are."""

OUR_HEADERS: Final = frozenset(
    {
        *("accept", "accept-encoding", "authorization", "baggage", "connection", "content-encoding", "content-length"),
        *("content-type", "cookie", "expect", "forwarded", "host", "keep-alive", "origin", "proxy-authorization"),
        *("proxy-connection", "set-cookie", "te", "traceparent", "tracestate", "trailer", "transfer-encoding"),
        *("upgrade", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto"),
        *("x-http-method", "x-http-method-override", "x-method-override", "x-original-url", "x-real-ip"),
        "x-rewrite-url",
    }
)
"""Headers that no argument sets: they carry credentials, say where a request goes, or are HTTP's own."""
_CREDENTIAL: Final = re.compile(
    r"(?:^|[-_])(?:authori[sz]ation|auth|token|api[-_]?key|apikey|access[-_]?key|secret|password|credentials?|session)$",
    re.IGNORECASE,
)
_NO_CREDENTIAL: Final = re.compile(r"page|next|continu|sync|cursor|csrf|xsrf|idempot", re.IGNORECASE)

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TEMPLATE: Final = re.compile(r"\{([^{}]+)\}")


def merged(path_item: Node, operation: Node, refs: Refs) -> list[Node]:
    """The parameters of an operation, references resolved; its own replace those of its path.

    Raises:
        OperationFault: one leads nowhere.
    """
    found: dict[tuple[Any, Any], Node] = {}
    for each in (*_list(path_item.get("parameters")), *_list(operation.get("parameters"))):
        node = refs.follow(each)
        if isinstance(node.get("name"), str) and isinstance(node.get("in"), str):
            found[node["in"], node["name"].lower() if node["in"] == "header" else node["name"]] = node
    return list(found.values())


def arguments(
    path: str, nodes: list[Node], reserved: "ReservedNames", refs: Refs, taken: set[str]
) -> list[tuple[Parameter, Node]]:
    """The arguments of a tool, each with its schema and description; adds their names to `taken`.

    Raises:
        OperationFault: one has no place or style that there is.
    """
    in_path = set(_TEMPLATE.findall(path))
    known = {node["name"] for node in nodes if node["in"] == "path"}
    undeclared: list[Node] = [{"name": name, "in": "path"} for name in sorted(in_path - known)]
    found: list[tuple[Parameter, Node]] = []
    for place in _PLACES:
        for node in (*nodes, *undeclared):
            if node["in"] != place or (place == "path" and node["name"] not in in_path):
                continue
            if reserved.has(place, node["name"]):
                continue
            found.append((_parameter(place, node, refs, taken), _schema(node, refs)))
    if strange := next((node["in"] for node in nodes if node["in"] not in _PLACES), None):
        raise OperationFault(f"has a parameter in {strange[:40]!r}, which is no place of a request")
    return found


def is_token(name: str) -> bool:
    """Whether it can be the name of a header or of a cookie (RFC 9110, 5.6.2), and nothing else besides."""
    return bool(_TOKEN.fullmatch(name))


def _parameter(place: Place, node: Node, refs: Refs, taken: set[str]) -> Parameter:
    if place in ("header", "cookie") and not is_token(node["name"].removesuffix("[]")):
        raise OperationFault(f"has a {place} {node['name'][:60]!r}, which is no name for one")
    usual, styles = _STYLES[place]
    style = node.get("style", usual)
    if style not in styles:
        raise OperationFault(f"has a parameter {node['name'][:60]!r} of style {str(style)[:40]!r} in its {place}")
    explode = node.get("explode")
    argument = argument_name(node["name"], taken, place)
    taken.add(argument)
    content = node.get("content")
    return Parameter(
        argument=argument,
        name=node["name"],
        place=place,
        style=style,
        explode=explode if isinstance(explode, bool) else style in ("form", "deepObject"),
        reserved=place == "query" and node.get("allowReserved") is True,
        is_json=bool(refs.follow(content)),
        required=place == "path" or node.get("required") is True,
    )


def _schema(node: Node, refs: Refs) -> Node:
    content = node.get("content")
    if isinstance(content, dict) and content:
        schema = refs.follow(next(iter(cast(Node, content).values()))).get("schema")
    else:
        schema = node.get("schema")
    made: Node = cast(Node, schema) if isinstance(schema, dict) else {"type": "string"}
    if isinstance(node.get("description"), str):
        made = {**made, "description": node["description"]}
    if node.get("deprecated") is True:
        made = {**made, "deprecated": True}
    if "example" in node and "example" not in made:
        made = {**made, "example": node["example"]}
    return made


class ReservedNames:
    """What is the configuration's alone.

    Args:
        headers: those that it sends, lower case.
        query: parameters of the query that it sends.
        schemes: the document's security schemes, references resolved.
    """

    def __init__(self, headers: Collection[str], query: Collection[str], schemes: Collection[Node]) -> None:
        self._headers = {*OUR_HEADERS, *headers}
        self._query = set(query)
        self._cookies: set[str] = set()
        for scheme in schemes:
            name = scheme.get("name")
            if scheme.get("type") == "apiKey" and isinstance(name, str):
                if scheme.get("in") == "header":
                    self._headers.add(name.lower())
                elif scheme.get("in") == "query":
                    self._query.add(name)
                elif scheme.get("in") == "cookie":
                    self._cookies.add(name)

    def has(self, place: str, name: str) -> bool:
        if place == "header":
            return name.lower() in self._headers or _is_credential(name)
        if place == "cookie":
            return name in self._cookies or _is_credential(name)
        return place == "query" and name in self._query


def _is_credential(name: str) -> bool:
    """Whether a header or a cookie of that name proves who somebody is, whatever the document calls it."""
    return bool(_CREDENTIAL.search(name)) and not _NO_CREDENTIAL.search(name)


def _list(value: Any) -> Iterator[Any]:
    return iter(cast("list[Any]", value) if isinstance(value, list) else [])
