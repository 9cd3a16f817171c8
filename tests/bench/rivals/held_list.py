"""An ASGI server that holds the bytes of its list of tools: it reads a request, and sends them under its id.

BENCH_LIST=FILE with the result  python -m uvicorn tests.bench.rivals.held_list:app
"""

import os
from pathlib import Path
from typing import Final

import orjson

from tests.bench.answers import answering
from tests.bench.rivals.asgi_proxy import Event, Receive, Send, read_body, respond

RESULT: Final = Path(os.environ.get("BENCH_LIST", os.devnull)).read_bytes()
answer: Final = answering(list)


async def app(scope: Event, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    message = orjson.loads(await read_body(receive))
    if "id" not in message:
        await respond(send, 202, [], b"")
    elif message["method"] == "tools/list":
        body = b'{"jsonrpc":"2.0","id":%d,"result":%b}' % (message["id"], RESULT)
        await respond(send, 200, [(b"content-type", b"application/json")], body)
    else:
        await respond(send, 200, [(b"content-type", b"application/json")], orjson.dumps(answer(message)))
