"""Results that fit: the head of what is too large for its agent, and the ways to read on.

Policy comes first. A result is that of a call that was allowed; whoever reads on is the principal that it was for, at a
view that has the tool for them. Nobody's, somebody else's and what has expired are all the same: not there.
"""

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

import anyio.to_thread
import msgspec

from gateway import jsonrpc
from gateway.bridge.tasks import TaskHandles
from gateway.call import Call, string
from gateway.catalogue.catalogue import Owner
from gateway.catalogue.kept_results import is_kept, parsed, uri_of
from gateway.catalogue.weights import BYTES_A_TOKEN
from gateway.errors import InvalidParams, StoreUnavailable, UnknownResource, UpstreamOversized, UpstreamProtocolError
from gateway.jsonrpc import as_object
from gateway.request import Agent
from gateway.server.lookup import Lookup
from gateway.server.result_cut import CutResult, cut, head, text_of
from gateway.store.results import KeptResult, KeptResults, TooLargeToKeep
from gateway.upstream.upstream import Upstream

RESERVED: Final = 512
"""Bytes of what fits that are left to what is said of the rest."""
BESIDE: Final = 256 * 1024
"""Bytes of a result from which on it is looked into beside the event loop."""
META: Final = "mcp-gateway/result"
"""What a program may go by: of what a part of which text it was given."""
LINKS_SINCE: Final = "2025-06-18"
"""The first revision whose results may link to resources."""
GONE: Final = (
    "There is no such result: it is kept no longer, or its URI is another. Call the tool again whose result it was."
)


