"""A note in the shapes the protocol gives it: a tool's answer, a resource, a part of a prompt."""

from typing import Final

from mcp_types import EmbeddedResource, Resource, TextResourceContents
from pydantic import BaseModel, ConfigDict

from gateway.demo.notebook import Note

MARKDOWN: Final = "text/markdown"
MAX_LISTED: Final = 100
EXCERPT: Final = 160


class Answer(BaseModel):
    """What a tool returns. The SDK derives the output schema from it, descriptions included."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


class Summary(Answer):
    """A note without its text."""

    id: int
    uri: str
    """The same note as a resource."""
    title: str
    tags: list[str]
    created: str
    """ISO 8601, UTC."""
    excerpt: str
    """The beginning of the text."""


class FullNote(Answer):
    """A note with its text."""

    id: int
    uri: str
    """The same note as a resource."""
    title: str
    tags: list[str]
    created: str
    """ISO 8601, UTC."""
    text: str
    """Markdown."""


class Listing(Answer):
    """Notes, newest first."""

    notes: list[Summary]
    total: int
    """How many there are; more than in `notes` when the list was cut."""


def uri_of(note: Note) -> str:
    return f"note://{note.id}"


def summary(note: Note) -> Summary:
    return Summary(
        id=note.id, uri=uri_of(note), title=note.title, tags=note.tags, created=note.created, excerpt=excerpt(note)
    )


def excerpt(note: Note) -> str:
    flat = " ".join(note.text.split())
    return flat if len(flat) <= EXCERPT else f"{flat[: EXCERPT - 1]}…"


def markdown(note: Note) -> str:
    return f"# {note.title}\n\n{note.text}\n"


def embedded(note: Note) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri_of(note), mime_type=MARKDOWN, text=markdown(note))
    return EmbeddedResource(type="resource", resource=contents)


def full(note: Note) -> FullNote:
    return FullNote(
        id=note.id, uri=uri_of(note), title=note.title, tags=note.tags, created=note.created, text=note.text
    )


def listing(notes: list[Note]) -> Listing:
    return Listing(notes=[summary(note) for note in notes[:MAX_LISTED]], total=len(notes))


def resource(note: Note) -> Resource:
    return Resource(
        uri=uri_of(note),
        name=f"note-{note.id}",
        title=note.title,
        description=excerpt(note) or None,
        mime_type=MARKDOWN,
        size=len(markdown(note).encode()),
    )
