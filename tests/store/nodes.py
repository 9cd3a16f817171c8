"""Gateways as nodes of one: each a process with a folder of its own, the same keys, and one store."""

import json
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.access.door import Door
from tests.interaction._gateway import PATIENT, Entry, http_gateway
from tests.store.servers import STATE_KEYS


@contextmanager
def gateways(
    folder: Path, servers: Mapping[str, Entry], store: str, keys: list[dict[str, Any]], number: int = 2, **settings: Any
) -> Generator[list[Door]]:
    """So many nodes, until the block ends.

    Args:
        store: its URL.
        keys: entries of their file of API keys.
    """
    (folder / "keys.json").write_text(json.dumps(keys))
    auth = {"enabled": True, "api_keys_file": str(folder / "keys.json")}
    shared: dict[str, Any] = {"auth": auth, "store": store, "state_keys": STATE_KEYS, **PATIENT, **settings}
    with ExitStack() as running, ThreadPoolExecutor(number) as pool:

        def start(each: int) -> Door:
            place = folder / f"node-{each}"
            place.mkdir(exist_ok=True)
            return Door(running.enter_context(http_gateway(place, servers, **shared)).base, place)

        yield list(pool.map(start, range(number)))
