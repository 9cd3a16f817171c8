"""What the nodes of one gateway share: values that expire, atomic scripts, and messages between nodes.

Two stores have this interface: the memory of one process (`memory`, the default, which needs nothing) and a Valkey or
Redis server (`valkey_store`, `gateway.store`). On the way of a call nothing may wait for either: what is asked there
stands in memory, and is kept up to date from here. What has to wait all the same waits `WAIT_SECONDS` at most.

Values and messages are sealed on their way into a server (`seal`), so that whoever reads it learns names and numbers,
and whoever writes to it can make up nothing. What scripts are given is not, unless the caller seals it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from gateway.store.memory import Memory

WAIT_SECONDS: Final = 0.1
"""How long anything on the way of a call waits for the store."""
SILENCE_SECONDS: Final = 5.0
"""How long the store may say nothing until what needs it is refused."""
MESSAGE_SECONDS: Final = 5.0
"""How long a message between nodes is good for, unless its sender says otherwise."""
MAX_VALUE: Final = 64 * 2**20
"""Bytes."""
MAX_MESSAGE: Final = 4 * 2**20
"""Bytes."""

BUMP_KEYS: Final = ("versions", "all")
"""The last two keys of a script that changes a version."""

Handler = Callable[[str, bytes], None]
"""`(id of the node that says it, message)`. Must not block, and not raise."""


@dataclass(frozen=True, slots=True)
class Script:
    """Something done in one step, whoever else is at it. It gets keys and arguments, and may return whole numbers,
    bytes, lists of those, and None.

    Keys reach it with the store's prefix; arguments are numbers, text or bytes. The two forms do the same, which
    `tests/store/test_stores.py` is the place to show.
    """

    name: str
    lua: str = field(repr=False)
    """For a server: `KEYS`, `ARGV`."""
    local: "Callable[[Memory, Sequence[str], Sequence[Any]], Any]" = field(repr=False)
    """For the memory of one process: `(memory, keys, arguments)`."""
    sha: str = field(init=False, compare=False, repr=False)
    """As a server knows it, once it has it."""

    def __post_init__(self) -> None:
        sha = hashlib.sha1(self.lua.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha", sha)


class Store(Protocol):
    """All methods that wait raise `StoreUnavailable` if the store cannot be reached, or has not answered in time."""

    node: str
    """Name of this node, made at its start. Others send messages to it."""

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may be there."""
        ...

    @property
    def nodes(self) -> int:
        """How many nodes use it now, this one among them; the last that was heard, if it is away."""
        ...

    @property
    def is_quick(self) -> bool:
        """Whether it can be waited for on the way of a call. If not, decide without it."""
        ...

    def now(self) -> float:
        """The store's time, the same on all nodes: seconds since 1970."""
        ...

    def check(self) -> None:
        """
        Raises:
            StoreUnavailable: it has said nothing for `SILENCE_SECONDS`; what needs it must not go on.
        """
        ...

    async def run(self, *, task_status: "TaskStatus[None]") -> None:
        """Keep the connection until cancelled. Started once it was tried to make one, whatever came of that."""
        ...

    # --- Values -------------------------------------------------------------------------------------------------------

    async def get(self, key: str, *, patience: float = WAIT_SECONDS) -> bytes | None: ...

    async def set(self, key: str, value: bytes, seconds: float | None, *, patience: float = WAIT_SECONDS) -> None:
        """
        Args:
            seconds: how long it stays; None for as long as the store does.
        """
        ...

    async def add(self, key: str, value: bytes, seconds: float | None, *, patience: float = WAIT_SECONDS) -> bool:
        """Like `set`, but False, changing nothing, when there is a value already."""
        ...

    async def delete(self, *keys: str, patience: float = WAIT_SECONDS) -> int:
        """How many of them were there."""
        ...

    async def do(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Any] = (), *, patience: float = WAIT_SECONDS
    ) -> Any:
        """What a script returns."""
        ...

    def seal(self, key: str, value: bytes) -> bytes:
        """A value as it may stand in the store under that key, or field of it."""
        ...

    def open(self, key: str, sealed: bytes) -> bytes | None:
        """What was sealed under that key; None if that was not done by a node of this gateway."""
        ...

    # --- Messages -----------------------------------------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        message: bytes,
        to: str | None = None,
        *,
        seconds: float = MESSAGE_SECONDS,
        patience: float = WAIT_SECONDS,
    ) -> bool:
        """Say something to one node, or to all others. It is heard once, in order, or not at all: a node that cannot be
        reached now does not get it later.

        Args:
            to: `Store.node` of that one.
            seconds: what arrives later than that is dropped.

        Returns:
            Whether anybody was there who gets it.
        """
        ...

    def tell(self, topic: str, message: bytes, to: str | None = None, *, seconds: float = MESSAGE_SECONDS) -> None:
        """As `send`, but never waits, and nobody learns whether it arrives."""
        ...

    def on_message(self, topic: str, handler: Handler) -> Callable[[], None]:
        """Hear what is said on a topic, to this node or to all. Returns how to hear it no more."""
        ...

    # --- Changes ------------------------------------------------------------------------------------------------------

    def version(self, name: str) -> int:
        """The version of that name, as last heard; 0 if there is none."""
        ...

    def on_version(self, name: str, handler: Callable[[], None]) -> Callable[[], None]:
        """Be told within a second that the version called `name` is another than it was (`BUMP`, `table`), also if
        messages were lost meanwhile. Returns how to be told no more."""
        ...
