"""What a browser gets that comes by: a small page at `/`, and a sentence where only MCP is spoken.

Both are for anybody, so they say nothing of what stands behind this gateway. They load nothing.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from gateway.frontend.http_request import HttpRequest

STYLE: Final = "body{font:16px/1.5 system-ui,sans-serif;max-width:42em;margin:3em auto}pre{overflow-x:auto}"

PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>mcp-gateway</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<h1>mcp-gateway</h1>
<p>One door in front of many MCP servers: agents see the tools, resources and prompts of all of them as one server.</p>
<h2>Connect an agent</h2>
<p>The address of the MCP server (Streamable HTTP) is <code>{url}</code>, and <code>{url}/NAME</code> is one server of
those behind it. If this gateway asks for a key, send it as <code>Authorization: Bearer KEY</code> or
<code>X-Api-Key: KEY</code>. For example:</p>
<pre>claude mcp add --transport http gateway {url}</pre>
<p>On the machine of the gateway, <code>mcp-gateway client-config CLIENT --http</code> prints what to paste into a
client.</p>
<h2>Look around</h2>
<p><a href="docs">/docs</a> describes the REST endpoints and lets you try them; <a href="health">/health</a> and
<a href="readyz">/readyz</a> say how it is.</p>
</body>
</html>
"""

SENTENCE: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>mcp-gateway</title><link rel="icon" href="data:,"></head>
<body><p>This address speaks MCP (Model Context Protocol) with agents, not with browsers: put it into an MCP client's
configuration. <a href="/">What this is</a></p></body>
</html>
"""

_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def is_browser(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a person asks: agents accept JSON or event streams, and none of them accepts a page."""
    if method not in ("GET", "HEAD"):
        return False
    accept = headers.get("accept", "").lower()
    return "text/html" in accept and "text/event-stream" not in accept


def reply_page(request: HttpRequest) -> None:
    from html import escape  # with the names of all characters, which is half a MiB

    host = request.headers.get("host", "")  # what the browser calls us, which was found to be allowed
    url = escape(f"{request.scheme}://{host}/mcp" if host else "/mcp")
    _reply(request, PAGE.format(style=STYLE, url=url))


def reply_sentence(request: HttpRequest) -> None:
    _reply(request, SENTENCE)


def _reply(request: HttpRequest, text: str) -> None:
    headers = (
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        ("vary", "accept"),
    )
    request.reply(200, text.encode(), headers, "text/html; charset=utf-8")
