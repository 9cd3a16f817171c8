"""Brings what arrives at one node to the node of the same session that it concerns.

An answer goes to who asked, a cancellation to where the call is, the rest of a stream comes from where it is kept, and
what belongs to no request goes to where the client has its standing stream. What changes in a session is told to all.
Messages that are lost cost what the same would cost on the way to the client: it asks again.
"""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from gateway import jsonrpc
from gateway.access.delegation import covers
from gateway.errors import GatewayError, StoreUnavailable
from gateway.frontend.streams import Channel, FormerStream, StreamConnection, no_such_event
from gateway.jsonrpc import Message, RequestId
from gateway.protocol import CHANGE_NOTIFICATIONS
from gateway.request import Principal
from gateway.server.agents import ConnectedAgent
from gateway.store.conversations import Conversation, Conversations
from gateway.store.shared import Store

if TYPE_CHECKING:
    from gateway.frontend.session import HandshakeSession

log = structlog.stdlib.get_logger("gateway.frontend")

T = TypeVar("T")

FOUND_SECONDS: Final = 3.0
"""How long another node may take to find a stream."""
STREAM: Final = "stream"
STANDING: Final = "standing"
"""What conversations between nodes are about."""
_OWN: Final = frozenset(CHANGE_NOTIFICATIONS.values())
"""What each node finds out for itself. That a resource changed may come twice: a node may hear of it before another has
subscribed to it."""


class _Answer(msgspec.Struct):
    session: str
    sender: Principal
    message: msgspec.Raw


class _Cancel(msgspec.Struct):
    session: str
    request: RequestId


class _Facts(msgspec.Struct):
    session: str
    changes: dict[str, str | None]


class _Standing(msgspec.Struct):
    session: str
    is_there: bool
    after: tuple[str, int] | None = None
    """The node of the last event that the client has seen, and its number there."""


class _Resume(msgspec.Struct):
    session: str
    number: int
    after: int
    sender: Principal
    prime: bool


class _Remote:
    """Carries a stream to another node, which has the client."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def push(self, data: bytes, *, must: bool = False) -> None:
        self._conversation.say(data)

    def end(self) -> None:
        self._conversation.end()


class Forward:
    """Carries what belongs to no request to the node that has the standing stream."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.node = conversation.peer

    def push(self, data: bytes, *, must: bool = False) -> None:
        _, _, rest = data.partition(b"\ndata: ")
        text = rest.rstrip(b"\n")
        if text and jsonrpc.loads(text, len(text)).get("method") not in _OWN:
            self._conversation.say((b"!" if must else b"?") + text)

    def end(self) -> None:
        self._conversation.end()


