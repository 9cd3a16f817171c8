"""Being the only one of all nodes who is at something, for as long as one is there.

Whoever has the turn says so again and again. A node that died does not: then others have it a few seconds later, and
need not wait for as long as the work might take.
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio

from gateway.errors import StoreUnavailable
from gateway.store.memory import Memory
from gateway.store.shared import Script, Store
from gateway.store.table import BACKGROUND_SECONDS

HELD_SECONDS: Final = 6.0
"""After which others have the turn of a node that says nothing any more."""
_SAY_SECONDS: Final = 1.5
_LOOK_SECONDS: Final = 0.05


@asynccontextmanager
async def turn(store: Store, name: str, wait: float) -> AsyncGenerator[None]:
    """
    Args:
        name: what there is one turn of.
        wait: how many seconds to wait for it.

    Raises:
        TimeoutError: somebody else has it, for too long.
        StoreUnavailable: the store cannot be asked.
    """
    key, mine = f"turn:{name}", secrets.token_hex(16)

    async def hold() -> bool:
        return bool(await store.do(HOLD, [key], [mine, int(HELD_SECONDS * 1000)], patience=BACKGROUND_SECONDS))

    async def say() -> None:
        while True:
            await anyio.sleep(_SAY_SECONDS)
            try:
                await hold()
            except StoreUnavailable:
                continue  # nobody else can be told that it is free either

    with anyio.fail_after(wait):
        while not await hold():  # noqa: ASYNC110
            await anyio.sleep(_LOOK_SECONDS)
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as tg:
            tg.start_soon(say)
            try:
                yield
            except Exception as error:  # which is not the group's
                failure = error
            tg.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await _release(store, key, mine)
    if failure is not None:
        raise failure


async def _release(store: Store, key: str, mine: str) -> None:
    try:
        await store.do(RELEASE, [key], [mine], patience=BACKGROUND_SECONDS)
    except StoreUnavailable:
        return  # it is over by itself


def _hold(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    if memory.get(keys[0]) not in (None, arguments[0]):
        return 0
    memory.set(keys[0], arguments[0], arguments[1] / 1000)
    return 1


def _let_go(memory: Memory, keys: Sequence[str], arguments: Sequence[Any]) -> int:
    return int(memory.get(keys[0]) == arguments[0] and memory.delete(keys[0]))


HOLD: Final = Script(
    "turn: hold",
    """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""",
    _hold,
)
"""Keys: the turn. Arguments: who wants it, or has it; for how many milliseconds. Returns whether that one has it."""
RELEASE: Final = Script(
    "turn: release",
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
    _let_go,
)
"""Keys: the turn. Arguments: who has it, or had it."""
