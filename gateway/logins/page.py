"""What somebody sees in the browser on the way through a login. No script, nothing from elsewhere."""

import base64
import hashlib
from html import escape
from typing import Final, Literal

_STYLE: Final = """
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--text:#1c2024;--dim:#60646c;--good:#18794e;--bad:#b3261e;
--main:#3451b2;--line:#cdced6}
@media(prefers-color-scheme:dark){:root{--back:#111113;--card:#1b1c1f;--text:#edeef0;--dim:#a8adb5;--good:#30a46c;
--bad:#c9423a;--main:#5472e4;--line:#43484e}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--text);
font:1rem/1.6 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:28rem;width:100%;padding:2.5rem;border-radius:1rem;background:var(--card);text-align:center;
box-shadow:0 1px 2px #0001,0 12px 32px #0001}
.mark{width:3.5rem;height:3.5rem;margin:0 auto 1.25rem;border-radius:50%;display:grid;place-items:center;color:#fff;
font-size:1.75rem;line-height:1}
.good{background:var(--good)}.bad{background:var(--bad)}.ask{background:var(--main)}
h1{margin:0 0 .5rem;font-size:1.35rem;line-height:1.3;overflow-wrap:anywhere}
p{margin:.5rem 0 0;color:var(--dim);overflow-wrap:anywhere}
p.wrong{color:var(--bad);font-weight:600}
form{margin:1.5rem 0 0;text-align:left}
label{display:block;font-size:.9rem;font-weight:600}
input{width:100%;margin:.35rem 0 1rem;padding:.65rem .8rem;border:1px solid var(--line);border-radius:.6rem;
background:transparent;color:inherit;font:inherit}
button,a.button{display:block;width:100%;padding:.7rem 1rem;border:0;border-radius:.6rem;background:var(--main);
color:#fff;font:inherit;font-weight:600;text-align:center;text-decoration:none;cursor:pointer}
a.button{margin-top:1.5rem}
button.other{margin-top:.75rem;background:transparent;color:inherit;border:1px solid var(--line)}
:focus-visible{outline:3px solid var(--main);outline-offset:2px}
footer{margin-top:2rem;font-size:.8rem;color:var(--dim)}
"""

_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def _headers(form_action: str, referrer: str) -> dict[str, str]:
    return {
        "content-type": "text/html; charset=utf-8",
        "cache-control": "no-store",
        "content-security-policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; "
        f"form-action {form_action}; frame-ancestors 'none'",
        "referrer-policy": referrer,
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "cross-origin-opener-policy": "same-origin",
    }


HEADERS: Final = _headers("'none'", "no-referrer")
"""Of the answer that carries a page."""
FORM_HEADERS: Final = _headers("'self'", "same-origin")
"""Of one that carries a form. Without a referrer browsers would not say that it is our own page which posts."""

Kind = Literal["good", "bad", "ask"]
_SIGNS: Final[dict[Kind, str]] = {"good": "✓", "bad": "!", "ask": "→"}


def page(title: str, text: str, *, good: bool) -> bytes:
    """How something ended.

    Args:
        title, text: plain text; may come from strangers.
        good: whether it ended well.
    """
    return _page("good" if good else "bad", title, _paragraph(text))


def form(title: str, text: str, token: str, *, asks_key: bool, sign_in: str = "", wrong: str = "") -> bytes:
    """Who opened a link is asked who they are, and to go on.

    Args:
        token: the form's own, which comes back with it.
        asks_key: whether they can show a key of this gateway.
        sign_in: where else they can sign in, in words; empty if nowhere.
        wrong: what was wrong with the last try.
    """
    parts = [_paragraph(text), _paragraph(wrong, "wrong") if wrong else ""]
    hidden = f'<input type="hidden" name="token" value="{escape(token)}">'
    if asks_key:
        parts.append(
            f'<form method="post" autocomplete="on">{hidden}<label for="key">Your key for this gateway</label>'
            '<input id="key" name="key" type="password" autocomplete="current-password" spellcheck="false" '
            'autocapitalize="off" required autofocus><button>Continue</button></form>'
        )
    if sign_in or not asks_key:
        words = f"Sign in with {escape(sign_in)}" if sign_in else "Continue"
        look = ' class="other"' if asks_key else ""
        name = ' name="sign_in" value="1"' if sign_in else ""
        parts.append(f'<form method="post">{hidden}<button{look}{name}>{words}</button></form>')
    return _page("ask", title, "".join(parts))


def onward(title: str, text: str, link: str, words: str) -> bytes:
    """The browser goes on by itself, and where it does not, by a click.

    Args:
        link: an http or https URL.
        words: on the button.
    """
    target = escape(link)
    button = f'<a class="button" href="{target}" rel="noreferrer">{escape(words)}</a>'
    return _page("ask", title, _paragraph(text) + button, f'<meta http-equiv="refresh" content="0;url={target}">')


def _paragraph(text: str, look: str = "") -> str:
    return f"<p{f' class={look!r} role=alert' if look else ''}>{escape(text)}</p>"


def _page(kind: Kind, title: str, body: str, head: str = "") -> bytes:
    """
    Args:
        body, head: HTML.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">{head}'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f'<div class="mark {kind}" aria-hidden="true">{_SIGNS[kind]}</div><h1>{escape(title)}</h1>{body}'
        "<footer>mcp-gateway</footer></main></body></html>"
    ).encode()
