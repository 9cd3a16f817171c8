"""Who asks: the principal, and the agent that acts for them. What they ask is a `gateway.call.Call`."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from gateway.jsonrpc import as_object
from gateway.protocol import LOG_LEVELS, META_RELATED_TASK, Era

READ, WRITE, ADMIN = "read", "write", "admin"
SCOPES = frozenset({READ, WRITE, ADMIN})
"""`read` lists and reads, `write` calls tools, `admin` sees and manages what is other people's."""

Method = Literal["none", "api_key", "agent_token", "oauth"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever the gateway acts for. Sessions, caches and limits are keyed by `id`; equal means the same one."""

    id: str
    """Unique among all ways to authenticate, e.g. `key:3f9c…`, `agent:…`, `oauth:issuer|subject`. Safe to log."""
    method: Method = "none"
    owner: str = ""
    """The person or team behind it, as the credential says."""
    scopes: frozenset[str] = SCOPES
    upstreams: frozenset[str] | None = None
    """The upstreams it may use; None means all."""
    groups: frozenset[str] = frozenset()
    """Groups its identity provider puts it in."""
    agent_name: str = ""
    """The agent's name, for an agent token."""
    rate_limit_rpm: int | None = None
    """Requests a minute; None means the gateway's default, -1 no limit."""
    root: str = ""
    """For an agent: the id of the principal that it descends from."""
    groups_cut: bool = False
    """Whether it may be in groups besides `groups`, which its token did not name or which were too many."""
    profiles: frozenset[str] | None = None
    """The profiles it may use, and nothing besides; None means that none limits it."""
    ancestors: tuple[tuple[str, int | None], ...] = field(default=(), compare=False)
    """For an agent: whom its requests are counted for as well, as `(id, requests a minute)`: its root, and the agents
    between that and itself. The limits are those of now."""
    key: str = field(default="", compare=False)
    """The thumbprint of the key that it, or its root, comes in by: an API key, or the authorization server's that
    vouches for it."""
    expires: float | None = field(default=None, compare=False)
    """When its credential does, in seconds since 1970; None if it does not say. The next one's holder is the same."""
    leeway: float = field(default=0.0, compare=False)
    """How many seconds longer the credential is accepted, because clocks differ."""
    root_id: str = field(init=False, repr=False, compare=False)
    """The id of the principal it descends from, or its own."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root_id", self.root or self.id)

    def __hash__(self) -> int:
        return hash(self.id)  # it is looked up several times a request

    def is_one_of(self, principals: Collection[str]) -> bool:
        """Whether it is one of these (ids), or descends from one."""
        return self.id in principals or self.root in principals


ANONYMOUS = Principal("anonymous", owner="anonymous", rate_limit_rpm=-1)
"""The one principal when authentication is off: somebody on this machine."""


class Agent(Protocol):
    """One agent's end of the gateway: a stdio pipe, an HTTP session, or a single modern request."""

    @property
    def id(self) -> str:
        """Unguessable, unique among the agents of this process."""
        ...

    @property
    def digest(self) -> str:
        """What logs call it: its `id` could be used by whoever reads them."""
        ...

    @property
    def opener(self) -> Principal:
        """Who opened the connection or session. What a request may do is decided by `Call.principal`: the next one
        can come with another token of the same person, that grants more or less."""
        ...

    @property
    def era(self) -> Era: ...

    @property
    def version(self) -> str:
        """The protocol revision it speaks."""
        ...

    @property
    def view(self) -> str | None:
        """The upstream it sees under its own names, or None for the merged catalogue."""
        ...

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """Its client capabilities as declared."""
        ...

    @property
    def info(self) -> Mapping[str, Any]:
        """Its `clientInfo` as declared; may be empty."""
        ...

    @property
    def log_level(self) -> str | None:
        """The least severe level it asked to hear (`logging/setLevel`); None until it asks."""
        ...

    @property
    def tasks(self) -> Mapping[tuple[str, str], str] | None:
        """Tasks of 2025-11-25 that it has named, if any: `(upstream, its own handle)` → the handle it has."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether it is a connection or session, whose end we learn of; a modern request over HTTP is gone with it."""
        ...

    def notify(self, method: str, params: dict[str, Any] | None) -> None:
        """Send a notification that belongs to no request. Never blocks; dropped when the agent cannot receive it."""
        ...

    async def ask(self, method: str, params: dict[str, Any] | None) -> dict[str, Any]:
        """Send a request that belongs to none of the agent's own, and wait for its result (handshake era).

        Raises:
            AgentError: it answered with an error.
            AgentCannot: there is no way to ask it.
        """
        ...


QUESTIONS: Final = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""What a server may ask its client → the capability it takes."""


def is_askable(agent: Agent) -> bool:
    """Whether a server may ask it anything."""
    declared = agent.capabilities
    return bool(declared) and any(declared.get(capability) is not None for capability in QUESTIONS.values())


def related_task(message: Mapping[str, Any]) -> str | None:
    """The handle of the task that a message says it belongs to (2025-11-25)."""
    handle = as_object(as_object(message.get("_meta")).get(META_RELATED_TASK)).get("taskId")
    return handle if isinstance(handle, str) else None


def related_to(message: Mapping[str, Any], handle: str | None) -> dict[str, Any]:
    """The message, which says that it belongs to that task; None: to none."""
    meta = {name: value for name, value in as_object(message.get("_meta")).items() if name != META_RELATED_TASK}
    if handle is not None:
        meta[META_RELATED_TASK] = {"taskId": handle}
    rest = {name: value for name, value in message.items() if name != "_meta"}
    return {**rest, "_meta": meta} if meta else rest


def known_as(agent: Agent, upstream: str | None, own: str | None) -> str | None:
    """The handle that an agent has of an upstream's task, if it has named it."""
    return agent.tasks.get((upstream or "", own or "")) if agent.tasks is not None else None


def as_agent_knows(agent: Agent, upstream: str | None, message: dict[str, Any]) -> dict[str, Any]:
    """What an upstream says, with the agent's handle of the task it belongs to; without any if the agent has named no
    such task."""
    if META_RELATED_TASK not in as_object(message.get("_meta")):
        return message
    return related_to(message, known_as(agent, upstream, related_task(message)))


Notify = Callable[[str, dict[str, Any] | None], None]
"""`(method, params)`: send a notification on one request's own stream. Never blocks."""

Ask = Callable[[str, dict[str, Any] | None], Awaitable[dict[str, Any]]]
"""`(method, params)`: as `Agent.ask`, on one request's own stream."""


_RANK: Final = {level: rank for rank, level in enumerate(LOG_LEVELS)}


def wants(agent: Agent, message: Mapping[str, Any]) -> bool:
    """Whether an agent asked to hear a log message of that level.

    In the handshake era an agent that never said hears what the server chooses to send; in the modern one it hears
    nothing it did not ask for.
    """
    if agent.log_level is None:
        return agent.era is Era.HANDSHAKE
    level = message.get("level")
    return not isinstance(level, str) or _RANK.get(level, len(_RANK)) >= _RANK.get(agent.log_level, 0)
