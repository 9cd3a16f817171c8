"""A server that says more after its answers: for what belongs to no request.

    python -m tests.servers.afterwards [--era both|handshake|modern]

`say` answers, and then sends the notifications in its argument `messages` (each with `method` and `params`).
"""

import argparse
import json
import sys
from typing import Final

from tests.servers.wire import ERAS, Message, Method, Service, encode, params_of

_TOOLS: Final = [{"name": "say", "inputSchema": {"type": "object"}}]
_RESOURCES: Final = [{"uri": f"memo://{number}", "name": f"memo {number}"} for number in (1, 2)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--era", choices=ERAS, default="handshake")
    methods: dict[str, Method] = {
        "tools/list": lambda _: {"tools": _TOOLS},
        "tools/call": lambda _: {"content": [{"type": "text", "text": "said"}]},
        "resources/list": lambda _: {"resources": _RESOURCES},
        "resources/subscribe": lambda _: {},
        "resources/unsubscribe": lambda _: {},
    }
    service = Service("afterwards", methods, parser.parse_args().era)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        arguments: Message = params_of(message).get("arguments") or {}
        reply = service.answer(message)
        said: list[Message] = [] if reply is None else [reply]
        said += [{"jsonrpc": "2.0", **more} for more in arguments.get("messages", [])]
        for each in said:
            sys.stdout.buffer.write(encode(each) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
