"""Many principals at once, and nothing of one reaches another."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import messages, posted
from tests.interaction._wire import request


def test_a_hundred_principals_and_not_one_foreign_byte(tmp_path: Path) -> None:
    """All at once, with the same request ids, progress tokens and URIs; each has an upstream's progress of its own
    length."""
    names = [f"tenant-{number:03}-{number * 7919:06x}" for number in range(100)]
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps([{"key": f"key-{name}", "owner": name, "rate_limit_rpm": -1} for name in names]))
    servers = {name: child("tests.servers.everything") for name in ("all", "same")}
    together = Barrier(len(names), timeout=60)

    def tenant(number: int) -> str:
        name, steps = names[number], 2 + number
        meta = {"progressToken": 1, "io.modelcontextprotocol/logLevel": "debug"}
        conversation = [
            ("", "tools/call", {"name": "all__echo", "arguments": {"who": name}}),
            ("", "tools/call", {"name": "all__slow", "arguments": {"seconds": 0.1, "steps": steps}}),
            ("", "tools/call", {"name": "all__log", "arguments": {"level": "info", "message": name}}),
            ("", "tools/call", {"name": "same__echo", "arguments": {"who": name}}),
            ("/all", "resources/read", {"uri": f"test://template/{name}/data"}),
            ("/same", "resources/read", {"uri": f"test://template/{name}/data"}),
        ]
        together.wait()
        said: list[dict[str, Any]] = []
        for view, method, params in conversation:
            message = request(method, {**params, "_meta": meta}, modern=True, id=7)
            with posted(f"{gateway.base}/mcp{view}", message, {"X-Api-Key": f"key-{name}"}) as response:
                said += messages(response)
        assert [message["id"] for message in said if "id" in message] == [7] * len(conversation)
        progress = [message["params"] for message in said if message.get("method") == "notifications/progress"]
        assert [(each["progressToken"], each["total"]) for each in progress] == [(1, steps)] * steps
        return json.dumps(said)

    with (
        http_gateway(tmp_path, servers, auth={"enabled": True, "api_keys_file": str(keys)}, **PATIENT) as gateway,
        ThreadPoolExecutor(len(names)) as threads,
    ):
        heard = list(threads.map(tenant, range(len(names))))
    for name, text in zip(names, heard, strict=True):
        assert name in text
        assert not [other for other in names if other != name and other in text]
