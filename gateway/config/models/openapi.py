"""An HTTP API as a server: where its OpenAPI document is, and what of it counts."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from gateway.config.models.fields import HeaderValue, Line, Model, Text
from gateway.config.models.quantities import PositiveDuration, Size


def is_url(document: str) -> bool:
    """Whether a document is fetched, and not read from a file."""
    return document.lower().startswith(("http://", "https://"))


class OpenApiConfig(Model):
    """An OpenAPI document, and what of it counts."""

    document: Annotated[Line, Field(min_length=1)]
    """The document's URL, or its file, relative to the file that names it: OpenAPI 3 or Swagger 2.0, JSON or YAML."""
    refresh: PositiveDuration = 300.0
    """How often a document that has a URL is asked for again (by its ETag). A file is watched."""
    operations: list[Text] = Field(default=["*"])
    """Globs of the operations that count at all, for documents with very many; `tools` says which are offered."""
    use_servers: bool = False
    """Whether requests go to the first server that the document names, where the entry has no `url`."""
    resources: list[Text] = Field(default=[])
    """Globs of the GET operations that are offered as resources and resource templates, too."""
    credentials: dict[Text, HeaderValue] = Field(default={}, repr=False)
    """A security scheme of the document → its key or token, or `user:password`. Sent where the scheme says, and to the
    operations that want it."""
    query: dict[Text, Text] = Field(default={}, repr=False)
    """Query parameters sent with every request. No argument replaces them."""
    output: Literal["relaxed", "exact", "none"] = "relaxed"
    """How `outputSchema` is written: so that answers that stray from the document fit, too; as the document has it; or
    not at all."""
    max_bytes: Size = 32 * 2**20
    """The largest document that is accepted."""

    @model_validator(mode="after")
    def _can_be_had(self) -> Self:
        if not is_url(self.document):
            return self
        try:
            parts = urlsplit(self.document)
            valid = bool(parts.hostname) and parts.port != 0
        except ValueError:
            valid = False
        if not valid or any(character.isspace() or not character.isprintable() for character in self.document):
            raise ValueError("`document` must be a URL such as https://example.com/openapi.json, or a file")
        return self

    @property
    def path(self) -> Path | None:
        """Its file; None if it has a URL."""
        return None if is_url(self.document) else Path(self.document)


def openapi_spelled(value: Any) -> Any:
    """`openapi: FILE` is short for `openapi: {document: FILE}`."""
    return {"document": value} if isinstance(value, str) else value
