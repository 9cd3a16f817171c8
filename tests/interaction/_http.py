"""HTTP as the plainest of agents speaks it: one request at a time, its response as it comes, nothing assumed."""

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any, Final
from urllib.parse import urlsplit

from tests.interaction._wire import INITIALIZED, Message, request, until_answer
from tests.servers.peers import OPENING, SECONDS
from tests.servers.wire import decode, encode, on_lines

BOTH: Final = {"Accept": "application/json, text/event-stream"}
JSON: Final = {"Content-Type": "application/json"}
_META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"


@contextmanager
def asked(
    method: str, url: str, body: bytes | Iterator[bytes] | None = None, headers: Mapping[str, str] | None = None
) -> Generator[HTTPConnection]:
    """A connection on which an HTTP request was sent and nothing read yet. It is closed with the block."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=SECONDS)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, dict(headers or {}))
        yield connection
    finally:
        connection.close()


@contextmanager
def sent(
    method: str, url: str, body: bytes | Iterator[bytes] | None = None, headers: Mapping[str, str] | None = None
) -> Generator[HTTPResponse]:
    """The response to an HTTP request, its body unread."""
    with asked(method, url, body, headers) as connection, connection.getresponse() as response:
        yield response


def fields(message: Message) -> dict[str, str]:
    """The headers that go with a message: in the modern era, those that say again what is in the body."""
    headers = BOTH | JSON
    params: Message = message.get("params") or {}
    if _META_VERSION in params.get("_meta", {}):
        headers |= {"MCP-Protocol-Version": params["_meta"][_META_VERSION], "Mcp-Method": message["method"]}
        key = "uri" if message["method"] == "resources/read" else "name"
        headers |= {"Mcp-Name": params[key]} if isinstance(params.get(key), str) else {}
    return headers


@contextmanager
def posted(url: str, message: Message, headers: Mapping[str, str] | None = None) -> Generator[HTTPResponse]:
    """The response to a message. `headers` are added to those that go with it; an empty value takes one away."""
    given = {**fields(message), **(headers or {})}
    with sent("POST", url, on_lines(encode(message)), {k: v for k, v in given.items() if v}) as response:
        yield response


def post(url: str, message: Message, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
    """Status, and the JSON of the body if there is any; of an event stream, the last message."""
    with posted(url, message, headers) as response:
        if response.headers.get_content_type() == "text/event-stream":
            return response.status, list(messages(response))[-1]
        body = response.read()
        return response.status, decode(body) if body else None


@contextmanager
def kept_alive(url: str) -> Generator[Callable[[Message, Mapping[str, str]], tuple[int, Any]]]:
    """Posts messages with these headers, all on one connection; returns status and JSON."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=SECONDS)

    def ask(message: Message, headers: Mapping[str, str]) -> tuple[int, Any]:
        connection.request("POST", parts.path, encode(message), dict(headers))
        with connection.getresponse() as response:
            return response.status, decode(response.read())

    try:
        yield ask
    finally:
        connection.close()


def messages(response: HTTPResponse) -> Iterator[Message]:
    """The messages of a response of either form, as they come."""
    if response.headers.get_content_type() == "text/event-stream":
        yield from (decode(data) for event, data in events(response) if event == "message")
    else:
        yield decode(response.read())


def events(response: HTTPResponse) -> Iterator[tuple[str, str]]:
    """`(event, data)` of a stream of server-sent events; a comment is an event called `:`."""
    event, data = "message", ""
    for line in response:
        name, _, value = line.decode().rstrip("\r\n").partition(":")
        if name == "event":
            event = value.strip()
        elif name == "data":
            data += value.removeprefix(" ")
        elif value and not name:
            yield ":", value
        elif data:
            yield event, data
            event, data = "message", ""


def open_session(url: str) -> dict[str, str]:
    """Initialize; returns the headers of all that belongs to the new session."""
    with posted(url, request("initialize", OPENING)) as response:
        assert response.status == 200, response.read()
        session = {"Mcp-Session-Id": response.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-11-25"}
    assert post(url, INITIALIZED, session) == (202, None)
    return session


@dataclass
class HttpChannel:
    """Streamable HTTP: each request on a connection of its own, with `headers` in the session they name."""

    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])

    def exchange(self, message: Message) -> Iterator[Message]:
        with posted(self.url, message, self.headers) as response:
            yield from messages(response)


class Sse:
    """The legacy transport: a stream of events, and POSTs to the address its first event names."""

    def __init__(self, response: HTTPResponse, base: str) -> None:
        self._events = events(response)
        event, endpoint = next(self._events)
        assert event == "endpoint"
        self.endpoint = base + endpoint.strip()

    def send(self, message: Message) -> None:
        assert post(self.endpoint, message) == (202, None)

    def receive(self) -> Message:
        return decode(next(data for event, data in self._events if event == "message"))

    def exchange(self, message: Message) -> Iterator[Message]:
        self.send(message)
        yield from until_answer(self.receive, message["id"])


@contextmanager
def sse(base: str) -> Generator[Sse]:
    """Connect to the legacy front of a gateway."""
    with sent("GET", f"{base}/sse", headers={"Accept": "text/event-stream"}) as response:
        yield Sse(response, base)
