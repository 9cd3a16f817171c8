"""An MCP server that remembers: `python -m gateway.demo.notes`, over stdio.

Needs no network and no credentials. A note is written with tools and read as a resource or with tools.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Final, TypeVar

from anyio.to_thread import run_sync
from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    Completion,
    CompletionArgument,
    PromptReference,
    Resource,
    ResourceTemplateReference,
    ToolAnnotations,
)
from pydantic import BaseModel, Field

from gateway import __version__
from gateway.demo.notebook import Heading, NoSuchNote, Note, Notebook, NotebookError, default_path

MAX_PROMPT: Final = 60_000
"""Characters of notes in one prompt."""
MAX_LISTED: Final = 100
"""Notes in one answer, and values of one completion, which is the protocol's own limit."""
MARKDOWN: Final = "text/markdown"

Id = Annotated[int, Field(description="The note's number", ge=1)]
Title = Annotated[str, Field(description="One line", min_length=1, max_length=200)]
Text = Annotated[str, Field(description="Markdown", max_length=20_000)]
Tag = Annotated[str, Field(max_length=50)]
Tags = Annotated[list[Tag], Field(description="Words to find it by; their case does not matter", max_length=20)]
Query = Annotated[str, Field(description="Words that must all occur, in any order", min_length=1, max_length=200)]

READS: Final = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
WRITES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
DELETES: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)

T = TypeVar("T")


class Notes(BaseModel):
    """Notes, newest first."""

    notes: list[Heading]
    total: Annotated[int, Field(description="How many there are; more than in `notes` when the list was cut")]


class NotesServer(MCPServer[Any]):
    def __init__(self, notebook: Notebook) -> None:
        super().__init__(
            "notes",
            title="Notes",
            version=__version__,
            description="Short notes that outlive the conversation.",
            instructions="Keep what should be remembered in notes; search before you add, to avoid duplicates.",
            log_level="WARNING",
        )
        self._notebook = notebook
        self.add_tool(self.add_note, name="add", title="Add a note", annotations=WRITES)
        self.add_tool(self.list_notes, name="list", title="List notes", annotations=READS)
        self.add_tool(self.read_note, name="read", title="Read a note", annotations=READS)
        self.add_tool(self.search_notes, name="search", title="Search notes", annotations=READS)
        self.add_tool(self.delete_note, name="delete", title="Delete a note", annotations=DELETES)
        self.resource("note://{id}", name="note", title="A note", mime_type=MARKDOWN)(self.note_resource)
        self.prompt(title="Summarise notes")(self.summarise_notes)
        self.completion()(self.complete)

    # --- Tools --------------------------------------------------------------------------------------------------------

    async def add_note(self, title: Title, text: Text, ctx: Context[Any, Any], tags: Tags | None = None) -> Heading:
        """Keep a note for later conversations. Returns its number."""
        line = " ".join(title.split())
        if not line:
            raise ToolError("The title is blank. Give the note one that will be recognised later.")
        folded = [folded for tag in tags or [] if (folded := fold(tag))]
        note = await in_tool(lambda: self._notebook.add(line, text, list(dict.fromkeys(folded))))
        await announce(note, ctx)
        return note.heading

    async def list_notes(self, tag: Tag = "") -> Notes:
        """List the notes, newest first, without their texts; with a tag, only those that carry it."""
        return listing(tagged(await in_tool(self._notebook.all), tag))

    async def read_note(self, id: Id) -> Note:
        """Read one note in full."""
        return await in_tool(lambda: self._notebook.get(id))

    async def search_notes(self, query: Query) -> Notes:
        """Find the notes whose title, text and tags contain every word of the query, newest first."""
        return listing(await in_tool(lambda: self._notebook.search(query)))

    async def delete_note(self, id: Id, ctx: Context[Any, Any]) -> Heading:
        """Delete one note for good. Returns what it was."""
        note = await in_tool(lambda: self._notebook.delete(id))
        await announce(note, ctx)
        return note.heading

    # --- Resources, a prompt, and completion --------------------------------------------------------------------------

    async def list_resources(self) -> list[Resource]:
        """Read afresh each time: another process may have changed the file."""
        return [
            Resource(uri=uri_of(note), name=f"note-{note.id}", title=note.title, mime_type=MARKDOWN)
            for note in await in_protocol(self._notebook.all)
        ]

    async def note_resource(self, id: str) -> str:
        """One note as Markdown, its title as the heading."""
        if not re.fullmatch("[1-9][0-9]{0,8}", id):
            raise ResourceNotFoundError(f"There is no note {id[:20]!r}.")
        try:
            return (await run_sync(self._notebook.get, int(id))).markdown
        except NoSuchNote as error:
            raise ResourceNotFoundError(str(error)) from error
        except NotebookError as error:
            raise ResourceError(str(error)) from error

    async def summarise_notes(
        self, tag: Annotated[str, Field(description="Only notes with this tag; empty for all")] = ""
    ) -> str:
        """Summarise the notes, or those with one tag."""
        which = f" tagged {tag!r}" if tag else ""
        text = "\n".join(note.markdown for note in tagged(await in_protocol(self._notebook.all), tag))
        if not text:
            raise MCPError(INVALID_PARAMS, f"There are no notes{which}.")
        if len(text) > MAX_PROMPT:
            text = f"{text[:MAX_PROMPT]}\n\n(The rest is left out for length; say so.)"
        return f"Summarise my notes{which} in a few sentences, and name open tasks. Newest first, they are:\n\n{text}"

    async def complete(
        self, ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: object
    ) -> Completion | None:
        """Tags for the prompt."""
        if not isinstance(ref, PromptReference) or argument.name != "tag":
            return None
        tags = sorted({tag for note in await in_protocol(self._notebook.all) for tag in note.tags})
        values = [tag for tag in tags if tag.startswith(fold(argument.value))]
        return Completion(values=values[:MAX_LISTED], total=len(values), has_more=len(values) > MAX_LISTED)


async def announce(note: Note, ctx: Context[Any, Any]) -> None:
    """Tell who listens that the note and the list of notes have changed (2026-07-28, `subscriptions/listen`)."""
    await ctx.notify_resources_changed()
    await ctx.notify_resource_updated(uri_of(note))


async def in_tool(call: Callable[[], T]) -> T:
    """The notebook's errors are for the model to read."""
    try:
        return await run_sync(call)
    except NotebookError as error:
        raise ToolError(str(error)) from error


async def in_protocol(call: Callable[[], T]) -> T:
    """They are for the client, where no model reads along."""
    try:
        return await run_sync(call)
    except NotebookError as error:
        raise MCPError(INTERNAL_ERROR, str(error)) from error


def uri_of(note: Note) -> str:
    return f"note://{note.id}"


def listing(notes: list[Note]) -> Notes:
    return Notes(notes=[note.heading for note in notes[:MAX_LISTED]], total=len(notes))


def tagged(notes: list[Note], tag: str) -> list[Note]:
    return [note for note in notes if not fold(tag) or fold(tag) in note.tags]


def fold(tag: str) -> str:
    return tag.strip().lower()


def main() -> None:
    with suppress(KeyboardInterrupt):
        NotesServer(Notebook(default_path(os.environ))).run("stdio")


if __name__ == "__main__":
    main()
