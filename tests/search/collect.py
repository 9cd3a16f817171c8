"""Collects the tools of public servers into `catalogues.jsonl`: `python -m tests.search.collect [NAME]...`.

The servers are those of `servers.yaml` beside this file, started one at a time through the registries' ordinary
clients, and asked through the gateway (`mcp-gateway tools`). None is given a credential that is good anywhere.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final, cast

import yaml

HERE: Final = Path(__file__).parent
CATALOGUES: Final = HERE / "catalogues.jsonl"
SHOWN: Final = ("name", "description", "inputSchema")
"""What of a tool clients put before their models."""
MAX_DEPTH: Final = 4
SECONDS: Final = 420
"""Longest that a server may take to be fetched, started and listed."""
REGISTRIES: Final = ("npm_config_", "pip_", "uv_", "ssl_", "node_extra_ca", "http_proxy", "https_proxy", "requests_ca")
"""Variables by which the registries are reached."""
KEPT: Final = ("name", "title", "description", "annotations")


def collect(name: str, server: dict[str, Any]) -> list[dict[str, Any]]:
    """What is kept of the tools of one server."""
    return [kept(tool) for tool in listed(name, server)]


def listed(name: str, server: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools of one server, under their own names."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "servers.yaml"
        settings = {"state_dir": folder, "prefix": "none", "startup_wait": f"{SECONDS}s"}
        env = {name: value for name, value in os.environ.items() if name.lower().startswith(REGISTRIES)}
        entry = {"connect_timeout": f"{SECONDS}s", **server, "env": env | server.get("env", {})}
        file.write_text(yaml.safe_dump({"gateway": settings, "servers": {name: entry}}))
        command = [sys.executable, "-m", "gateway", "tools", "--json", "-c", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS, cwd=folder)
    try:
        tools: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError:
        tools = []
    if not tools:
        print(f"{name}: {done.stderr[-300:]}", file=sys.stderr)
    return tools


def kept(tool: dict[str, Any]) -> dict[str, Any]:
    """What of a tool is searched, and how many bytes of it a model is shown."""
    shown = json.dumps({key: tool[key] for key in SHOWN if key in tool}, separators=(",", ":"), ensure_ascii=False)
    some = {key: tool[key] for key in KEPT if key in tool}
    return {**some, "inputSchema": words(tool.get("inputSchema")), "bytes": len(shown.encode())}


def words(schema: Any, depth: int = 0) -> dict[str, Any]:
    """A schema without what has no words: types, limits, examples."""
    found: dict[str, Any] = {}
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return found
    given = cast("dict[str, Any]", schema)
    if isinstance(given.get("description"), str):
        found["description"] = given["description"]
    if isinstance(given.get("properties"), dict):
        found["properties"] = {name: words(each, depth + 1) for name, each in given["properties"].items()}
    if inner := words(given.get("items"), depth + 1):
        found["items"] = inner
    return found


def main(wanted: list[str]) -> None:
    servers: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "servers.yaml").read_text())["servers"]
    known: dict[str, list[dict[str, Any]]] = {}
    for line in CATALOGUES.read_text().splitlines() if CATALOGUES.exists() else ():
        one = json.loads(line)
        known.setdefault(one["server"], []).append(one["tool"])
    for name, server in servers.items():
        if (name in wanted) if wanted else name not in known:
            if tools := collect(name, server):
                known[name] = tools
                print(f"{name}: {len(tools)} tools", file=sys.stderr)
            lines = (
                json.dumps({"server": name, "tool": tool}, ensure_ascii=False, separators=(",", ":"))
                for name in servers
                for tool in known.get(name, ())
            )
            CATALOGUES.write_text("".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1:])
