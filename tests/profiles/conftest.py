"""One gateway for all tests of profiles: keys with and without profiles, two servers, and a profile of each kind."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.access.door import Door
from tests.interaction._gateway import PATIENT, child, http_gateway

SERVERS: Final = {
    "raw": child("tests.servers.raw"),
    "all": child("tests.servers.everything"),
    "spare": child("tests.servers.raw"),
}
PROFILES: Final[dict[str, Any]] = {
    "support": {
        "servers": ["raw", "all"],
        "tools": {
            "allow": ["raw__*", "all__echo", "all__slow"],
            "deny": ["*__refuse"],
            "rename": {"raw__echo": "repeat"},
            "describe": {"raw__echo": "Says it again."},
        },
        "prompts": [],
        "resources": {"allow": ["raw://odd"], "describe": {"raw://odd": "An odd thing."}},
        "instructions": "Be brief.",
    },
    "plain": {"servers": ["spare"]},
    "found": {"servers": ["raw", "all"], "discovery": "search", "pinned": ["raw__raw"], "tools": {"deny": ["*refuse"]}},
    "quiet": {"servers": ["raw"], "discovery": "search-only"},
    "asked": {"servers": ["raw"], "discovery": "search", "confirm": True},
}
POLICY: Final = [{"who": ["owner:narrow"], "deny": ["raw__echo"]}]


def key(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "key": f"key-{name}", "owner": name, "rate_limit_rpm": -1, **more}


KEYS: Final = [
    key("free", scopes=["read", "write", "admin"]),
    key("narrow"),
    key("bound", profiles=["support"]),
    key("both", profiles=["support", "plain"]),
    key("gone", profiles=["nonesuch"]),
]


@pytest.fixture(scope="package")
def door(tmp_path_factory: pytest.TempPathFactory) -> Generator[Door]:
    folder: Path = tmp_path_factory.mktemp("profiles")
    (folder / "keys.json").write_text(json.dumps(KEYS))
    auth = {"enabled": True, "api_keys_file": str(folder / "keys.json")}
    settings: dict[str, Any] = {"auth": auth, "policy": POLICY, "profiles": PROFILES, **PATIENT}
    with http_gateway(folder, SERVERS, **settings) as gateway:
        yield Door(gateway.base, folder)
