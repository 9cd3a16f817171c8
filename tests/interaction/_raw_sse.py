"""The raw server over the legacy SSE transport, which it does not speak itself.

python -m tests.interaction._raw_sse --port N
"""

import argparse
import asyncio

from tests.servers import raw
from tests.servers.bad_http import SseOnlyServer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport")
    parser.add_argument("--port", type=int)
    asyncio.run(SseOnlyServer(raw.service("handshake")).serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
