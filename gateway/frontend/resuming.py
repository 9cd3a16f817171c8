"""Clients that come back for the rest of a stream which is not here any more."""

from gateway import jsonrpc
from gateway.errors import CallLost
from gateway.frontend.exchange import EVENTS, STREAM_HEADERS
from gateway.frontend.http_request import HttpRequest
from gateway.frontend.sessions import Session
from gateway.frontend.streams import FormerStream, event, no_such_event


def reply_lost(request: HttpRequest, session: Session, stream: FormerStream) -> None:
    """Answer the call whose stream ended with an earlier run of this node: it was lost.

    Raises:
        InvalidRequest: nothing is known of the stream; another node may have it.
    """
    node = session.node
    if node is None or stream.request is None or stream.node.partition(".")[0] != node.name:
        raise no_such_event()
    error = CallLost()
    answer = event(jsonrpc.error(stream.request, error.code, error.message))
    request.reply(200, answer, [*STREAM_HEADERS, ("mcp-session-id", session.id)], EVENTS)
