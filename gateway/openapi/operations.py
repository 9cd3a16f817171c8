"""A document's operations as tools: each becomes one, or is named with the reason why not."""

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Final, cast
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from gateway.openapi import bodies, parameters, resources, swagger2
from gateway.openapi.faults import DocumentFault, OperationFault
from gateway.openapi.inspecting import is_object
from gateway.openapi.model import ApiInfo, Body, Compiled, CompileOptions, LeftOut, Operation, Parameter, SecurityScheme
from gateway.openapi.names import argument_name, matches, spellings, tool_names
from gateway.openapi.refs import Refs
from gateway.openapi.schemas import LARGE, MAX_OUTPUT, MAX_TEXT, clipped, written

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "query")
"""Those that operations have; `trace` gives a server's own headers back, credentials among them."""
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "QUERY"})
IDEMPOTENT: Final = SAFE | {"PUT", "DELETE"}
"""RFC 9110, 9.2."""
MAX_OPERATIONS: Final = 10_000
META: Final = "mcp-gateway/operation"
"""The member of a tool's `_meta` that says which request it is: a changed one is a changed definition."""

Node = dict[str, Any]


def compile_document(document: Any, options: CompileOptions) -> Iterator[Compiled]:
    """What a document says of its API, and then its operations, in their order.

    Raises:
        DocumentFault: it is no OpenAPI document.
    """
    return _Document(document, options).compiled()


