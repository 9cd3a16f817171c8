"""An upstream over stdio with many tools, whose list changes all the time.

python -m tests.bench.many TOOLS SECONDS between two changes
"""

import json
import sys
import threading
import time

import orjson

from tests.bench.answers import answering, tool, tools
from tests.servers.wire import Message


def main(count: int, period: float) -> None:
    listed, lock, changes = threading.Event(), threading.Lock(), 0
    usual = tools(count - 1)

    def write(message: Message) -> None:
        with lock:
            sys.stdout.buffer.write(orjson.dumps(message) + b"\n")
            sys.stdout.buffer.flush()

    def change() -> None:
        nonlocal changes
        listed.wait()
        while True:
            time.sleep(period)
            changes += 1
            write({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})

    threading.Thread(target=change, daemon=True).start()
    answer = answering(lambda: [*usual, tool(f"changed_{changes}")], {"listChanged": True}, modern=False)
    for line in sys.stdin.buffer:
        message = json.loads(line)
        reply = answer(message)
        if reply is not None:
            write(reply)
        if message.get("method") == "tools/list":
            listed.set()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
