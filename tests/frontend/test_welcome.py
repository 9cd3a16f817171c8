"""What a browser gets: a page at `/`, a sentence where only MCP is spoken. Agents are answered as ever."""

from pathlib import Path

import pytest

from tests.interaction._gateway import http_gateway
from tests.interaction._http import sent

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def _get(url: str, headers: dict[str, str]) -> tuple[int, str, str]:
    with sent("GET", url, None, headers) as response:
        return response.status, response.headers["Content-Type"], response.read().decode()


@pytest.mark.parametrize("settings", [{}, {"auth": {"enabled": True}}], ids=["open", "with keys"])
def test_a_browser_learns_what_this_is(settings: dict[str, object], tmp_path: Path) -> None:
    with http_gateway(tmp_path, {}, **settings) as gateway:
        for headers in (BROWSER, {}):
            status, kind, text = _get(f"{gateway.base}/", headers)
            assert (status, kind) == (200, "text/html; charset=utf-8")
            assert f"{gateway.base}/mcp" in text
            assert 'href="docs"' in text
            assert "<script" not in text
        for path in ("/mcp", "/mcp/", "/mcp/whatever", "/sse"):
            status, kind, text = _get(gateway.base + path, BROWSER)
            assert (status, kind) == (200, "text/html; charset=utf-8")
            assert "speaks MCP" in text
            assert "whatever" not in text
        status, kind, _ = _get(f"{gateway.base}/mcp", {"Accept": "text/event-stream"})
        assert status >= 400
        assert kind == "application/json"


def test_what_the_browser_calls_us_is_no_markup(tmp_path: Path) -> None:
    with http_gateway(tmp_path, {}, allowed_hosts=["*"]) as gateway:
        text = _get(f"{gateway.base}/", {**BROWSER, "Host": "<script>x"})[2]
        assert "<script>" not in text
