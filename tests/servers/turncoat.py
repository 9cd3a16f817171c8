"""A hand-written server that offers what a file says at the moment, so that a test can make it change its mind.

    python -m tests.servers.turncoat FILE

FILE is JSON: the list of its tools, and perhaps of resource templates (what has a `uriTemplate`). Whatever is called or
read says so.
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.servers.wire import Method, Service, lines, serve_stdio


def main() -> None:
    path = Path(sys.argv[1])

    def offered(key: str) -> list[dict[str, Any]]:
        return [item for item in json.loads(path.read_text()) if ("uriTemplate" in item) == (key == "uriTemplate")]

    methods: dict[str, Method] = {
        "tools/list": lambda _: {"tools": offered("name")},
        "tools/call": lambda params: {"content": [{"type": "text", "text": f"{params['name']} was called"}]},
        "resources/list": lambda _: {"resources": []},
        "resources/templates/list": lambda _: {"resourceTemplates": offered("uriTemplate")},
        "resources/read": lambda params: {"contents": [{"uri": params["uri"], "text": f"read at {path}"}]},
    }
    service = Service("turncoat", methods)

    serve_stdio(lines(service.answer))


if __name__ == "__main__":
    main()
