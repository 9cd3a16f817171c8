"""An MCP server that remembers: `python -m gateway.demo.notes`, over stdio.

Needs no network and no credentials. A note is written with tools and read as a resource or with tools.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import accumulate
from typing import Annotated, Any, Final, TypeVar

from anyio.to_thread import run_sync
from mcp import MCPError
from mcp.server.caching import CacheHint
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    EmbeddedResource,
    PromptReference,
    Resource,
    ResourceTemplateReference,
    ToolAnnotations,
)
from pydantic import Field

from gateway import __version__
from gateway.demo.announcing import AnnouncingServer
from gateway.demo.notebook import NoSuchNote, Note, Notebook, NotebookError, default_path
from gateway.demo.shapes import (
    MARKDOWN,
    FullNote,
    Listing,
    Summary,
    embedded,
    full,
    listing,
    markdown,
    resource,
    summary,
    uri_of,
)

MAX_PROMPT: Final = 60_000
"""Characters of notes in one prompt."""
MAX_COMPLETIONS: Final = 100
"""The protocol's own limit on `completion/complete`."""
FOREVER: Final = CacheHint(ttl_ms=3_600_000, scope="public")
"""For what cannot change while the process lives; an hour is long enough."""

Id = Annotated[int, Field(description="The note's number", ge=1)]
Title = Annotated[str, Field(description="One line", min_length=1, max_length=200)]
Text = Annotated[str, Field(description="Markdown", max_length=20_000)]
Tag = Annotated[str, Field(min_length=1, max_length=50)]
Tags = Annotated[list[Tag], Field(description="Words to find it by; their case does not matter", max_length=20)]
Query = Annotated[str, Field(description="Words that must all occur, in any order", min_length=1, max_length=200)]

ResultT = TypeVar("ResultT")


