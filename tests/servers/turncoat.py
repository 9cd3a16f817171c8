"""A hand-written server that offers what a file says at the moment, so that a test can make it change its mind.

    python -m tests.servers.turncoat FILE

FILE is JSON: the list of its tools, and perhaps of resource templates (what has a `uriTemplate`) and resources (what
has a `uri`). Whatever is called or read says so; a call also returns a link to the URI in its argument `link`.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.servers.wire import Method, Service, lines, serve_stdio


def main() -> None:
    path = Path(sys.argv[1])

    def offered(key: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(path.read_text())
        return [item for item in items if next(each for each in ("uriTemplate", "uri", "name") if each in item) == key]

    def call(params: dict[str, Any]) -> dict[str, Any]:
        content = [{"type": "text", "text": f"{params['name']} was called"}]
        if link := params.get("arguments", {}).get("link"):
            content.append({"type": "resource_link", "uri": link, "name": "link"})
        return {"content": content}

    methods: dict[str, Method] = {
        "tools/list": lambda _: {"tools": offered("name")},
        "tools/call": call,
        "resources/list": lambda _: {"resources": offered("uri")},
        "resources/templates/list": lambda _: {"resourceTemplates": offered("uriTemplate")},
        "resources/read": lambda params: {"contents": [{"uri": params["uri"], "text": f"read at {path}"}]},
    }
    service = Service("turncoat", methods)

    serve_stdio(lines(service.answer))


if __name__ == "__main__":
    main()