class SessionRelay:
    """
    Args:
        find: the session of a key, if it is open here.
        apply: takes up what changed in a session at another node.
        tasks: outlives any one request.
    """

    def __init__(
        self,
        store: Store,
        conversations: Conversations,
        find: Callable[[str], "HandshakeSession | None"],
        apply: Callable[[ConnectedAgent, Mapping[str, str | None]], Coroutine[Any, Any, None]],
        tasks: TaskGroup,
    ) -> None:
        self._store = store
        self._conversations = conversations
        self._find = find
        self._apply = apply
        self._tasks = tasks
        self.node = store.node
        self._hear("session: answer", _Answer, self._on_answer)
        self._hear("session: cancel", _Cancel, self._on_cancel)
        self._hear("session: facts", _Facts, self._on_facts)
        self._hear("session: standing", _Standing, self._on_standing)
        conversations.serve(STREAM, self._begin_stream)
        conversations.serve(STANDING, self._begin_standing)

    def _hear(self, topic: str, kind: type[T], handler: Callable[[str, T, "HandshakeSession"], None]) -> None:
        def on_message(sender: str, data: bytes) -> None:
            message: Any = msgspec.json.decode(data, type=kind)
            if (session := self._find(message.session)) is not None:
                handler(sender, message, session)

        self._store.on_message(topic, on_message)

    def _tell(self, topic: str, message: msgspec.Struct) -> None:
        try:
            self._store.tell(topic, msgspec.json.encode(message))
        except ValueError as error:
            log.warning("not passed on to other nodes", topic=topic, reason=str(error))

    # --- Answers, cancellations, changes ------------------------------------------------------------------------------

    def answer(self, session: "HandshakeSession", message: Message, sender: Principal) -> None:
        """An answer to what another node asked."""
        self._tell("session: answer", _Answer(session.agent.id, sender, msgspec.Raw(jsonrpc.dumps(message))))

    def cancel(self, session: "HandshakeSession", request: RequestId) -> None:
        """The agent no longer waits for a request that is not here."""
        self._tell("session: cancel", _Cancel(session.agent.id, request))

    def changed(self, agent: ConnectedAgent, changes: Mapping[str, str | None]) -> None:
        """Facts of a session are others now."""
        self._tell("session: facts", _Facts(agent.id, dict(changes)))

    def _on_answer(self, node: str, answer: _Answer, session: "HandshakeSession") -> None:
        with suppress(GatewayError):  # it may not answer that: the question stays asked
            session.asks.answer(jsonrpc.loads(bytes(answer.message), len(bytes(answer.message))), answer.sender)

    def _on_cancel(self, node: str, cancel: _Cancel, session: "HandshakeSession") -> None:
        if (call := session.in_flight.get(cancel.request)) is not None:
            call.cancel()

    def _on_facts(self, node: str, facts: _Facts, session: "HandshakeSession") -> None:
        self._tasks.start_soon(self._apply, session.agent, facts.changes)

    # --- The standing stream ------------------------------------------------------------------------------------------

    def stream_opened(self, session: "HandshakeSession", former: FormerStream | None) -> None:
        """The client has its standing stream here now."""
        after = None if former is None else (former.node.partition(".")[0], former.event)
        self._tell("session: standing", _Standing(session.agent.id, True, after))

    def stream_closed(self, session: "HandshakeSession") -> None:
        """It is here no longer."""
        self._tell("session: standing", _Standing(session.agent.id, False))

    def forward(self, session: "HandshakeSession", node: str, after: int | None = None) -> None:
        """What belongs to no request goes to another node from now on."""
        with suppress(StoreUnavailable):
            conversation = self._conversations.begin(node, STANDING)
            conversation.say(session.agent.id.encode())
            forward = Forward(conversation)

            def on_end(lost: bool) -> None:
                session.streams.standing.detach(forward)

            conversation.on_end = on_end
            session.streams.standing.attach(forward, after, prime=False)

    def _on_standing(self, node: str, standing: _Standing, session: "HandshakeSession") -> None:
        connection = session.streams.standing.connection
        if standing.is_there:
            after = standing.after[1] if standing.after is not None and standing.after[0] == self.node else None
            session.moved_to = node
            self.forward(session, node, after)
        elif isinstance(connection, Forward) and connection.node == node:
            session.streams.standing.detach(connection)
            connection.end()

    def _begin_standing(self, conversation: Conversation) -> None:
        def on_key(data: bytes) -> None:
            session = self._find(data.decode())
            if session is None:
                conversation.end()
            else:
                conversation.on_message = partial(_push, session)

        conversation.on_message = on_key

    # --- The rest of a stream -----------------------------------------------------------------------------------------

    async def is_gone(self, node: str) -> bool:
        """
        Raises:
            StoreUnavailable: that cannot be found out.
        """
        return not await self._conversations.is_there(node)

    async def resume(
        self,
        session: "HandshakeSession",
        stream: FormerStream,
        sender: Principal,
        rest: StreamConnection,
        *,
        prime: bool,
    ) -> Conversation:
        """Have another node push the rest of a stream, and end it. Whoever ends the conversation hears no more.

        Raises:
            InvalidRequest: there is no such stream, or it is not for the sender.
        """
        conversation = self._conversations.begin(stream.node.partition(".")[0], STREAM)
        answered = anyio.Event()
        found = False

        def on_found(data: bytes) -> None:
            nonlocal found
            found = data == b"found"
            conversation.on_message = partial(rest.push, must=True)
            answered.set()

        def on_end(lost: bool) -> None:
            answered.set()
            rest.end()

        conversation.on_message, conversation.on_end = on_found, on_end
        request = _Resume(session.agent.id, stream.number, stream.event, sender, prime)
        conversation.say(msgspec.json.encode(request))
        with anyio.move_on_after(FOUND_SECONDS):
            await answered.wait()
        if not found:
            conversation.end()
            raise no_such_event()
        return conversation

    def _begin_stream(self, conversation: Conversation) -> None:
        def on_request(data: bytes) -> None:
            request = msgspec.json.decode(data, type=_Resume)
            channel = self._channel(request)
            if channel is None:
                conversation.end()
                return
            remote = _Remote(conversation)

            def on_end(lost: bool) -> None:
                channel.detach(remote)

            conversation.on_end = on_end
            conversation.say(b"found")
            channel.attach(remote, request.after, prime=request.prime)

        conversation.on_message = on_request

    def _channel(self, request: _Resume) -> Channel | None:
        session = self._find(request.session)
        channel = session.streams.channel(request.number) if session is not None else None
        if channel is None or (channel.sender is not None and not covers(request.sender, channel.sender)):
            return None
        return channel


def _push(session: "HandshakeSession", data: bytes) -> None:
    message = jsonrpc.loads(data[1:], len(data))
    session.streams.standing.push(message, must=data.startswith(b"!"))
