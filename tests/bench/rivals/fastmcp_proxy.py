"""FastMCP's proxy as documented for reused sessions: one connected client behind it.

python fastmcp_proxy.py PORT URL        in an environment that has FastMCP
"""

# pyright: basic, reportMissingImports=false
import asyncio
import sys

from fastmcp import Client
from fastmcp.server import create_proxy


async def main(port: int, url: str) -> None:
    async with Client(url) as client:
        proxy = create_proxy(client, name="bench")
        await proxy.run_async(transport="http", host="127.0.0.1", port=port, show_banner=False, log_level="warning")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
