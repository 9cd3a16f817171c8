"""A deliberately bad server: mostly well behaved, until it is asked or told not to be.

    python -m tests.servers.bad [--transport stdio|http] [--port N] [--era both|handshake|modern]
        [--list KIND] [--on METHOD=KIND]... [--slow-start SECONDS] [--ignore-sigterm] [--ignore-eof] [--post 404|405]

Calling a tool named after a misbehaviour (`MISREPLIES`, over HTTP also `MISDEEDS`) gets it; any other tool answers
with its name. `--on` does the same to every request of a method (`--on initialize=silent`), `--list` chooses what
tools/list says (`LISTINGS`). `--post` refuses Streamable HTTP with that status and serves the legacy SSE transport at
the same URL. HTTP is at every path, and `/redirect?to=URL` redirects there.
"""

import argparse
import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Any

from tests.servers.bad_http import MISDEEDS, SseOnlyServer, misbehave, redirect
from tests.servers.bad_replies import LISTINGS, MISREPLIES, listing, ok
from tests.servers.wire import ERAS, Message, Method, Service, params_of, serve_stdio
from tests.servers.wire_http import Exchange, HttpServer


def call(params: dict[str, Any]) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": params["name"]}]}


@dataclass(frozen=True)
class Bad:
    """Decides which request is treated badly, and how."""

    service: Service
    on: dict[str, str]
    """Method → misbehaviour."""

    def kind(self, message: Message) -> str:
        """The misbehaviour a request has coming; `ok` when none."""
        method = message["method"]
        if method in self.on:
            return self.on[method]
        name = params_of(message).get("name") if method == "tools/call" else None
        return name if name in MISREPLIES or name in MISDEEDS else "ok"

    def answer(self, message: Message) -> list[bytes]:
        reply = self.service.answer(message)
        return [] if reply is None else MISREPLIES.get(self.kind(message), ok)(reply, arguments(message))

    async def intercept(self, exchange: Exchange, message: Message) -> bool:
        kind, reply = self.kind(message), self.service.answer(message)
        if exchange.target.startswith("/redirect?to="):
            await redirect(exchange, {}, {"to": exchange.target.removeprefix("/redirect?to=")})
        elif kind == "ok" or reply is None:
            return False
        else:
            await misbehave(kind, exchange, reply, arguments(message))
        return True


def arguments(message: Message) -> dict[str, Any]:
    return params_of(message).get("arguments") or {}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--era", choices=ERAS, default="both")
    parser.add_argument("--list", choices=("plain", *LISTINGS), default="plain")
    parser.add_argument("--on", action="append", default=[], metavar="METHOD=KIND")
    parser.add_argument("--slow-start", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--ignore-eof", action="store_true")
    parser.add_argument("--post", type=int, choices=(404, 405))
    return parser.parse_args()


def main() -> None:
    args = parse()
    if args.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(args.slow_start)
    listings = LISTINGS | {"plain": listing(*MISREPLIES, *(MISDEEDS if args.transport == "http" else ()))}
    methods: dict[str, Method] = {"tools/list": listings[args.list], "tools/call": call}
    bad = Bad(Service("bad", methods, args.era), dict(pair.split("=") for pair in args.on))
    if args.transport == "http":
        serve = HttpServer(bad.service, intercept=bad.intercept)
        if args.post:
            serve = SseOnlyServer(bad.service, post_status=args.post)
        asyncio.run(serve.serve(args.port))
    else:
        serve_stdio(bad.answer)
        while args.ignore_eof:
            signal.pause()


if __name__ == "__main__":
    main()
