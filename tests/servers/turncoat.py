"""A hand-written server that offers what a file says at the moment, so that a test can make it change its mind.

    python -m tests.servers.turncoat FILE

FILE is JSON: the list of its tools. Every call is answered with the arguments.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.servers.wire import Message, Service, encode, serve_stdio


def main() -> None:
    path = Path(sys.argv[1])

    def tools(_: dict[str, Any]) -> dict[str, Any]:
        return {"tools": json.loads(path.read_text())}

    def call(params: dict[str, Any]) -> dict[str, Any]:
        return {"content": [{"type": "text", "text": f"{params['name']} was called"}]}

    service = Service("turncoat", {"tools/list": tools, "tools/call": call})

    def answer(message: Message) -> list[bytes]:
        reply = service.answer(message)
        return [] if reply is None else [encode(reply)]

    serve_stdio(answer)


if __name__ == "__main__":
    main()
