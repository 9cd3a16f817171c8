"""Resources, resource templates, prompts and completions of the everything server."""

import json
import re
from typing import Any, Final

import mcp_types as types
from mcp.shared.exceptions import MCPError

from tests.servers.items.asking import STRING, elicit, told
from tests.servers.items.call import Call, Result
from tests.servers.items.content import PNG

WATCHED: Final = "test://watched-resource"
ASKING: Final = "test://asking-resource"

RESOURCES: Final[tuple[dict[str, Any], ...]] = (
    {"uri": "test://static-text", "name": "static-text", "mimeType": "text/plain"},
    {"uri": "test://static-binary", "name": "static-binary", "mimeType": "image/png"},
    {"uri": WATCHED, "name": "watched-resource", "mimeType": "text/plain"},
    {
        "uri": ASKING,
        "name": "asking-resource",
        "description": "Asks for a name first.",
        "mimeType": "text/plain",
    },
)
TEMPLATES: Final[tuple[dict[str, Any], ...]] = (
    {"uriTemplate": "test://template/{id}/data", "name": "template", "mimeType": "application/json"},
)
_TEMPLATE: Final = re.compile(r"test://template/([^/]+)/data")


async def read(call: Call, uri: str) -> Result:
    """The content of a resource.

    Raises:
        MCPError: there is none; with the code of the client's era.
    """
    if match := _TEMPLATE.fullmatch(uri):
        return _text(uri, json.dumps({"id": match[1], "templateTest": True}), "application/json")
    match uri:
        case "test://static-text":
            return _text(uri, "This is the content of the static text resource.")
        case "test://static-binary":
            return {"contents": [{"uri": uri, "mimeType": "image/png", "blob": PNG}]}
        case "test://watched-resource":
            return _text(uri, f"Touched {call.world.touches.get(uri, 0)} times.")
        case "test://asking-resource":
            answer = await call.ask(user_name=elicit("What is your name?", name=STRING))
            return _text(uri, told(answer["user_name"]))
        case _:
            raise MCPError(types.INVALID_PARAMS if call.modern else -32002, "Resource not found", {"uri": uri})


def _text(uri: str, value: str, type: str = "text/plain") -> Result:
    return {"contents": [{"uri": uri, "mimeType": type, "text": value}]}


def _arguments(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "required": True} for name in names]


PROMPTS: Final[tuple[dict[str, Any], ...]] = (
    {"name": "test_simple_prompt", "description": "One message."},
    {"name": "test_prompt_with_arguments", "description": "Two arguments.", "arguments": _arguments("arg1", "arg2")},
    {
        "name": "test_prompt_with_embedded_resource",
        "description": "A resource and a message.",
        "arguments": _arguments("resourceUri"),
    },
    {"name": "test_prompt_with_image", "description": "An image and a message."},
    {"name": "test_input_required_result_prompt", "description": "Asks for its context first."},
)


async def prompt(call: Call, name: str) -> Result:
    """The messages of a prompt.

    Raises:
        MCPError: there is none, or an argument is missing.
    """
    given = call.arguments
    try:
        match name:
            case "test_simple_prompt":
                return _messages("This is a simple prompt for testing.")
            case "test_prompt_with_arguments":
                return _messages(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")
            case "test_prompt_with_embedded_resource":
                content = {"uri": given["resourceUri"], "mimeType": "text/plain", "text": "Embedded resource content."}
                return _messages({"type": "resource", "resource": content}, "Please process the resource above.")
            case "test_prompt_with_image":
                image = {"type": "image", "data": PNG, "mimeType": "image/png"}
                return _messages(image, "Please analyse the image above.")
            case "test_input_required_result_prompt":
                answer = await call.ask(user_context=elicit("What is the context?", context=STRING))
                return _messages(f"Use this context: {told(answer['user_context'])}")
            case _:
                raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {name}")
    except KeyError as missing:
        raise MCPError(types.INVALID_PARAMS, f"Missing argument: {missing.args[0]}") from None


def _messages(*contents: str | dict[str, Any]) -> Result:
    full = ({"type": "text", "text": one} if isinstance(one, str) else one for one in contents)
    return {"messages": [{"role": "user", "content": one} for one in full]}


def complete(value: str) -> Result:
    """Words that begin with `value`."""
    words = [word for word in ("paris", "park", "party") if word.startswith(value)]
    return {"completion": {"values": words, "total": len(words), "hasMore": False}}
