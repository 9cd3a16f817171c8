"""The page at `/docs`: it works without a network, and what it describes is right."""

import re
import sys

import anyio
import pytest
import structlog

from tests.rest.house import BROKEN, House, house

pytestmark = pytest.mark.anyio

MAX_EXAMPLES = 5
"""Per operation and phase. Raise it to look for more."""


async def test_the_page_has_all_it_needs(home: House) -> None:
    page = await home.ask(None, "GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert [asset for asset in assets if not asset.startswith("data:")] == [
        "docs/swagger-ui.css",
        "docs/swagger-ui-bundle.js",
        "docs/start.js",
    ]
    for path, kind, least in (
        ("/docs/swagger-ui.css", "text/css; charset=utf-8", 50_000),
        ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8", 500_000),
        ("/docs/start.js", "text/javascript; charset=utf-8", 100),
    ):
        asset = await home.ask(None, "GET", path)
        assert (asset.status_code, asset.headers["content-type"]) == (200, kind)
        assert len(asset.content) > least
    assert 'url: "openapi.json"' in (await home.ask(None, "GET", "/docs/start.js")).text
    assert (await home.ask(None, "GET", "/openapi.json")).json()["openapi"].startswith("3.")


async def test_the_page_may_load_nothing_from_elsewhere(home: House) -> None:
    page = await home.ask(None, "GET", "/docs")
    assert "//" not in page.text
    assert "validatorUrl: null" in (await home.ask(None, "GET", "/docs/start.js")).text
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src", "connect-src"):
        assert policy[kind] == "'self'"
    assert policy["frame-ancestors"] == "'none'"


async def test_only_the_public_needs_no_credential(home: House) -> None:
    paths = (await home.ask(None, "GET", "/openapi.json")).json()["paths"]
    public = {path for path, operations in paths.items() for each in operations.values() if "security" not in each}
    assert public == {"/health", "/readyz", "/metrics"}
    ways = paths["/upstreams"]["get"]["security"]
    assert ways == [{"API key": []}, {"Agent token": []}, {"API key or OAuth token": []}]
    assert "422" not in str(paths)


async def test_answers_are_as_described(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Schemathesis: whatever one sends, what comes back is as the OpenAPI says."""
    folder = tmp_path_factory.mktemp("schema")
    async with house(folder, {"time": BROKEN}, cap=1000) as home:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{home.base}/openapi.json"),
            *("--header", "X-Api-Key: alice", "--max-examples", str(MAX_EXAMPLES), "--seed", "1", "--no-color"),
        ]
        with anyio.fail_after(120):
            run = await anyio.run_process(command, check=False, cwd=folder)
    structlog.reset_defaults()  # it has tried all levels of the log
    report = run.stdout.decode()
    assert run.returncode == 0, report[-5000:]
    assert re.search(r"Tested: +15\b", report), report[-5000:]
