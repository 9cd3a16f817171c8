"""Clients that come back for the rest of a stream which is not on this node, or not any more."""

from collections.abc import Callable

from gateway import jsonrpc
from gateway.access.expiry import at_expiry
from gateway.errors import CallLost
from gateway.frontend.call_response import EVENTS, STREAM_LINES, EventStream
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.session import HandshakeSession
from gateway.frontend.streams import FormerStream, event, no_such_event
from gateway.request import Principal
from gateway.store.conversations import Conversation

MakeStream = Callable[[Callable[[], object]], EventStream]
"""`(on_over)`: makes the body of the answer."""


async def resume(
    request: HttpRequest,
    session: HandshakeSession,
    stream: FormerStream,
    sender: Principal,
    make: MakeStream,
    *,
    prime: bool,
) -> None:
    """Answer with the rest of a stream: from the node that has it; or, if that is gone, with the end of the call.

    Args:
        prime: whether the client takes an event without a message.

    Raises:
        InvalidRequest: nothing is known of the stream.
        StoreUnavailable: that cannot be found out.
    """
    node = stream.node.partition(".")[0]
    if session.relay is None:
        is_gone = session.node is not None and node == session.node.name  # an earlier run of this node
        if not is_gone:
            raise no_such_event()
    else:
        is_gone = await session.relay.is_gone(node)
    if is_gone or session.relay is None:
        _reply_lost(request, session, stream)
        return
    conversation: Conversation | None = None

    def on_over() -> None:
        if conversation is not None:
            conversation.end()
        if expiry is not None:
            expiry.cancel()

    rest = make(on_over)
    expiry = at_expiry(sender, rest.end)
    try:
        conversation = await session.relay.resume(session, stream, sender, rest, prime=prime)
    except BaseException:
        on_over()
        raise
    rest.open(also=session.header)


def _reply_lost(request: HttpRequest, session: HandshakeSession, stream: FormerStream) -> None:
    """
    Raises:
        InvalidRequest: it is not known which request the stream answers.
    """
    if stream.request is None:
        raise no_such_event()
    error = CallLost()
    answer = event(jsonrpc.error(stream.request, error.code, error.message))
    request.reply(200, answer, kind=EVENTS, also=STREAM_LINES + session.header)
