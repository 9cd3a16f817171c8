"""Upstreams whose resources can be subscribed to, as cheap as they can be.

python -m tests.bench.subscribed stdio          one server of the handshake era
python -m tests.bench.subscribed http PORT      one server of the modern era
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event
from typing import Any

import orjson

from tests.servers.wire import HANDSHAKE, MODERN, Message

RESOURCES: dict[str, Any] = {"resources": {"subscribe": True}}
TEMPLATES: list[Message] = [{"name": "any", "uriTemplate": "any:///{+path}"}]


def answer(message: Message) -> Message:
    reply = {"jsonrpc": "2.0", "id": message["id"]}
    modern: Message = {"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"}
    match message["method"]:
        case "initialize":
            info = {"name": "subscribed", "version": "1"}
            return reply | {"result": {"protocolVersion": HANDSHAKE[-1], "capabilities": RESOURCES, "serverInfo": info}}
        case "server/discover":
            return reply | {"result": {"supportedVersions": [MODERN], "capabilities": RESOURCES, **modern}}
        case "resources/list":
            return reply | {"result": {"resources": [], **modern}}
        case "resources/templates/list":
            return reply | {"result": {"resourceTemplates": TEMPLATES, **modern}}
        case "resources/subscribe" | "resources/unsubscribe":
            return reply | {"result": {}}
        case _:
            return reply | {"error": {"code": -32601, "message": "Method not found"}}


def stdio() -> None:
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("method") == "server/discover":
            message["method"] = "unknown"
        if "id" in message:
            sys.stdout.buffer.write(orjson.dumps(answer(message)) + b"\n")
            sys.stdout.buffer.flush()


class Modern(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None: ...

    def do_POST(self) -> None:
        message = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if message["method"] == "subscriptions/listen":
            self._listen(message)
            return
        body = orjson.dumps(answer(message))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _listen(self, message: Message) -> None:
        meta = {"io.modelcontextprotocol/subscriptionId": message["id"]}
        params = {"notifications": message["params"]["notifications"], "_meta": meta}
        said = {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params}
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"data: " + orjson.dumps(said) + b"\n\n")
        self.wfile.flush()
        Event().wait(600)


if __name__ == "__main__":
    if sys.argv[1] == "http":
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Modern)
        server.daemon_threads = True
        server.serve_forever()
    else:
        stdio()
