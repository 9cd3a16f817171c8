"""What a document is compiled to: operations that know where each of their arguments belongs. Plain data."""

from typing import Any, Literal

import msgspec

Place = Literal["path", "query", "header", "cookie"]
BodyKind = Literal["json", "form", "multipart", "file", "text"]


class Parameter(msgspec.Struct, frozen=True):
    """One argument that becomes part of the URL, or of the head of the request."""

    argument: str
    """What the tool calls it."""
    name: str
    """What the API calls it."""
    place: Place
    style: str
    """How arrays and objects are written: `form`, `simple`, `deepObject`, … (OpenAPI 3.1, 4.8.12)."""
    explode: bool
    reserved: bool = False
    """Whether `/` and the like stay as they are in its query."""
    is_json: bool = False
    """Whether the value is written as JSON."""
    required: bool = False


class FormField(msgspec.Struct, frozen=True):
    """How one property of a form is written."""

    style: str = "form"
    explode: bool = True
    media: str = ""
    """Its media type in a multipart body; by its value if empty."""
    is_file: bool = False
    is_plain: bool = True
    """Whether style and explode apply; else an object is written as JSON."""


class Body(msgspec.Struct, frozen=True):
    """The argument that becomes the body."""

    argument: str
    kind: BodyKind
    media: str
    required: bool = False
    fields: dict[str, FormField] = {}


class Operation(msgspec.Struct, frozen=True, tag=True):
    """One operation of an API, and the tool that it is."""

    name: str
    method: str
    path: str
    """Its template, below the server's URL."""
    tool: dict[str, Any]
    fixed_query: str = ""
    """What stands in the query of its path in the document."""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    accept: str = "*/*"
    wraps: bool = False
    """Whether its JSON is no object, so that `structuredContent` holds it under `result`."""
    security: tuple[tuple[str, ...], ...] = ()
    """What it wants as proof: one of these, each of which is a number of security schemes. Nothing: no proof."""
    resource: dict[str, Any] | None = None
    """What it is as a resource, or as a template of resources, if it is one."""


class LeftOut(msgspec.Struct, frozen=True, tag=True):
    """An operation that is no tool, or not all that was asked for, and why."""

    name: str
    reason: str


class SecurityScheme(msgspec.Struct, frozen=True):
    """Where a credential belongs."""

    kind: str
    """`apiKey`, `http`, `oauth2`, `openIdConnect` or `mutualTLS`."""
    place: str = ""
    """Of an `apiKey`: `header`, `query` or `cookie`."""
    name: str = ""
    """Of an `apiKey`: what it is called there."""
    scheme: str = ""
    """Of `http`: `bearer`, `basic`, …"""


class ApiInfo(msgspec.Struct, frozen=True, tag=True):
    """What the document says of the API as a whole."""

    title: str = ""
    version: str = ""
    description: str = ""
    spec: str = ""
    """The version of OpenAPI."""
    server: str = ""
    """The URL of the first server that it names, as far as that may be used."""
    schemes: dict[str, SecurityScheme] = {}
    operations: int = 0
    """How many there are in the document, whatever is offered of them."""


class Elsewhere(msgspec.Struct, frozen=True, tag=True):
    """There are other documents to be had first."""

    names: tuple[str, ...]
    """URLs, or paths relative to the folder of the first document."""
    faults: dict[str, str] = {}
    """Those that were there and are none, and why."""


Compiled = ApiInfo | Operation | LeftOut | Elsewhere


class CompileOptions(msgspec.Struct, frozen=True):
    """What of a document is wanted."""

    upstream: str
    operations: tuple[str, ...] = ("*",)
    """Globs of those that count at all."""
    query: tuple[str, ...] = ()
    """Parameters of the query that the configuration sends; no argument may."""
    resources: tuple[str, ...] = ()
    """Globs of the GET operations that are resources, too."""
    headers: tuple[str, ...] = ()
    """Headers that the configuration sends; no argument may. Lower case."""
    uses_servers: bool = False
    """Whether the servers that the document names count."""
    location: str = ""
    """The document's URL, if it has one: relative servers are relative to that."""
    name: str = ""
    """What other documents call it: its URL, or the name of its file."""
    unavailable: dict[str, str] = {}
    """Other documents that cannot be had, and why."""
    looks: bool = False
    """Whether these are other documents, of which only is wanted to which further ones they refer."""
    output: Literal["relaxed", "exact", "none"] = "relaxed"
    scale: float = 1.0
    """How large schemas may be, of what they usually may."""
