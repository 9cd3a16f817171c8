"""The SDK is loaded without what the gateway does not use of it; who asks for the rest has it all the same."""

import subprocess
import sys

from tests.support import ROOT

UNUSED = ("mcp.server.lowlevel", "starlette", "uvicorn", "sse_starlette", "httpx2", "mcp_types._v2025_11_25")


def run(script: str) -> None:
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)


def test_nothing_of_its_server_is_loaded() -> None:
    run(f"import sys; from gateway import sdk; sdk.load(); assert not {set(UNUSED)} & sys.modules.keys()")


def test_its_packages_have_all_their_names_still() -> None:
    run("""
from gateway import sdk
sdk.load()
from mcp.client.session import ClientSession
import mcp, mcp.client
from mcp import Client
from mcp_types import methods
from mcp.server import MCPServer
assert mcp.ClientSession is mcp.client.ClientSession is ClientSession
assert methods.SERVER_RESULTS["tools/list", "2025-11-25"]
assert mcp.types.Tool.__name__ == "Tool"
assert mcp.__file__ == mcp.__spec__.origin
try: mcp.nothing_of_that_name
except AttributeError: pass
else: raise AssertionError
""")


def test_who_was_first_is_left_alone() -> None:
    run("""
import mcp
from gateway import sdk
before = mcp.Client
sdk.load()
import sys
assert sys.modules["mcp"] is mcp and mcp.Client is before
""")
