"""The cheapest stdio server there is in Python, so that what is measured is the client.

python -m tests.bench.fixture_stdio [CPU to run on]
"""

import os
import sys

import orjson

from tests.bench.answers import answering, tools


def main() -> None:
    listed = tools(0)
    answer = answering(lambda: listed)
    rest = b""
    while chunk := os.read(0, 1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        replies = [reply for line in lines if (reply := answer(orjson.loads(line))) is not None]
        out = b"".join(orjson.dumps(reply) + b"\n" for reply in replies)
        while out:
            out = out[os.write(1, out) :]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.sched_setaffinity(0, {int(sys.argv[1])})
    main()
