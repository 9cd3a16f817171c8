"""Somebody who clicks through the pages of an authorization server: follows redirects, fills in forms, and sends them.

Their scripts are not run; `browser.mjs` runs them in a real browser.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx2

MAX_STEPS: Final = 30


@dataclass
class Form:
    action: str = ""
    method: str = "get"
    values: dict[str, str] = field(default_factory=dict[str, str])


class Forms(HTMLParser):
    """The forms of a page, with what their fields hold; of buttons that say something, the first."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.found.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        elif tag in ("input", "button") and self.found and "name" in given:
            self.found[-1].values.setdefault(given["name"], given.get("value", ""))


def click_through(link: str, answers: Mapping[str, str]) -> httpx2.Response:
    """Open a link, and go on until a page has no form.

    Args:
        answers: what to type, by the names of fields.
    """
    with httpx2.Client(timeout=60) as browser:
        page = browser.get(link)
        for _ in range(MAX_STEPS):
            if page.is_redirect:
                page = browser.get(urljoin(str(page.url), page.headers["location"]))
                continue
            forms = Forms(page.text).found if page.status_code == 200 else []
            if not forms:
                return page
            form = forms[0]
            values = {name: answers.get(name, value) for name, value in form.values.items()}
            target = urljoin(str(page.url), form.action)
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(str(page.url)))
            page = browser.post(target, data=values, headers={"origin": origin})
    raise AssertionError(f"still going on after {MAX_STEPS} steps, at {page.url}")
