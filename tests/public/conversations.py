"""What is said to each server, directly and through the gateway: the answers must not differ."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mcp import Client, MCPError
from mcp_types import PromptReference, ResourceTemplateReference
from pydantic import BaseModel

DOCUMENT: Final = "demo://resource/static/document/features.md"
"""A resource that server-everything lists."""


FIRST: Final = "everything"
OTHERS: Final = ("everything-sse", "everything-http")
"""The servers of that program, as they stand in `servers.yaml`."""


@dataclass(frozen=True, slots=True)
class View:
    """A client's sight of one server: alone, or as part of the gateway's merged catalogue."""

    client: Client
    server: str = ""
    """Its name in the gateway's configuration; empty for the server itself."""

    def name(self, own: str) -> str:
        """A tool's or prompt's name here."""
        return f"{self.server}__{own}" if self.server else own

    def uri(self, own: str) -> str:
        """How to ask here for a URI that all servers of the program have: it is the first one's."""
        return own if self.server in ("", FIRST) else f"{self.server}+{own}"

    async def tools(self) -> dict[str, Any]:
        """Every tool it lists, by its own name."""
        return self._own((await self.client.list_tools()).tools, "name", self.name(""))

    async def prompts(self) -> dict[str, Any]:
        return self._own((await self.client.list_prompts()).prompts, "name", self.name(""))

    async def resources(self) -> dict[str, Any]:
        """By their own URI; of a server that is not the first with it, only those that carry its prefix."""
        return self._own((await self.client.list_resources()).resources, "uri", self.uri(""))

    async def templates(self) -> dict[str, Any]:
        listed = (await self.client.list_resource_templates()).resource_templates
        return self._own(listed, "uriTemplate", self.uri(""))

    def _own(self, listed: Sequence[BaseModel], key: str, prefix: str) -> dict[str, Any]:
        others = () if prefix else tuple(f"{name}+" for name in OTHERS)
        mine = [
            item
            for item in map(comparable, listed)
            if item[key].startswith(prefix) and not item[key].startswith(others)
        ]
        return {own: item | {key: own} for item in mine if (own := item[key].removeprefix(prefix))}

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        return self._bare(await _answer(self.client.call_tool(self.name(tool), arguments)))

    async def prompt(self, prompt: str, **arguments: str) -> dict[str, Any]:
        return self._bare(await _answer(self.client.get_prompt(self.name(prompt), arguments)))

    async def read(self, uri: str) -> dict[str, Any]:
        return self._bare(await _answer(self.client.read_resource(self.uri(uri))))

    def _bare(self, answer: Any) -> Any:
        """With the server's own links: in the merged catalogue they have the prefix by which they lead back to it."""
        match answer:
            case dict():
                return {key: self._bare(value) for key, value in answer.items()}  # pyright: ignore[reportUnknownVariableType]
            case list():
                return [self._bare(value) for value in answer]  # pyright: ignore[reportUnknownVariableType]
            case str() if self.server and answer.startswith(f"{self.server}+"):
                return answer.removeprefix(f"{self.server}+")
            case _:
                return answer

    async def complete_prompt(self, prompt: str, argument: str, value: str, **known: str) -> dict[str, Any]:
        return await self._complete(PromptReference(name=self.name(prompt)), argument, value, known)

    async def complete_uri(self, template: str, argument: str, value: str) -> dict[str, Any]:
        return await self._complete(ResourceTemplateReference(uri=self.uri(template)), argument, value, {})

    async def _complete(
        self, ref: PromptReference | ResourceTemplateReference, argument: str, value: str, known: dict[str, str]
    ) -> dict[str, Any]:
        given = {"name": argument, "value": value}
        return await _answer(self.client.complete(ref, given, context_arguments=known))


async def _answer(asked: Awaitable[BaseModel]) -> dict[str, Any]:
    """A result, or the error in its place."""
    try:
        return comparable(await asked)
    except MCPError as error:
        return {"error": error.error.model_dump()}


def comparable(result: BaseModel) -> dict[str, Any]:
    """A result without what depends on the protocol's revision, or on the hour."""
    dumped = result.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for envelope in ("resultType", "ttlMs", "cacheScope"):
        dumped.pop(envelope, None)
    dumped.get("_meta", {}).pop("io.modelcontextprotocol/serverInfo", None)
    if not dumped.get("_meta"):
        dumped.pop("_meta", None)
    return _timeless(dumped)


