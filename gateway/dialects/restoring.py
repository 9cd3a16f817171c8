"""The way back: arguments as an adapted schema wanted them, made into those that the upstream's own schema asks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from gateway import jsonrpc
from gateway.errors import InvalidParams

Text = Literal["", "object", "either", "any"]


@dataclass(frozen=True, slots=True)
class Restore:
    """What is to be done with a value, by its JSON type; everything else stays as it came."""

    text: Text = ""
    """Text is JSON of an object; or that or itself; or JSON of anything, and itself if it is no JSON."""
    values: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Text → the value that it stands for."""
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    """Property → what it is called upstream."""
    members: "Mapping[str, Restore]" = field(default_factory=dict[str, "Restore"])
    """Property, as it is called here → what is to be done with its value."""
    omitted: frozenset[str] = frozenset()
    """Properties that are not there if they are null."""
    items: "Restore | None" = None

    @property
    def is_empty(self) -> bool:
        return not (self.text or self.values or self.names or self.members or self.omitted or self.items)

    def and_also(self, other: "Restore | None") -> "Restore":
        """What is to be done with values of other types, too."""
        if other is None:
            return self
        return Restore(
            self.text or other.text,
            self.values or other.values,
            self.names or other.names,
            self.members or other.members,
            self.omitted or other.omitted,
            self.items or other.items,
        )


def restored(value: Any, how: Restore | None, where: str = "arguments") -> Any:
    """A value as the upstream is to have it. What has the upstream's own form already stays so.

    Raises:
        InvalidParams: it cannot be told what is meant. Says where, and what is wanted.
    """
    if how is None:
        return value
    if isinstance(value, str):
        return _of_text(value, how, where)
    if isinstance(value, list) and how.items is not None:
        items = cast("list[Any]", value)
        return [restored(each, how.items, f"{where}[{index}]") for index, each in enumerate(items)]
    if isinstance(value, dict):
        return _of_object(cast("dict[str, Any]", value), how, where)
    return cast(Any, value)


def _of_object(value: dict[str, Any], how: Restore, where: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for given, each in value.items():
        if each is None and given in how.omitted:
            continue
        name = how.names.get(given, given)
        if name in made or (name != given and name in value):
            raise InvalidParams(f"{where}.{given} is given twice")
        made[name] = restored(each, how.members.get(given), f"{where}.{given}")
    return made


def _of_text(value: str, how: Restore, where: str) -> Any:
    if value in how.values:
        return how.values[value]
    if not how.text:
        return value
    try:
        found: Any = jsonrpc.loads(value.encode())
    except ValueError:
        found = value
    if how.text == "either":
        return cast(Any, found) if isinstance(found, dict) else value
    if how.text == "object" and not isinstance(found, dict):
        raise InvalidParams(f'{where} must be a JSON object, as text, such as {{"name": "value"}}')
    return cast(Any, found)
