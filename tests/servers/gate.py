"""A server whose calls last as long as the test says: for what has to happen while a call is in flight.

    python -m tests.servers.gate [--era both|handshake|modern] [--tool NAME]… [--slow-start GATE]

`who` says which process answers, and with which label (the variable `LABEL`,
which it says on stderr too). `hold` answers, as `who`, once the file
`gate` is there. `ask` asks its client something, and answers that. Beside `gate` they leave a file for what happened:
`gate.began.N` for each call that arrived, `gate.cancelled` when one was called off. `--tool` adds tools like `who`.
"""

import argparse
import json
import os
import sys
import time
from itertools import count
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final

from tests.servers.wire import ERAS, Message, Method, Service, encode, is_enveloped, params_of

_POLL_SECONDS: Final = 0.01
_ANY: Final = {"type": "object", "additionalProperties": True}


def who(params: dict[str, Any]) -> dict[str, Any]:
    facts = {"pid": os.getpid(), "label": os.environ.get("LABEL", "")}
    return {"content": [{"type": "text", "text": facts["label"]}], "structuredContent": facts}


def until_open(gate: Path) -> None:
    while not gate.exists():
        time.sleep(_POLL_SECONDS)


class Gate:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._lock = Lock()
        self._numbers = count(1)
        self._asked: dict[str, Message] = {}
        self._gates: dict[Any, Path] = {}

    def take(self, message: Message) -> None:
        params = params_of(message)
        arguments: Message = params.get("arguments") or {}
        name, gate = params.get("name"), Path(arguments.get("gate", os.devnull))
        if message.get("method") == "notifications/cancelled":
            self._gates[params["requestId"]].with_suffix(".cancelled").touch()
        elif message.get("id") in self._asked and "method" not in message:
            self._write(self._service.answer(self._asked.pop(message["id"])))
        elif name in ("hold", "ask") and "id" in message:
            self._gates[message["id"]] = gate
            gate.with_suffix(f".began.{next(self._numbers)}").touch()
            Thread(target=self._hold if name == "hold" else self._ask, args=(message, gate), daemon=True).start()
        else:
            self._write(self._service.answer(message))

    def _hold(self, message: Message, gate: Path) -> None:
        until_open(gate)
        self._write(self._service.answer(message))

    def _ask(self, message: Message, gate: Path) -> None:
        assert not is_enveloped(params_of(message)), "only the handshake era asks so"
        id = f"question-{next(self._numbers)}"
        self._asked[id] = message
        schema = {"type": "object", "properties": {"name": {"type": "string"}}}
        question = {"mode": "form", "message": "Who?", "requestedSchema": schema}
        self._write({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": question})

    def _write(self, message: Message | None) -> None:
        if message is not None:
            with self._lock:
                sys.stdout.buffer.write(encode(message) + b"\n")
                sys.stdout.buffer.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=ERAS, default="both")
    parser.add_argument("--tool", action="append", default=[])
    parser.add_argument("--slow-start", type=Path)
    args = parser.parse_args()
    print(os.environ.get("LABEL", ""), file=sys.stderr)
    if args.slow_start:
        until_open(args.slow_start)
    tools = [{"name": name, "inputSchema": _ANY} for name in ("who", "hold", "ask", *args.tool)]
    methods: dict[str, Method] = {"tools/list": lambda _: {"tools": tools}, "tools/call": who}
    gate = Gate(Service("gate", methods, args.era))
    for line in sys.stdin.buffer:
        gate.take(json.loads(line))


if __name__ == "__main__":
    main()