class NotesServer(AnnouncingServer):
    def __init__(self, notebook: Notebook) -> None:
        super().__init__(
            "notes",
            title="Notes",
            version=__version__,
            description="Short notes that outlive the conversation.",
            instructions="Keep what should be remembered in notes; search before you add, to avoid duplicates.",
            log_level="WARNING",
            cache_hints={"tools/list": FOREVER, "prompts/list": FOREVER, "resources/templates/list": FOREVER},
        )
        self._notebook = notebook
        hints = partial(ToolAnnotations, open_world_hint=False)
        reads = hints(read_only_hint=True, idempotent_hint=True)
        writes = hints(read_only_hint=False, destructive_hint=False, idempotent_hint=False)
        deletes = hints(read_only_hint=False, destructive_hint=True, idempotent_hint=True)
        for method, name, title, annotations in (
            (self.add_note, "add", "Add a note", writes),
            (self.list_notes, "list", "List notes", reads),
            (self.read_note, "read", "Read a note", reads),
            (self.search_notes, "search", "Search notes", reads),
            (self.delete_note, "delete", "Delete a note", deletes),
        ):
            self.add_tool(method, name=name, title=title, annotations=annotations, structured_output=True)
        self.resource("note://{id}", name="note", title="A note", mime_type=MARKDOWN)(self.note_resource)
        self.prompt(title="Summarise notes")(self.summarise_notes)
        self.completion()(self.complete)

    # Tools

    async def add_note(self, title: Title, text: Text, ctx: Context[Any, Any], tags: Tags | None = None) -> Summary:
        """Keep a note for later conversations. Returns its number and its URI."""
        line = " ".join(title.split())
        if not line:
            raise ToolError("The title is blank. Give the note one that will be recognised later.")
        folded = list(dict.fromkeys(fold(tag) for tag in tags or [] if fold(tag)))
        note = await in_tool(lambda: self._notebook.add(line, text, folded))
        await self.announce(uri_of(note), ctx)
        return summary(note)

    async def list_notes(self, tag: Tag | None = None) -> Listing:
        """List the notes, newest first, without their texts; with a tag, only those that carry it."""
        return listing(tagged(await in_tool(self._notebook.all), tag))

    async def read_note(self, id: Id) -> FullNote:
        """Read one note in full."""
        return full(await in_tool(lambda: self._notebook.get(id)))

    async def search_notes(self, query: Query) -> Listing:
        """Find the notes whose title, text and tags contain every word of the query, newest first."""
        return listing(await in_tool(lambda: self._notebook.search(query)))

    async def delete_note(self, id: Id, ctx: Context[Any, Any]) -> Summary:
        """Delete one note for good. Returns what it was."""
        note = await in_tool(lambda: self._notebook.delete(id))
        await self.announce(uri_of(note), ctx)
        return summary(note)

    # Resources

    async def list_resources(self) -> list[Resource]:
        """Read afresh each time: another process may have changed the file."""
        return [resource(note) for note in await in_protocol(self._notebook.all)]

    async def note_resource(self, id: str) -> str:
        """One note as Markdown, its title as the heading."""
        if not re.fullmatch("[1-9][0-9]{0,8}", id):
            raise ResourceNotFoundError(f"There is no note {id[:20]!r}.")
        try:
            return markdown(await run_sync(self._notebook.get, int(id)))
        except NoSuchNote as error:
            raise ResourceNotFoundError(str(error)) from error
        except NotebookError as error:
            raise ResourceError(str(error)) from error

    # Prompt and completion

    async def summarise_notes(
        self, tag: Annotated[str, Field(description="Only notes with this tag; empty for all")] = ""
    ) -> list[str | EmbeddedResource]:
        """Summarise the notes, or those with one tag."""
        notes = tagged(await in_protocol(self._notebook.all), tag)
        if not notes:
            raise MCPError(INVALID_PARAMS, f"There are no notes tagged {tag!r}." if tag else "There are no notes.")
        shown = fitting(notes)
        which = f" tagged {tag!r}" if tag else ""
        left_out = f" The {len(notes) - len(shown)} oldest are left out for length; say so." if shown != notes else ""
        ask = f"Summarise my notes{which} in a few sentences, and name open tasks. They stand newest first.{left_out}"
        return [ask, *(embedded(note) for note in shown)]

    async def complete(
        self, ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: object
    ) -> Completion | None:
        """Tags for the prompt, numbers for the URI template."""
        notes = await in_protocol(self._notebook.all)
        match ref, argument.name:
            case PromptReference(name="summarise_notes"), "tag":
                offers = sorted({tag for note in notes for tag in note.tags})
            case ResourceTemplateReference(), "id":
                offers = [str(note.id) for note in notes]
            case _:
                return None
        values = [offer for offer in offers if offer.startswith(argument.value.strip().lower())]
        return Completion(values=values[:MAX_COMPLETIONS], total=len(values), has_more=len(values) > MAX_COMPLETIONS)


# --- Where the notebook's errors become the protocol's --------------------------------------------------------------


async def in_tool(call: Callable[[], ResultT]) -> ResultT:
    """For the model to read."""
    try:
        return await run_sync(call)
    except NotebookError as error:
        raise ToolError(str(error)) from error


async def in_protocol(call: Callable[[], ResultT]) -> ResultT:
    """For the client, where no model reads along."""
    try:
        return await run_sync(call)
    except NotebookError as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from error


# --- Which notes ----------------------------------------------------------------------------------------------------


def tagged(notes: list[Note], tag: str | None) -> list[Note]:
    wanted = fold(tag or "")
    return [note for note in notes if not wanted or wanted in note.tags]


def fitting(notes: list[Note]) -> list[Note]:
    """As many of the first as one prompt takes, and at least one."""
    sizes = accumulate(len(note.text) for note in notes)
    return [note for note, size in zip(notes, sizes, strict=True) if size <= MAX_PROMPT] or notes[:1]


def fold(tag: str) -> str:
    return tag.strip().lower()


def main() -> None:
    with suppress(KeyboardInterrupt):
        NotesServer(Notebook(default_path(os.environ))).run("stdio")


if __name__ == "__main__":
    main()
