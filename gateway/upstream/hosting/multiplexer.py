"""Several clients of one server that knows but one: whose each message is. Does no I/O.

Messages pass as the bytes they are. What tells them apart are the ids: each client's requests have ids of its own range
(`frames.ID_BITS`), and a progress token or subscription id is a request's id. One client after the other negotiates;
once a server of the handshake era has been initialized, the others get the answer that the first one got.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final

import msgspec

from gateway.upstream.hosting.frames import ID_BITS

Send = Callable[[bytes], object]
"""Takes one message, without its line end."""

MAX_HELD: Final = 1000
"""Messages of a client that wait until another has negotiated."""
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
_NEGOTIATION: Final = ("server/discover", "initialize")
_METHOD_NOT_FOUND: Final = -32601
_OWN_ID: Final = "mcp-gateway"


class _Head(msgspec.Struct):
    """What of a message says whose it is."""

    id: Any = None
    method: str | None = None
    params: msgspec.Raw = msgspec.Raw()
    result: msgspec.Raw = msgspec.Raw()


class _Params(msgspec.Struct):
    uri: str | None = None
    level: str | None = None
    progress_token: Any = msgspec.field(default=None, name="progressToken")
    request_id: Any = msgspec.field(default=None, name="requestId")
    meta: dict[str, Any] | None = msgspec.field(default=None, name="_meta")


_head: Final = msgspec.json.Decoder(_Head)
_params: Final = msgspec.json.Decoder(_Params)


class _State(Enum):
    OPEN = auto()
    """Nobody has negotiated yet."""
    HANDSHAKE = auto()
    MODERN = auto()


class _Client:
    def __init__(self, send: Send) -> None:
        self.send = send
        self.calls: set[int] = set()
        """Ids of its requests in flight."""
        self.uris: set[str] = set()
        self.level: str | None = None
        self.held: list[bytes] = []


class Multiplexer:
    """
    Args:
        to_server: sends it a message.
    """

    def __init__(self, to_server: Send) -> None:
        self._to_server = to_server
        self._clients: dict[int, _Client] = {}
        """By the number of their range."""
        self._state = _State.OPEN
        self._negotiates: int | None = None
        self._initializing: int | None = None
        self._initialized: bytes | None = None
        """The result of `initialize`."""
        self._told = False
        """Whether it was told `notifications/initialized`."""

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def in_negotiation(self) -> int | None:
        """Which client negotiates."""
        return self._negotiates

    def join(self, number: int, send: Send) -> None:
        self._clients[number] = _Client(send)

    def leave(self, number: int) -> None:
        client = self._clients.pop(number, None)
        if client is None:
            return
        for id in client.calls:
            self._say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}})
        for uri in client.uris:
            if not any(uri in other.uris for other in self._clients.values()):
                self._say({"jsonrpc": "2.0", "id": _OWN_ID, "method": "resources/unsubscribe", "params": {"uri": uri}})
        if self._negotiates == number:
            self._negotiates = None
            self._release()

    # --- From clients -------------------------------------------------------------------------------------------------

    def hear_client(self, number: int, message: bytes) -> None:
        client = self._clients.get(number)
        if client is None:
            return
        if self._state is _State.OPEN:
            if self._negotiates is None:
                self._negotiates = number
            elif self._negotiates != number:
                if len(client.held) < MAX_HELD:
                    client.held.append(message)
                return
        head = _head.decode(message)
        if head.method is None:
            self._to_server(message)  # an answer
        elif head.method in _NEGOTIATION:
            self._negotiate(client, head, message)
        else:
            self._on_message(client, head, head.method, message)
            if self._state is _State.OPEN:  # whoever says more than that has agreed on an era without a handshake
                self._state, self._negotiates = _State.MODERN, None
                self._release()

    def _negotiate(self, client: _Client, head: _Head, message: bytes) -> None:
        if self._state is _State.HANDSHAKE:
            if head.method == "initialize":
                client.send(b'{"jsonrpc":"2.0","id":%d,"result":%s}' % (head.id, self._initialized))
            else:
                _refuse(client.send, head.id, head.method or "")
            return
        if head.method == "initialize":
            self._initializing = head.id
        client.calls.add(head.id)
        self._to_server(message)

    def _on_message(self, client: _Client, head: _Head, method: str, message: bytes) -> None:
        others = [each for each in self._clients.values() if each is not client]
        if method == "notifications/initialized":
            told, self._told = self._told, True
            if told:
                return
        elif method in ("resources/subscribe", "resources/unsubscribe"):
            uri = _parameters(head).uri or ""
            (client.uris.add if method == "resources/subscribe" else client.uris.discard)(uri)
            if method == "resources/unsubscribe" and any(uri in each.uris for each in others):
                client.send(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % head.id)
                return
        elif method == "logging/setLevel":
            client.level = _parameters(head).level
            if any(_rank(each.level) < _rank(client.level) for each in others):
                client.send(b'{"jsonrpc":"2.0","id":%d,"result":{}}' % head.id)  # it says more than that already
                return
        elif method == "notifications/cancelled":
            client.calls.discard(_parameters(head).request_id)
        if isinstance(head.id, int):
            client.calls.add(head.id)
        self._to_server(message)

    def _release(self) -> None:
        """Whoever waited for the negotiation goes on."""
        for number, client in list(self._clients.items()):
            held, client.held = client.held, []
            for message in held:
                self.hear_client(number, message)

    # --- From the server ----------------------------------------------------------------------------------------------

    def hear_server(self, message: bytes) -> None:
        """One line of its stdout."""
        try:
            head = _head.decode(message)
            params = _parameters(head) if head.method is not None else _Params()
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.send_all(message)  # whoever awaits the answer that it might be knows
            return
        if head.method is None:
            self._on_answer(head, message)
        elif head.id is not None:
            self._on_request(head, head.method, message)
        else:
            self._on_notification(params, message)

    def _on_answer(self, head: _Head, message: bytes) -> None:
        if head.id == _OWN_ID:
            return
        client = self._owner(head.id)
        if client is None:
            return
        client.calls.discard(int(head.id))
        client.send(message)
        if self._initializing is not None and head.id == self._initializing:
            self._initializing = None
            if bytes(head.result):
                self._initialized = bytes(head.result)
                self._state, self._negotiates = _State.HANDSHAKE, None
                self._release()

    def _on_request(self, head: _Head, method: str, message: bytes) -> None:
        """It asks something: on behalf of the one client that waits for it, or of nobody."""
        if method == "ping":
            self._say({"jsonrpc": "2.0", "id": head.id, "result": {}})
            return
        asking = [client for client in self._clients.values() if client.calls]
        if len(asking) == 1:
            asking[0].send(message)
        else:
            _refuse(self._to_server, head.id, method)

    def _on_notification(self, params: _Params, message: bytes) -> None:
        client = self._owner(params.progress_token)
        if client is None and params.meta is not None:
            client = self._owner(params.meta.get("io.modelcontextprotocol/subscriptionId"))
        if client is not None:
            client.send(message)
        else:
            self.send_all(message)

    def send_all(self, message: bytes) -> None:
        for client in list(self._clients.values()):
            client.send(message)

    def _owner(self, id: Any) -> _Client | None:
        if isinstance(id, str) and id.isdecimal() and len(id) < 19:
            id = int(id)
        if isinstance(id, float) and id.is_integer():
            id = int(id)
        return self._clients.get(id >> ID_BITS) if isinstance(id, int) and not isinstance(id, bool) else None

    def _say(self, message: dict[str, Any]) -> None:
        self._to_server(msgspec.json.encode(message))


def _parameters(head: _Head) -> _Params:
    """
    Raises:
        msgspec.DecodeError: they are not what they should be.
    """
    return _Params() if bytes(head.params) in (b"", b"null") else _params.decode(head.params)


def _refuse(send: Send, id: Any, method: str) -> None:
    error = {"code": _METHOD_NOT_FOUND, "message": f"Method not found: {method[:100]}"}
    send(msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": error}))


def _rank(level: str | None) -> int:
    """How little is said from that level on."""
    return LEVELS.index(level) if level in LEVELS else len(LEVELS)
