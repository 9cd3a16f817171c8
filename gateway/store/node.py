"""Which node this is, and which run of it: what was left by an earlier run of the same node is known to be over."""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway import blocking
from gateway.store import files
from gateway.store.shared import Store

MOST: Final = 64
"""Nodes that share a state folder and are told apart after a restart."""
_NAME_BYTES: Final = 4


@dataclass(frozen=True, slots=True)
class Node:
    """One running gateway."""

    name: str = field(default_factory=lambda: secrets.token_hex(_NAME_BYTES))
    """The same after a restart, where there is no store. Two that run at the same time never have the same."""
    run: int = field(default_factory=lambda: secrets.randbits(32))
    """Another after each restart."""

    def __str__(self) -> str:
        return f"{self.name}.{self.run:08x}"


def of(store: Store) -> Node:
    """This node as others reach it through a store. After a restart it is another."""
    return Node(store.node, int(store.node[:8], 16))


def identify(folder: Path) -> Node:
    """This node, by the first name in a state folder that no other running gateway has; made if there is none. Blocks.

    The name is held until the process ends. Where none can be kept, the node has a name of this run alone.
    """
    with suppress(OSError):
        for number in range(1, MOST + 1):
            path = folder / f"node-{number}"
            if not path.exists():
                files.create(path, secrets.token_hex(_NAME_BYTES).encode())
            if files.hold(path):
                name = blocking.read(path, 2 * _NAME_BYTES).decode("ascii", "replace")
                if len(name) == 2 * _NAME_BYTES and all(character in "0123456789abcdef" for character in name):
                    return Node(name)
                break
    return Node()