def _timeless(value: Any) -> Any:
    match value:
        case str():
            return re.sub(r"created at [\d:]+( [AP]M)?", "created at …", value)
        case list():
            return [_timeless(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        case dict():
            return {key: _timeless(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
        case _:
            return value


Conversation = Callable[[View, Path], Awaitable[dict[str, Any]]]
"""Asks one server all it is asked in these tests. The path is of the folder, or the repository, the server works on."""


async def time(view: View, folder: Path) -> dict[str, Any]:
    berlin = {"source_timezone": "Europe/Berlin", "time": "12:30"}
    now = await view.call("get_current_time", timezone="Asia/Tokyo")
    return {
        "convert": await view.call("convert_time", **berlin, target_timezone="Asia/Kolkata"),
        "unknown zone": await view.call("convert_time", **berlin, target_timezone="Mars/Olympus_Mons"),
        "now": sorted(now["structuredContent"]),
    }


async def git(view: View, repository: Path) -> dict[str, Any]:
    path = str(repository)
    return {
        "log": await view.call("git_log", repo_path=path, max_count=2),
        "status": await view.call("git_status", repo_path=path),
        "show": await view.call("git_show", repo_path=path, revision="HEAD"),
        "elsewhere": await view.call("git_log", repo_path="/"),
    }


async def everything(view: View, folder: Path) -> dict[str, Any]:
    text = "demo://resource/dynamic/text/{resourceId}"
    return {
        "echo": await view.call("echo", message="Grüße, 世界 🎉"),
        "sum": await view.call("get-sum", a=2, b=40),
        "structured": await view.call("get-structured-content", location="Chicago"),
        "image": await view.call("get-tiny-image"),
        "annotated": await view.call("get-annotated-message", messageType="error", includeImage=True),
        "links": await view.call("get-resource-links", count=4),
        "embedded": await view.call("get-resource-reference", resourceType="Text", resourceId=7),
        "wrong argument": await view.call("get-sum", a="two"),
        "resources": {uri: item for uri, item in (await view.resources()).items() if "/static/" in uri},
        "templates": await view.templates(),
        "document": await view.read(DOCUMENT),
        "from template": await view.read(text.replace("{resourceId}", "12")),
        "not in template": await view.read(text.replace("{resourceId}", "twelve")),
        "prompts": await view.prompts(),
        "simple prompt": await view.prompt("simple-prompt"),
        "prompt with arguments": await view.prompt("args-prompt", city="Chicago", state="Illinois"),
        "prompt with resource": await view.prompt("resource-prompt", resourceType="Text", resourceId="3"),
        "complete": await view.complete_prompt("completable-prompt", "department", "S"),
        "complete in context": await view.complete_prompt("completable-prompt", "name", "", department="Sales"),
        "complete a URI": await view.complete_uri(text, "resourceId", "12"),
    }


async def files(view: View, folder: Path) -> dict[str, Any]:
    return {
        "read": await view.call("read_text_file", path=str(folder / "letter.txt")),
        "head": await view.call("read_text_file", path=str(folder / "letter.txt"), head=1),
        "search": await view.call("search_files", path=str(folder), pattern="**/letter.*"),
        "allowed": await view.call("list_allowed_directories"),
        "forbidden": await view.call("read_text_file", path="/etc/hostname"),
        "missing": await view.call("read_text_file", path=str(folder / "none.txt")),
    }


async def memory(view: View, folder: Path) -> dict[str, Any]:
    ada = {"name": "Ada", "entityType": "person", "observations": ["wrote the first program"]}
    engine = {"name": "Engine", "entityType": "machine", "observations": ["weaves", "has a mill"]}
    relation = {"from": "Ada", "to": "Engine", "relationType": "programs"}
    return {
        "delete": await view.call("delete_entities", entityNames=["Ada", "Engine"]),
        "create": await view.call("create_entities", entities=[ada, engine]),
        "relate": await view.call("create_relations", relations=[relation]),
        "search": await view.call("search_nodes", query="first program"),
        "open": await view.call("open_nodes", names=["Ada", "Engine"]),
    }


CONVERSATIONS: Final[Mapping[str, Conversation]] = {
    "time": time,
    "git": git,
    "everything": everything,
    "everything-sse": everything,
    "everything-http": everything,
    "files": files,
    "memory": memory,
}
"""By the server's name in `servers.yaml`."""