class BoundedResults:
    """Gives heads of results, and reads on."""

    def __init__(
        self, lookup: Lookup, kept: KeptResults, handles: TaskHandles, upstreams: Mapping[str, Upstream]
    ) -> None:
        self._lookup = lookup
        self._handles = handles
        self._upstreams = upstreams
        self._kept = kept
        self.use = kept.use
        self.cuts = Counter[tuple[str, str]]()
        """`(upstream, outcome)` → how many results were cut: `kept`, `too_large` to be kept, or `not_kept` because of
        the store."""
        self.reads = Counter[tuple[str]]()
        """`(outcome,)` → how many reads of kept results: `ok`, `unknown` or `invalid`."""

    async def run(self) -> None:
        """See `KeptResults.run`."""
        await self._kept.run()

    # --- A result -----------------------------------------------------------------------------------------------------

    async def fit(self, call: Call, owner: Owner, result: dict[str, Any]) -> dict[str, Any]:
        """What the agent is given of a result of a tool that has `max_tokens`.

        Raises:
            UpstreamOversized, UpstreamProtocolError: it has to be looked into, and cannot be.
        """
        if result.get("resultType", "complete") != "complete":
            return result  # it asks, or is a task
        if call.method == "tasks/get":
            return await self.fit_task(call, owner, result)
        return await self._fit(call, owner, result)

    async def _fit(self, call: Call, owner: Owner, result: dict[str, Any]) -> dict[str, Any]:
        budget = (owner.max_tokens or 0) * BYTES_A_TOKEN
        try:
            if max(call.result_bytes, _known_size(result)) < BESIDE:
                made = cut(result, budget, RESERVED)
            else:
                made = await anyio.to_thread.run_sync(cut, result, budget, RESERVED)
        except jsonrpc.TooManyValues:
            raise UpstreamOversized(owner.upstream, jsonrpc.MAX_VALUES, "values") from None
        except ValueError as error:
            raise UpstreamProtocolError(owner.upstream, f"an answer of which {error}") from None
        if made is None:
            return result
        kept, why = await self._keep(call, owner, made)
        said = self._said(call, made, kept, why)
        content = [*made.content, {"type": "text", "text": said}]
        where: dict[str, Any] = {"start": 0, "end": made.end, "total": len(made.document)}
        if kept is not None:
            where["uri"] = uri_of(kept.id)
            if _knows_links(call.agent):
                content.append(_link(owner, kept, made.size))
        rest = {name: value for name, value in result.items() if name != "structuredContent"}
        call.result_bytes = len(jsonrpc.dumps(content))
        return {**rest, "content": content, "_meta": {**as_object(result.get("_meta")), META: where}}

    # --- What tasks end with ------------------------------------------------------------------------------------------

    def owner_of_task(self, call: Call, upstream: str, handle: str | None = None) -> Owner | None:
        """The tool that a task is of, if what it ends with may be too large.

        Args:
            handle: the public one, if the call is not about it.

        Raises:
            UnknownTask: it was not made here, or for somebody else.
        """
        if handle is None and call.method not in ("tasks/get", "tasks/result"):
            return None
        tool = self._handles.tool(handle if handle is not None else call.params["taskId"], call.principal.id)
        serving = self._upstreams.get(upstream) if tool is not None else None
        if tool is None or serving is None or (limit := serving.config.result_limit(tool)) is None:
            return None
        return Owner(upstream, tool, {}, limit)

    async def fit_task(self, call: Call, owner: Owner, task: dict[str, Any]) -> dict[str, Any]:
        """A task as it is told or asked for, with what it ended with as the agent is given it.

        Raises:
            UpstreamOversized, UpstreamProtocolError: as `fit`.
        """
        ended = task.get("result")
        if not isinstance(ended, dict):
            return task
        return {**task, "result": await self._fit(call, owner, cast("dict[str, Any]", ended))}

    # --- Inside -------------------------------------------------------------------------------------------------------

    async def _keep(self, call: Call, owner: Owner, made: CutResult) -> tuple[KeptResult | None, str]:
        """What is kept; or None, and why not."""
        tool = self._lookup.public_name("tools", owner.upstream, owner.original)
        whose = owner.upstream, tool, owner.max_tokens or 0
        try:
            kept = await self._kept.keep(call.principal, made.document, made.size, *whose)
        except TooLargeToKeep:
            self.cuts[owner.upstream, "too_large"] += 1
            return None, "it is larger than results may be that are kept here"
        except StoreUnavailable:
            self.cuts[owner.upstream, "not_kept"] += 1
            return None, "the gateway's store does not answer"
        self.cuts[owner.upstream, "kept"] += 1
        return kept, ""

    def _said(self, call: Call, made: CutResult, kept: KeptResult | None, why: str) -> str:
        total = len(made.document)
        left = math.ceil(made.bytes_left / BYTES_A_TOKEN)
        given = f"Cut by the gateway: given are characters 0 to {made.end} of {total}; about {left} tokens are left"
        if kept is None:
            return f"[{given}. They could not be kept: {why}. Call the tool again for less at a time.]"
        uri, reader, lifetime = uri_of(kept.id), self._lookup.catalogue(call).reader, _in_words(self._kept.lifetime)
        by_tool = f'call {reader} with {{"uri": "{uri}", "start": {made.end}}}, or ' if reader is not None else ""
        return f"[{given}. To read on, {by_tool}read the resource {uri}?start={made.end}. It is kept for {lifetime}.]"

    # --- Reading on ---------------------------------------------------------------------------------------------------

    async def read_by_tool(self, call: Call) -> dict[str, Any]:
        """The result of `read_result`: of the text no more than the tool whose it was gives at once.

        Raises:
            InvalidParams: the arguments are not what its schema says.
            StoreUnavailable: it cannot be found out whether there is such a result.
        """
        jsonrpc.opened(call.params)
        given = as_object(call.params.get("arguments"))
        try:
            found = parsed(string(given, "uri"))
            asked = found[1] if found is not None else {}
            start = _whole(given, "start", asked.get("start", 0), 0)
            length = _whole(given, "length", asked.get("length"), 1)
        except InvalidParams:
            self.reads["invalid",] += 1
            raise
        kept = await self._find(call, found[0]) if found is not None else None
        if kept is None:
            return self._refused("unknown", GONE)
        if start >= kept.characters:
            return self._refused("invalid", f"start must be less than {kept.characters}: there are no more characters.")
        budget = kept.max_tokens * BYTES_A_TOKEN - RESERVED
        wanted = min(budget if length is None else length, kept.characters - start)
        text = await self._kept.read(call.principal, kept, start, start + min(wanted, budget))
        if text is None:
            return self._refused("unknown", GONE)
        if length is None or len(text) < wanted or len(text.encode("utf-8", "surrogatepass")) > budget:
            text = head(text, budget, goes_on=start + len(text) < kept.characters)
        self._count(call, text)
        end = start + len(text)
        told = f"read on with start {end}" if end < kept.characters else "this is the end"
        said = f"[Characters {start} to {end} of {kept.characters}; {told}.]"
        content = [{"type": "text", "text": text}, {"type": "text", "text": said}]
        where = {"start": start, "end": end, "total": kept.characters, "uri": uri_of(kept.id)}
        return {"content": content, "isError": False, "_meta": {META: where}}

    async def read_resource(self, call: Call) -> dict[str, Any] | None:
        """The result of `resources/read`: the whole, or the part that the URI asks for; None if it is no URI of ours.

        Raises:
            UnknownResource: nothing is kept under that URI for the principal.
            InvalidParams: it asks for what is no range.
            StoreUnavailable: it cannot be found out whether there is such a result.
        """
        uri = string(call.params, "uri")
        if not self.is_ours(call, uri):
            return None
        try:
            found = parsed(uri)
        except InvalidParams:
            self.reads["invalid",] += 1
            raise
        assert found is not None
        id, asked = found
        kept = await self._find(call, id)
        text, start = None, asked.get("start", 0)
        if kept is not None:
            end = min(start + asked.get("length", kept.characters), kept.characters)
            text = await self._kept.read(call.principal, kept, start, end)
        if kept is None or text is None:
            self.reads["unknown",] += 1
            raise UnknownResource(uri)
        where = {"start": min(start, kept.characters), "end": start + len(text), "total": kept.characters}
        meta = {"_meta": {META: where}} if _knows_links(call.agent) else {}
        contents: Any = [{"uri": uri, "mimeType": "text/plain", "text": text, **meta}]
        if len(text) < BESIDE:
            self._count(call, text)
        else:
            self.reads["ok",] += 1
            contents = msgspec.Raw(await anyio.to_thread.run_sync(jsonrpc.dumps, contents))
            call.result_bytes = len(bytes(contents))
        return {"contents": contents}

    def is_ours(self, call: Call, uri: str) -> bool:
        """Whether a URI is that of a kept result, where there may be any."""
        return is_kept(uri) and self._lookup.catalogue(call).reader is not None

    async def _find(self, call: Call, id: str) -> KeptResult | None:
        kept = await self._kept.find(call.principal, id)
        return kept if kept is not None and self._lookup.admits_tool(call, kept.upstream, kept.tool) else None

    def _count(self, call: Call, text: str) -> None:
        self.reads["ok",] += 1
        call.result_bytes = len(text.encode("utf-8", "surrogatepass"))

    def _refused(self, outcome: str, text: str) -> dict[str, Any]:
        self.reads[outcome,] += 1
        return {"content": [{"type": "text", "text": text}], "isError": True}


