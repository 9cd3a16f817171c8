"""What a worker of `mcp-gateway serve --workers` runs; the supervisor starts it. It is no verb.

Run as a program: `worker.py NUMBER DOOR LINE`, the last two being descriptors of sockets to the supervisor.
"""

import json
import socket
import sys
from pathlib import Path


def main(door: int, line: int) -> None:
    """
    Args:
        door: the descriptor over which connections come.
        line: the one for messages, of which the first are the orders.
    """
    from gateway.cli.common import configure_logs, import_structlog, or_fail, run

    import_structlog()
    from gateway.telemetry import logs
    from gateway.workers.membership import Membership, Orders

    talking = socket.socket(fileno=line)
    orders = Orders(**json.loads(_first_line(talking)))
    logs.worker = orders.number
    config = or_fail(orders.reading)
    configure_logs(config)

    async def serve() -> None:
        from gateway.app import Gateway
        from gateway.http_service import HttpService

        talking.setblocking(False)
        membership = Membership(orders, socket.socket(fileno=door), talking)
        await HttpService(Gateway(config, reread=orders.reading, worker=membership)).serve()

    run(serve)


def _first_line(talking: socket.socket) -> bytes:
    """Nothing of what may follow it is taken."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = talking.recv(1)
        if not byte:
            sys.exit()  # the supervisor is gone
        line += byte
    return bytes(line)


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[2]))  # where the gateway runs from its folder
    main(*map(int, sys.argv[2:4]))