class _Document:
    def __init__(self, document: Any, options: CompileOptions) -> None:
        if not isinstance(document, dict):
            raise DocumentFault("is not a JSON or YAML object")
        self._node = cast(Node, document)
        self._options = options
        self._refs = Refs(self._node, options.unavailable)
        self.spec = str(self._node.get("openapi") or self._node.get("swagger") or "")
        self._is_2 = self.spec.startswith("2.")
        if not self._is_2 and not self.spec.startswith("3."):
            found = f"says version {self.spec[:20]!r}" if self.spec else "has neither `openapi` nor `swagger`"
            raise DocumentFault(f"{found}; OpenAPI 3.0, 3.1 and Swagger 2.0 are understood")
        if not isinstance(self._node.get("paths"), dict):
            raise DocumentFault("has no `paths`")
        self._schemes = self._security_schemes()
        self._server = self._first_server(self._node) if options.uses_servers else ""
        self._reserved = parameters.ReservedNames(options.headers, options.query, list(self._schemes.values()))

    def compiled(self) -> Iterator[Compiled]:
        found = list(self._operations())
        yield self._info(len(found))
        ids = {key: id if isinstance(id := node.get("operationId"), str) else "" for key, _, _, _, node in found}
        names = tool_names(ids)
        for key, method, path, item, node in found:
            name = names[key]
            seen_as = spellings(name, ids[key])
            if not matches(self._options.operations, seen_as):
                continue
            try:
                operation = self._operation(name, method, path, item, node)
            except OperationFault as fault:
                yield LeftOut(name, str(fault))
                continue
            if method == "GET" and matches(self._options.resources, seen_as):
                try:
                    operation = resources.with_resource(operation, self._options.upstream)
                except OperationFault as fault:
                    yield LeftOut(name, f"cannot be a resource: {fault}")
            yield operation

    def _operations(self) -> Iterator[tuple[str, str, str, Node, Node]]:
        """Key, method, path, the path's item, and the operation."""
        number = 0
        for path, given in cast(Node, self._node["paths"]).items():
            if not path.startswith("/"):
                continue  # an extension
            try:
                item = self._refs.follow(given)
            except OperationFault:
                item = {"get": given}  # is named with its reason
            for method in METHODS:
                if isinstance(item.get(method), dict):
                    number += 1
                    if number > MAX_OPERATIONS:
                        raise DocumentFault(f"has more than {MAX_OPERATIONS} operations")
                    yield f"{method} {path}", method.upper(), path, item, item[method]

    # --- One operation ------------------------------------------------------------------------------------------------

    def _operation(self, name: str, method: str, path: str, item: Node, node: Node) -> Operation:
        if "$ref" in node:
            node = self._refs.follow(node)
        path = path.partition("#")[0]  # which only tells apart what has one path
        path, _, fixed = path.partition("?")
        if any(c.isspace() or not c.isprintable() for c in path + fixed) or "{" in fixed:
            raise OperationFault("has what no path can have in its path")
        self._check_server(item, node)
        given = parameters.merged(item, node, self._refs)
        if self._is_2:
            node, given = swagger2.operation(self._node, node, given, self._refs)
        in_path = {pair.partition("=")[0] for pair in fixed.split("&")}
        given = [each for each in given if each["in"] != "query" or each["name"] not in in_path]
        taken: set[str] = set()
        arguments = parameters.arguments(path, given, self._reserved, self._refs, taken)
        body = bodies.body_of(node.get("requestBody"), argument_name("body", taken, "request"), self._refs)
        if body is not None:
            bodies.check_media(body[0].media)
        output, wraps, accept = self._output(node)
        plan = Operation(
            name=name,
            method=method,
            path=path,
            fixed_query=quote(fixed, safe="=&+%:,/@!$'()*;?-._~"),
            tool={},
            parameters=tuple(parameter for parameter, _ in arguments),
            body=body[0] if body is not None else None,
            accept=accept,
            wraps=wraps,
            security=self._security(node),
        )
        tool: Node = {"name": name, **_words(node, f"{method} {path}")}
        tool["inputSchema"] = self._input(arguments, body)
        if output is not None:
            tool["outputSchema"] = output
        tool["annotations"] = _hints(method, tool.get("title"))
        digest = blake2b(msgspec.json.encode([plan, self._server]), digest_size=8).hexdigest()
        tool["_meta"] = {META: {"method": method, "path": path, "digest": digest}}
        return msgspec.structs.replace(plan, tool=tool)

    def _input(self, arguments: list[tuple[Parameter, Node]], body: tuple[Body, Node] | None) -> Node:
        properties: Node = {parameter.argument: schema for parameter, schema in arguments}
        required = [parameter.argument for parameter, _ in arguments if parameter.required]
        if body is not None:
            properties[body[0].argument] = body[1]
            required += [body[0].argument] if body[0].required else []
        whole: Node = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
        files = body is not None and body[0].kind == "multipart"
        limit = int(LARGE * self._options.scale)
        schema = written(whole, self._refs, "input", limit=limit, files=files)
        if schema is None and body is not None:
            properties[body[0].argument] = {"description": "See the API's own documentation; too large to be shown."}
            schema = written(whole, self._refs, "input", limit=limit)
        if schema is None:
            raise OperationFault(f"has parameters whose schemas are larger than {limit} bytes")
        return schema

    def _output(self, node: Node) -> tuple[Node | None, bool, str]:
        """The output schema, whether it is of an object that holds the answer, and what to accept."""
        responses = node.get("responses")
        by_code = cast("dict[Any, Any]", responses) if isinstance(responses, dict) else {}
        found = {str(code): each for code, each in by_code.items()}  # YAML's are numbers
        successes = sorted(code for code in found if code.startswith("2")) or ["default"]
        schemas: list[Node] = []
        accepted: dict[str, None] = {}
        for code in successes:
            try:
                content = self._refs.follow(found.get(code)).get("content")
            except OperationFault:
                continue
            if isinstance(content, dict):
                for media, each in cast(Node, content).items():
                    accepted[media] = None
                    schema = each.get("schema") if isinstance(each, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                    if bodies.is_json(media) and isinstance(schema, dict) and schema not in schemas:
                        schemas.append(cast(Node, schema))
        accept = _accept(list(accepted))
        if not schemas or self._options.output == "none":
            return None, False, accept
        try:
            return *self._output_of(schemas), accept
        except OperationFault:
            return None, False, accept

    def _output_of(self, schemas: list[Node]) -> tuple[Node | None, bool]:
        relaxed = self._options.output == "relaxed"
        are = {is_object(schema, self._refs) for schema in schemas}
        if None in are or len(are) > 1:
            return None, False
        wraps = are == {False}
        if not wraps and len(schemas) > 1 and not relaxed:
            return None, False
        whole: Node = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        if wraps:
            whole = {"type": "object", "properties": {"result": whole}, "required": ["result"]}
        schema = written(whole, self._refs, "output", limit=int(MAX_OUTPUT * self._options.scale), relaxed=relaxed)
        if schema is None:
            return None, wraps
        return {**schema, "type": "object"}, wraps

    # --- The document as a whole --------------------------------------------------------------------------------------

    def _info(self, operations: int) -> ApiInfo:
        info = self._node.get("info")
        about = cast(Node, info) if isinstance(info, dict) else {}
        text = {key: value for key, value in about.items() if isinstance(value, str)}
        return ApiInfo(
            title=clipped(text.get("title", ""), 200),
            version=clipped(text.get("version", ""), 100),
            description=clipped(text.get("description", ""), 1000),
            spec=self.spec,
            server=self._server,
            schemes={name: _scheme(node) for name, node in self._schemes.items()},
            operations=operations,
        )

    def _security_schemes(self) -> dict[str, Node]:
        if self._is_2:
            found = swagger2.schemes(self._node)
        else:
            found = self._refs.follow(self._refs.follow(self._node.get("components")).get("securitySchemes"))
        schemes: dict[str, Node] = {}
        for name, each in found.items():
            try:
                schemes[name] = self._refs.follow(each)
            except OperationFault as fault:
                raise DocumentFault(f"has a security scheme {name[:60]!r} that {fault}") from None
        return schemes

    def _security(self, node: Node) -> tuple[tuple[str, ...], ...]:
        wanted = node.get("security", self._node.get("security"))
        if not isinstance(wanted, list):
            return ()
        return tuple(tuple(cast(Node, each)) for each in cast("list[Any]", wanted) if isinstance(each, dict))

    def _first_server(self, node: Node) -> str:
        servers = swagger2.servers(self._node) if self._is_2 else node.get("servers")
        for each in cast("list[Any]", servers) if isinstance(servers, list) else []:
            if url := _server_url(self._refs.follow(each), self._options.location):
                return url
        if not isinstance(servers, list) or not servers:
            return _server_url({"url": "/"}, self._options.location)  # OpenAPI 3.1, 4.8.1
        return ""

    def _check_server(self, item: Node, node: Node) -> None:
        """
        Raises:
            OperationFault: it is not where the others are.
        """
        if not self._options.uses_servers or self._is_2:
            return
        at = node if node.get("servers") else item
        if at.get("servers") and (server := self._first_server(at)) != self._server:
            raise OperationFault(f"is at another server ({server[:100]}); give it an entry of its own")


def _server_url(node: Node, location: str) -> str:
    """The URL of a server, its variables at their defaults; empty if it is none that can be used."""
    url = node.get("url")
    if not isinstance(url, str):
        return ""
    variables = node.get("variables")
    for name, each in cast(Node, variables).items() if isinstance(variables, dict) else ():
        default = cast(Node, each).get("default") if isinstance(each, dict) else None
        url = url.replace(f"{{{name}}}", str(default))
    try:
        url = urljoin(location, url)
        parts = urlsplit(url)
        usable = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:
        return ""
    if not usable or "{" in url or any(c.isspace() or not c.isprintable() for c in url):
        return ""
    return url.partition("#")[0].partition("?")[0].rstrip("/")


def _scheme(node: Node) -> SecurityScheme:
    text = {key: value for key, value in node.items() if isinstance(value, str)}
    kind, place, name = text.get("type", ""), text.get("in", ""), text.get("name", "")
    scheme = text.get("scheme", "").lower()
    if (place in ("header", "cookie") and not parameters.is_token(name)) or (
        scheme and not parameters.is_token(scheme)
    ):
        kind = "unknown"
    return SecurityScheme(kind, place, name, scheme)


def _words(node: Node, otherwise: str) -> dict[str, str]:
    """Title and description of a tool."""
    summary, description = node.get("summary"), node.get("description")
    title = re.sub(r"\s+", " ", summary).strip() if isinstance(summary, str) else ""
    text = description.strip() if isinstance(description, str) else ""
    lines = [line for line in (title if title.rstrip(".") not in text else "", text) if line]
    if node.get("deprecated") is True:
        lines.insert(0, "Deprecated.")
    said = clipped("\n\n".join(lines), MAX_TEXT) or otherwise
    return {**({"title": clipped(title, 120)} if title else {}), "description": said}


def _hints(method: str, title: str | None) -> Node:
    """What the method says of what it does (RFC 9110, 9.2). What POST does, it does not say."""
    safe = method in SAFE
    return {
        **({"title": title} if title else {}),
        "readOnlyHint": safe,
        "destructiveHint": not safe,
        "idempotentHint": method in IDEMPOTENT,
        "openWorldHint": True,
    }


def _accept(media: list[str]) -> str:
    """Of what an API answers with, JSON first."""
    known = [each for each in media if re.fullmatch(r"[A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+", each)]
    first = [each for each in known if bodies.is_json(each)]
    ranked = [*first, *(each for each in known if each not in first)][:8]
    if not ranked:
        return "*/*"
    return ", ".join([*ranked, *(["*/*;q=0.1"] if "*/*" not in ranked else [])])
