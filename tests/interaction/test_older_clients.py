"""What only 2026-07-28 allows is kept from clients that would refuse a whole list for it."""

import json
from pathlib import Path
from typing import Any

from tests.interaction._gateway import PATIENT, child, http_gateway
from tests.interaction._http import HttpChannel, open_session
from tests.interaction._wire import Wire

TOOL: dict[str, Any] = {"name": "many", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}}


def test_an_output_schema_that_is_not_of_an_object(tmp_path: Path) -> None:
    (tmp_path / "offer").write_text(json.dumps([TOOL]))
    entry = child("tests.servers.turncoat", str(tmp_path / "offer"))
    with http_gateway(tmp_path, {"up": entry}, **PATIENT) as gateway:
        for url, name in ((f"{gateway.base}/mcp", "up__many"), (f"{gateway.base}/mcp/up", "many")):
            modern = Wire(HttpChannel(url, {}), True).ask("tools/list").result["tools"]
            assert modern == [{**TOOL, "name": name}]
            older = Wire(HttpChannel(url, open_session(url)), False).ask("tools/list").result["tools"]
            assert older == [{"name": name, "inputSchema": TOOL["inputSchema"]}]
