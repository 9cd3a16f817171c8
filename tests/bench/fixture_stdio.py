"""The cheapest stdio server there is in Python, so that what is measured is the client.

python -m tests.bench.fixture_stdio
"""

import os

import orjson

from tests.bench.answers import answer


def main() -> None:
    rest = b""
    while chunk := os.read(0, 1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        replies = [reply for line in lines if (reply := answer(orjson.loads(line))) is not None]
        out = b"".join(orjson.dumps(reply) + b"\n" for reply in replies)
        while out:
            out = out[os.write(1, out) :]


if __name__ == "__main__":
    main()
