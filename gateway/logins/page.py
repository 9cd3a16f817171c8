"""What somebody sees in the browser at the end of a login. No script, nothing from elsewhere."""

from html import escape
from typing import Final

HEADERS: Final = {
    "content-type": "text/html; charset=utf-8",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Of the answer that carries it."""

_STYLE: Final = """
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--text:#1c2024;--dim:#60646c;--good:#18794e;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--back:#111113;--card:#1b1c1f;--text:#edeef0;--dim:#a8adb5;--good:#4cc38a;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--text);
font:1rem/1.6 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:28rem;width:100%;padding:2.5rem;border-radius:1rem;background:var(--card);text-align:center;
box-shadow:0 1px 2px #0001,0 12px 32px #0001}
.mark{width:3.5rem;height:3.5rem;margin:0 auto 1.25rem;border-radius:50%;display:grid;place-items:center;color:#fff;
font-size:1.75rem;line-height:1}
.good{background:var(--good)}.bad{background:var(--bad)}
h1{margin:0 0 .5rem;font-size:1.35rem;line-height:1.3;overflow-wrap:anywhere}
p{margin:.5rem 0 0;color:var(--dim);overflow-wrap:anywhere}
footer{margin-top:2rem;font-size:.8rem;color:var(--dim)}
"""


def page(title: str, text: str, *, good: bool) -> bytes:
    """
    Args:
        title, text: plain text; may come from strangers.
        good: whether it ended well.
    """
    sign, kind = ("✓", "good") if good else ("!", "bad")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<div class="mark {kind}" aria-hidden="true">{sign}</div><h1>{escape(title)}</h1><p>{escape(text)}</p>'
        "<footer>mcp-gateway</footer></main></body></html>"
    ).encode()
