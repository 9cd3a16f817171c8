"""A hand-written server with skills (SEP-2640): on stdio, or over HTTP for the conformance suite.

    python -m tests.servers.skilled [--transport stdio|http] [--port N] [--name NAME] [--era both|handshake|modern]
        [--file FILE] [--no-directories]

It serves `refunds`, in directories; `NAME-only`, which no other such server has; `hidden`, which it does not list; and
`daily`, which is generated. `--file` names one whose text is added to `refunds`, and may change while the server runs.
"""

import argparse
import asyncio
import hashlib
from pathlib import Path
from typing import Any, Final

from tests.servers.wire import ERAS, Method, Refusal, Service, lines, serve_stdio
from tests.servers.wire_http import HttpServer

SKILLS: Final = "io.modelcontextprotocol/skills"
REFUNDS: Final = "skill://acme/billing/refunds"
HIDDEN: Final = "skill://hidden"
_DIRECTORY: Final = "inode/directory"


def skill_file(name: str, of: str, more: str = "") -> str:
    """A `SKILL.md`; with characters, line ends and numbers that a gateway might be tempted to write otherwise."""
    return f"---\nname: {name}\ndescription: How {of} does ✔ é\nversion: 1.0\n---\r\n# {name}\r\n{more}\ttail  \n"


def frontmatter(name: str, of: str) -> dict[str, Any]:
    return {"name": name, "description": f"How {of} does ✔ é", "version": 1.0}


class Skilled:
    def __init__(self, name: str, file: Path | None, directories: bool) -> None:
        self.name = name
        self._file = file
        self._directories = directories

    def _texts(self) -> dict[str, str]:
        more = self._file.read_text() if self._file is not None else ""
        return {
            f"{REFUNDS}/SKILL.md": skill_file("refunds", self.name, more),
            f"{REFUNDS}/references/policy.md": f"The policy of {self.name}.",
            f"{REFUNDS}/references/{self.name}.md": "Only here.",
            f"skill://{self.name}-only/SKILL.md": skill_file(f"{self.name}-only", self.name),
            f"{HIDDEN}/SKILL.md": skill_file("hidden", self.name),
            "skill://daily/SKILL.md": skill_file("daily", self.name),
        }

    def _entry(self, root: str) -> dict[str, Any]:
        name = root.rpartition("/")[2]
        files = [
            {"uri": uri, "digest": "sha256:" + hashlib.sha256(text.encode()).hexdigest(), "size": len(text.encode())}
            for uri, text in self._texts().items()
            if uri.startswith(root + "/")
        ]
        resources = "dynamic" if name == "daily" else files
        return {"uri": f"{root}/SKILL.md", "frontmatter": frontmatter(name, self.name), "resources": resources}

    def list(self, params: dict[str, Any]) -> dict[str, Any]:
        """A page for each."""
        roots = [REFUNDS, f"skill://{self.name}-only", "skill://daily"]
        at = int(params.get("cursor") or 0)
        following = {"nextCursor": str(at + 1)} if at + 1 < len(roots) else {}
        return {"skills": [self._entry(roots[at])], **following}

    def get(self, params: dict[str, Any]) -> dict[str, Any]:
        uri = params.get("uri")
        if uri not in self._texts() or not uri.endswith("/SKILL.md"):
            raise Refusal(-32602, f"No skill is served at {uri}")
        return {"skill": self._entry(uri.removesuffix("/SKILL.md"))}

    def read(self, params: dict[str, Any]) -> dict[str, Any]:
        uri = params.get("uri")
        text = self._texts().get(str(uri))
        if text is None:
            raise Refusal(-32602, f"Resource not found: {uri}")
        return {"contents": [{"uri": uri, "mimeType": "text/markdown", "text": text}]}

    def resources(self, params: dict[str, Any]) -> dict[str, Any]:
        """Of all files, one `SKILL.md` alone."""
        only = frontmatter(f"{self.name}-only", self.name)
        described = {"name": only["name"], "description": only["description"], "mimeType": "text/markdown"}
        return {"resources": [{"uri": f"skill://{self.name}-only/SKILL.md", **described}]}

    def directory(self, params: dict[str, Any]) -> dict[str, Any]:
        root = f"{params.get('uri')}/"
        below = [uri.removeprefix(root) for uri in self._texts() if uri.startswith(root)]
        if not below:
            raise Refusal(-32602, f"{params.get('uri')} is not a directory resource")
        children = {rest.partition("/")[0]: "/" in rest for rest in below}
        return {
            "resources": [
                {"uri": root + child, "name": child, "mimeType": _DIRECTORY if deeper else "text/markdown"}
                for child, deeper in children.items()
            ]
        }

    def service(self, era: str) -> Service:
        methods: dict[str, Method] = {
            "skills/list": self.list,
            "skills/get": self.get,
            "resources/list": self.resources,
            "resources/read": self.read,
        }
        if self._directories:
            methods["resources/directory/read"] = self.directory
        return Service(self.name, methods, era, {SKILLS: {"directoryRead": True} if self._directories else {}})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--transport", choices=("stdio", "http"), default="stdio")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--name", default="skilled")
    parser.add_argument("--era", choices=ERAS, default="both")
    parser.add_argument("--file", type=Path)
    parser.add_argument("--no-directories", action="store_true")
    args = parser.parse_args()
    service = Skilled(args.name, args.file, not args.no_directories).service(args.era)
    if args.transport == "http":
        asyncio.run(HttpServer(service).serve(args.port))
    else:
        serve_stdio(lines(service.answer))


if __name__ == "__main__":
    main()