def _known_size(result: dict[str, Any]) -> int:
    """Of what it takes long to look into, roughly; more is known of an answer as a whole (`Call.result_bytes`)."""
    content, structured = result.get("content"), result.get("structuredContent")
    size = sum(len(bytes(value)) for value in (content, structured) if isinstance(value, msgspec.Raw))
    blocks = cast("list[Any]", content) if isinstance(content, list) else []
    size += sum(len(text) for block in blocks if (text := text_of(block)) is not None)
    return size if structured is None or isinstance(structured, msgspec.Raw) else BESIDE  # who knows


def _knows_links(agent: Agent) -> bool:
    return agent.version >= LINKS_SINCE


def _link(owner: Owner, kept: KeptResult, size: int) -> dict[str, Any]:
    whole = {"name": "result", "title": f"The whole result of {owner.original}", "mimeType": "text/plain", "size": size}
    return {"type": "resource_link", "uri": uri_of(kept.id), **whole}


def _whole(given: dict[str, Any], name: str, otherwise: Any, least: int) -> Any:
    """A whole number among arguments.

    Raises:
        InvalidParams: it is something else.
    """
    value = given.get(name)
    if value is None:
        return otherwise
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidParams(f"{name} must be a whole number, {least} or more")
    return value


def _in_words(seconds: float) -> str:
    for size, unit in ((3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{round(seconds / size)} {unit}"
    return f"{round(seconds)} seconds"
