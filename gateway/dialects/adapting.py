"""A tool's input schema in the dialect of a model's API, and how arguments are made into the upstream's again."""

from dataclasses import dataclass
from typing import Final

from gateway import jsonrpc
from gateway.dialects.dialect import SchemaDialect
from gateway.dialects.flat import FlatWriter, Written
from gateway.dialects.notes import Notes, SchemaChange
from gateway.dialects.reading import Schema, TooLarge, Unadaptable
from gateway.dialects.restoring import Restore
from gateway.dialects.topmost import TopWriter

_REFS: Final = (16, 2)
"""How many references are followed from one to the next: fewer, where it would be too large otherwise."""

MAX_BYTES: Final = 400_000
"""Of a schema that is adapted; no model is shown a larger one."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    schema: Schema | None
    """None if there is none: see `reason`."""
    restore: Restore | None = None
    """What is to be done with arguments, if anything."""
    changes: tuple[SchemaChange, ...] = ()
    reason: str = ""


def adapt(schema: Schema, dialect: SchemaDialect) -> Adaptation:
    """The schema as that API takes it; the same object if it does already."""
    data = jsonrpc.dumps(schema)
    if len(data) > MAX_BYTES:
        return Adaptation(None, reason=f"it is larger than {MAX_BYTES:,} bytes")
    for max_refs in _REFS:
        notes = Notes()
        try:
            made = _write(schema, dialect, notes, max_refs)
        except Unadaptable as unfit:
            return Adaptation(None, reason=str(unfit))
        except (TooLarge, RecursionError):
            if dialect.keywords is None or b'"$ref"' not in data:
                break
            continue
        if made.schema == schema and made.restore is None:
            return Adaptation(schema)
        return Adaptation(made.schema, made.restore, notes.changes)
    return Adaptation(None, reason="it is too large for that")


def _write(schema: Schema, dialect: SchemaDialect, notes: Notes, max_refs: int) -> Written:
    if dialect.keywords is None:
        return TopWriter(schema, dialect, notes).root()
    return FlatWriter(schema, dialect, notes, max_refs).root()
