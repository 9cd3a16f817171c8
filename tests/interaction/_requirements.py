"""What the tests of this folder and of `tests/frontend` show, and where it is demanded.

A test names its requirements with `@requirement(…)`; an unknown one is an error on import. `test_requirements.py` shows
that each has a test, and each test one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

_SPECIFICATION: Final = "https://modelcontextprotocol.io/specification"


@dataclass(frozen=True)
class Requirement:
    """One thing that must hold."""

    source: str
    """Where it is demanded: an address, or a page of our own and the place in it."""
    sentence: str


def _modern(page: str, sentence: str) -> Requirement:
    return Requirement(f"{_SPECIFICATION}/2026-07-28/{page}", sentence)


def _handshake(page: str, sentence: str) -> Requirement:
    return Requirement(f"{_SPECIFICATION}/2025-11-25/{page}", sentence)


def _oldest(page: str, sentence: str) -> Requirement:
    return Requirement(f"{_SPECIFICATION}/2024-11-05/{page}", sentence)


def _http(section: str, sentence: str) -> Requirement:
    return Requirement(f"https://www.rfc-editor.org/rfc/rfc9110.html#{section}", sentence)


def _ours(section: str, sentence: str) -> Requirement:
    return Requirement(f"docs/architecture.md#{section}", sentence)


REQUIREMENTS: Final[dict[str, Requirement]] = {
    # --- How an agent and the gateway meet ----------------------------------------------------------------------------
    "open:initialize": _handshake(
        "basic/lifecycle#initialization", "initialize is answered with who answers and what it can do."
    ),
    "open:revision": _handshake(
        "basic/lifecycle#version-negotiation",
        "A revision that is known is agreed on; any other is answered with the latest.",
    ),
    "open:discover": _modern(
        "server/discover#response",
        "server/discover is answered with revisions, capabilities, identity and how long it holds.",
    ),
    "open:era": _modern(
        "basic/versioning#backward-compatibility-with-initialization-based-versions",
        "Each request is served in its own era, which has no methods of the other.",
    ),
    "open:capabilities": _modern(
        "server/discover#discoverresult", "Capabilities are those that the upstreams together can honour."
    ),
    "open:unasked": _modern(
        "basic/patterns/subscriptions#opening-a-stream",
        "Nothing is sent unasked to who has neither shaken hands nor listens.",
    ),
    "ping": _handshake("basic/utilities/ping#behavior-requirements", "ping is answered with an empty result."),
    "view:own": _ours(
        "one-toolscall-socket-to-socket",
        "At /mcp/{upstream} one upstream is seen alone, with its own names, order and identity.",
    ),
    # --- Tools --------------------------------------------------------------------------------------------------------
    "tools:list": _modern(
        "server/tools#listing-tools", "Every tool is listed as its upstream describes it, in an order that stays."
    ),
    "names:public": _ours("five-ideas", "Public names are unique, and such as agents accept."),
    "tools:call": _modern(
        "server/tools#calling-tools", "A call reaches its upstream with its arguments, and its result comes back."
    ),
    "tools:content": _modern("server/tools#tool-result", "Every kind of content arrives."),
    "tools:is-error": _modern("server/tools#error-handling", "A tool's own failure is a result that says so."),
    "tools:unknown": _modern(
        "server/tools#error-handling", "An unknown tool is -32602, with words that say what to do."
    ),
    "tools:x-mcp-header": _modern(
        "basic/transports/streamable-http#custom-headers-from-tool-parameters",
        "Arguments to be mirrored are checked against their headers, and mirrored upstream.",
    ),
    "questions:refused": _ours("eras", "An upstream that asks for what the agent did not declare gets a clear error."),
    # --- Fidelity -----------------------------------------------------------------------------------------------------
    "fidelity:result": _ours("five-ideas", "Results arrive as they were sent, to the last digit and unknown field."),
    "fidelity:arguments": _ours("five-ideas", "Arguments reach the upstream as they were sent."),
    "fidelity:items": _ours("five-ideas", "Items of lists keep every field but the name or URI they go by."),
    "fidelity:error": _ours("five-ideas", "Code, message and data of an upstream's error arrive as they were sent."),
    # --- Resources, prompts, completion -------------------------------------------------------------------------------
    "resources:list": _modern("server/resources#listing-resources", "Resources and templates are listed."),
    "resources:read": _modern("server/resources#reading-resources", "Text and blobs are read."),
    "resources:template": _modern("server/resources#resource-templates", "What only a template describes is read."),
    "resources:unknown": _modern(
        "server/resources#error-handling", "An unknown resource is -32602, in the handshake era -32002."
    ),
    "resources:verbatim": Requirement(
        "docs/protocol.md#whose-a-uri-is", "A URI that one upstream owns stays as it is."
    ),
    "resources:contested": Requirement(
        "docs/protocol.md#whose-a-uri-is",
        "A URI that several upstreams have is the first one's; the others' have their names in front.",
    ),
    "prompts:list": _modern("server/prompts#listing-prompts", "Prompts are listed with their arguments."),
    "prompts:get": _modern("server/prompts#getting-a-prompt", "A prompt is got with its arguments."),
    "prompts:unknown": _modern(
        "server/prompts#error-handling", "An unknown prompt is -32602, with words that say what to do."
    ),
    "completion": _modern(
        "server/utilities/completion#reference-types", "Arguments of prompts and of resource templates are completed."
    ),
    # --- Lists --------------------------------------------------------------------------------------------------------
    "lists:pages": _modern(
        "server/utilities/pagination#response-format",
        "Lists come in pages of the gateway's own, which hold every item once.",
    ),
    "lists:cursor": _modern("server/utilities/pagination#error-handling", "A cursor that is not ours is -32602."),
    "lists:hints": _modern(
        "server/utilities/caching#cacheable-results",
        "Lists carry ttlMs and cacheScope in the modern era, and only there.",
    ),
    # --- Changes ------------------------------------------------------------------------------------------------------
    "changes:lists": _modern(
        "server/tools#list-changed-notification", "A change of a list reaches every agent that asked."
    ),
    "changes:updates": _modern(
        "server/resources#subscriptions",
        "Who subscribed to a resource hears of its updates by the URI it knows, until it unsubscribes.",
    ),
    "changes:only-asked": _modern(
        "basic/patterns/subscriptions#opening-a-stream",
        "Nothing is announced that was not asked for, or did not change.",
    ),
    "listen:acknowledged": _modern(
        "basic/patterns/subscriptions#acknowledgment",
        "A listen stream is acknowledged first, with what will be sent on it.",
    ),
    "listen:tagged": _modern(
        "basic/patterns/subscriptions#receiving-notifications",
        "Every frame carries the id of the request that opened the stream.",
    ),
    "listen:graceful": _modern(
        "basic/patterns/subscriptions#graceful-closure", "When the gateway stops, listen streams end with a result."
    ),
    # --- While a call runs --------------------------------------------------------------------------------------------
    "progress:token": _modern("basic/patterns/progress#progress-flow", "Progress carries the agent's own token."),
    "progress:order": _modern(
        "basic/patterns/progress#behavior-requirements", "Progress comes in order, and before the result."
    ),
    "progress:asked": _modern(
        "basic/patterns/progress#progress-flow", "Progress goes to who asked, and to nobody else."
    ),
    "logging:level": _handshake(
        "server/utilities/logging#setting-log-level",
        "Messages below the level an agent asked for do not reach it; those above do.",
    ),
    "logging:per-request": _modern(
        "server/utilities/logging#per-request-log-level",
        "A request that asks for no level hears nothing; an unknown level is -32602.",
    ),
    "cancel:reaches": _ours("eras", "A cancellation reaches the upstream, in the way of each side's era."),
    "cancel:no-answer": _modern(
        "basic/patterns/cancellation#behavior-requirements", "On a connection, a cancelled request is not answered."
    ),
    "cancel:http-handshake": _handshake(
        "basic/transports#sending-messages-to-the-server",
        "In a session a notification cancels; a closed connection does not.",
    ),
    "cancel:http-modern": _modern(
        "basic/transports/streamable-http#cancellation", "Closing the response cancels the request."
    ),
    # --- Errors -------------------------------------------------------------------------------------------------------
    "errors:params": _modern("basic/index#error-codes", "Malformed parameters are -32602."),
    "errors:method": _modern("basic/index#error-codes", "An unknown method is -32601."),
    "errors:id": _modern("basic/index#responses", "An answer carries the id of its request, of the same type."),
    "errors:upstream": _ours("five-ideas", "An upstream's own error is passed on as it is."),
    "outage:others": _ours("five-ideas", "Whatever one upstream does, the others' agents do not notice."),
    "outage:down": _ours("an-upstreams-life", "A call to a lost upstream says which it is, and in what state."),
    "outage:grace": _ours(
        "an-upstreams-life", "A lost upstream's items stay listed for the grace period, and come back with it."
    ),
    "outage:lost": _ours("five-ideas", "A connection that breaks fails the calls that were in flight on it."),
    "outage:timeout": _modern(
        "basic/patterns/cancellation#timeouts", "A call that is not answered ends at its deadline."
    ),
    "outage:oversized": _ours("five-ideas", "An answer over the cap fails its own call alone."),
    "outage:garbage": _ours("five-ideas", "An answer that is not MCP fails its own call alone."),
    # --- Several agents -----------------------------------------------------------------------------------------------
    "together:answers": _ours("five-ideas", "Agents that use the same request ids get their own answers."),
    "together:progress": _ours("five-ideas", "Agents that use the same tokens get their own progress."),
    "together:logs": _ours("five-ideas", "Each agent hears the log of its own calls, at its own level."),
    # --- The four cells: two agents at once, of either era, at an upstream of either ----------------------------------
    "cells:sampling": _modern(
        "client/sampling#creating-messages", "Each agent's model is asked what its own call provoked, with tools too."
    ),
    "cells:elicitation": _modern(
        "client/elicitation#creating-elicitation-requests",
        "Each agent's user is asked what its own call provoked, by a form or by a page.",
    ),
    "cells:roots": _modern("client/roots#listing-roots", "Each agent's roots reach the call of its own that asked."),
    "cells:several": _modern(
        "basic/patterns/mrtr#multiple-input-requests", "One call may ask several things, in turn or together."
    ),
    "cells:progress": _ours("eras", "Each agent hears the progress of its own call."),
    "cells:log": _ours("eras", "Each agent hears the log of its own call."),
    "cells:cancel": _ours("eras", "An agent that gives its call up ends that call upstream, and no other."),
    "cells:list-changed": _ours("eras", "Both agents hear that a list changed, once for each change."),
    "cells:updates": _ours("eras", "Each agent hears of the resources it subscribed to, once for each update."),
    # --- Coming back --------------------------------------------------------------------------------------------------
    "resume:rest": _handshake(
        "basic/transports#resumability-and-redelivery",
        "A client whose stream broke comes back with the last event's id and gets the rest, once.",
    ),
    "resume:own": _handshake(
        "basic/transports#resumability-and-redelivery", "A stream is taken up in its own session, by its owner."
    ),
    "parked:bound": _modern(
        "basic/patterns/mrtr#server-requirements", "A requestState is good for its principal and its request alone."
    ),
    "parked:left": _modern(
        "basic/transports/streamable-http#cancellation",
        "A client that leaves while its answer is at work ends the call.",
    ),
    # --- HTTP ---------------------------------------------------------------------------------------------------------
    "http:paths": _ours(
        "one-toolscall-socket-to-socket", "MCP is at /mcp and /mcp/{upstream}; what is not there is 404."
    ),
    "http:methods": _http("name-405-method-not-allowed", "A method that is not there is 405, with those that are."),
    "http:accept": _modern(
        "basic/transports/streamable-http#sending-messages", "Who accepts nothing that can be sent gets 406."
    ),
    "http:content-type": _modern(
        "basic/transports/streamable-http#sending-messages", "A body that is not JSON by its own words is 415."
    ),
    "http:small": Requirement(
        "docs/reliability.md#load", "What is kept of a client, and what is repeated to it, is small."
    ),
    "http:size": _http(
        "name-413-content-too-large", "A body over the cap is 413, whether its length is declared or not."
    ),
    "http:malformed": _modern(
        "basic/transports/streamable-http#sending-messages", "A body that is not one message is 400."
    ),
    "http:routing-headers": _modern(
        "basic/transports/streamable-http#server-validation",
        "A routing header that stands there twice is refused: two readers might read two things.",
    ),
    "http:host": _handshake("basic/transports#security-warning", "A Host that is not ours is 421."),
    "http:origin": _modern(
        "basic/transports/streamable-http#security-endpoint", "An Origin that is not allowed is 403, at every endpoint."
    ),
    "http:cors": _modern(
        "basic/transports/streamable-http#security-endpoint", "Pages of allowed origins may use the gateway."
    ),
    "http:plain": _modern(
        "basic/transports/streamable-http#protocol-version-header",
        "Plain HTTP tools need neither headers nor a session.",
    ),
    "http:json-or-stream": _modern(
        "basic/transports/streamable-http#receiving-messages",
        "An answer is JSON if nothing precedes it, and else the end of a stream.",
    ),
    "http:keepalive": _modern(
        "basic/transports/streamable-http#receiving-messages",
        "Open streams carry comments, so that nobody on the way closes them.",
    ),
    "session:opened": _handshake(
        "basic/transports#session-management",
        "initialize, and nothing else, opens a session whose id cannot be guessed.",
    ),
    "session:missing": _handshake(
        "basic/transports#session-management", "A request of the era without a session is 400."
    ),
    "session:dead": _handshake("basic/transports#session-management", "A session that is not there is 404."),
    "session:delete": _handshake("basic/transports#session-management", "DELETE ends a session."),
    "session:view": _ours("one-toolscall-socket-to-socket", "A session belongs to the path it was opened at."),
    "session:version": _handshake("basic/transports#protocol-version-header", "A revision nobody knows is 400."),
    "session:notifications": _handshake(
        "basic/transports#sending-messages-to-the-server", "Notifications and responses are 202, without a body."
    ),
    "session:same-id": _handshake("basic/index#requests", "A request id that is in use in the session is refused."),
    "session:stream": _handshake(
        "basic/transports#listening-for-messages-from-the-server",
        "The standing stream carries what belongs to no request, from before it was open too.",
    ),
    "session:one-stream": _handshake(
        "basic/transports#multiple-connections", "There is one standing stream; a second is 409."
    ),
    "modern:headers": _modern(
        "basic/transports/streamable-http#server-validation", "Headers that do not say what the body says are -32020."
    ),
    "modern:envelope": _modern("basic/index#_meta", "An incomplete envelope is refused."),
    "modern:version": _modern(
        "basic/transports/streamable-http#protocol-version-header",
        "An unknown revision is -32022, with those there are.",
    ),
    "modern:status": _modern(
        "basic/transports/streamable-http#protocol-version-header",
        "An unknown method is 404, other errors of the request 400.",
    ),
    "modern:methods": _modern(
        "basic/transports/streamable-http#earlier-streamable-http-revisions", "GET and DELETE are 405."
    ),
    "modern:notifications": _modern(
        "basic/transports/streamable-http#sending-messages", "A notification is 202, a response refused."
    ),
    "modern:stateless": _modern(
        "basic/transports/streamable-http#earlier-streamable-http-revisions",
        "A session id means nothing, and none is given.",
    ),
    "sse:endpoint": _oldest(
        "basic/transports#http-with-sse", "The first event says where this connection's messages go."
    ),
    "sse:malformed": _oldest("basic/transports#http-with-sse", "What is no message is refused where it is posted."),
    "sse:unknown": _oldest("basic/transports#http-with-sse", "A connection that is not there is 404."),
    # --- stdio --------------------------------------------------------------------------------------------------------
    "stdio:purity": _modern("basic/transports/stdio", "stdout carries MCP alone; everything else goes to stderr."),
    "stdio:malformed": _modern(
        "basic/transports/stdio#receiving-messages",
        "A line that is no message is answered with an error, and survived.",
    ),
    "stdio:overlong": _ours("five-ideas", "An overlong line is refused, and survived."),
    "stdio:snapshot": _ours("an-upstreams-life", "Lists are answered from the snapshot before an upstream is up."),
    "stdio:drain": _modern(
        "basic/transports/stdio#shutdown", "What is in flight when stdin ends is answered, to the last byte."
    ),
    "stdio:exit": _modern(
        "basic/transports/stdio#shutdown",
        "The gateway ends when stdin does, or a signal says so, and leaves no child behind.",
    ),
    "stdio:gone": _modern("basic/transports/stdio#shutdown", "When nobody reads any more, it ends."),
    "stdio:files": _modern("basic/transports/stdio", "stdin and stdout need not be pipes."),
    "outage:survives": _ours(
        "an-upstreams-life", "What an agent asked to hear of it hears of again once its upstream is back."
    ),
    # --- Extensions ---------------------------------------------------------------------------------------------------
    "extensions:declared": Requirement(
        "https://modelcontextprotocol.io/extensions/overview#negotiation",
        "What all upstreams that have an extension say of it is said of the gateway.",
    ),
    "extensions:tasks": Requirement(
        "https://modelcontextprotocol.io/seps/2663-tasks-extension#task-creation",
        "A task's handle leads back to the upstream that has it, for the principal it was given to.",
    ),
    "extensions:task-news": Requirement(
        "https://modelcontextprotocol.io/seps/2663-tasks-extension#task-status-notifications",
        "Who listens to tasks of its own hears whenever their status changes, and nobody hears of another's.",
    ),
    "tasks:call": _handshake(
        "basic/utilities/tasks#creating-tasks",
        "A call that asks for it becomes a task, whose result is fetched later and is what the call's would have been.",
    ),
    "tasks:cancel": _handshake("basic/utilities/tasks#task-cancellation", "A task is cancelled once, and stays so."),
    "tasks:isolation": _handshake(
        "basic/utilities/tasks#task-isolation-and-access-control",
        "A task is its principal's: it is listed to nobody else, and to everybody else as one that never was.",
    ),
    "tasks:input": _handshake(
        "basic/utilities/tasks#input-required-status",
        "What a task asks is asked where its result is fetched, with the handle that the agent knows.",
    ),
    "tasks:news": _handshake(
        "basic/utilities/tasks#task-notifications", "News of a task go to its principal's sessions, and to nobody else."
    ),
    "tasks:progress": _handshake(
        "basic/utilities/tasks#task-progress-notifications",
        "The progress token of a call that became a task is good for as long as the task.",
    ),
    "tasks:offered": _handshake(
        "basic/utilities/tasks#capability-negotiation",
        "Tasks are offered to agents whose revision has them, at upstreams that offer them; elsewhere a call is none.",
    ),
    "tasks:lasting": _ours("eras", "A task is there after a restart, and at every node."),
    "extensions:skills": Requirement(
        "https://modelcontextprotocol.io/seps/2640-skills-extension",
        "The skills of all upstreams are listed together, each file byte for byte, and each leads to its own upstream.",
    ),
    "extensions:apps": Requirement(
        "https://modelcontextprotocol.io/extensions/apps/overview",
        "A tool's link to its user interface resolves through the gateway, whoever else has one of that address.",
    ),
    "extensions:unknown": Requirement(
        "https://modelcontextprotocol.io/extensions/overview#negotiation",
        "A method of an extension both sides declare goes to the one upstream it can be meant for; else it is refused.",
    ),
}
"""By id: what it is about, and what of it."""

MARK: Final = "requirements"

F = TypeVar("F", bound=Callable[..., Any])


def requirement(*ids: str) -> Callable[[F], F]:
    """Marks a test with what it shows.

    Raises:
        KeyError: there is no such requirement.
    """
    for id in ids:
        REQUIREMENTS[id]

    def mark(test: F) -> F:
        setattr(test, MARK, ids)
        return test

    return mark


def requirements_of(test: object) -> tuple[str, ...]:
    """What a test was marked with."""
    return getattr(test, MARK, ())
