"""A server whose tools cannot be listed."""

from typing import Any, Final

from tests.servers.wire import Method, Refusal, Service, lines, serve_stdio


def tools(params: dict[str, Any]) -> dict[str, Any]:
    raise Refusal(-32050, "the disk is full")


METHODS: Final[dict[str, Method]] = {"tools/list": tools, "prompts/list": lambda _: {"prompts": []}}

if __name__ == "__main__":
    serve_stdio(lines(Service("refusing", METHODS).answer))
