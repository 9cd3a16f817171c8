"""The time server, over real stdio in both eras; the corners of its answers, in process."""

import datetime as dt
from typing import Any

import jsonschema
import pytest
from mcp import Client
from mcp_types import CallToolResult, TextContent, TextResourceContents

from gateway.demo.time import TimeServer
from tests.demo.conftest import Connect

pytestmark = pytest.mark.anyio

NOON = dt.datetime(2026, 3, 30, 12, 0, tzinfo=dt.UTC)


def text_of(result: CallToolResult) -> str:
    block = result.content[0]
    assert isinstance(block, TextContent)
    return block.text


async def ask(tool: str, **arguments: str) -> dict[str, Any]:
    """The tool's answer at noon (UTC) on 30 March 2026."""
    async with Client(TimeServer(lambda: NOON)) as client:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, text_of(result)
        assert result.structured_content is not None
        return result.structured_content


async def ask_badly(tool: str, **arguments: str) -> str:
    """The words of the tool's error."""
    async with Client(TimeServer(lambda: NOON)) as client:
        result = await client.call_tool(tool, arguments)
        assert result.is_error
        return text_of(result)


# --- Over stdio, in both eras ---------------------------------------------------------------------------------------


async def test_every_tool_says_what_it_is_and_keeps_to_its_schema(connect: Connect) -> None:
    async with connect("time") as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["now", "convert"]
        calls = {
            "now": {"timezone": "Asia/Kolkata"},
            "convert": {"time": "14:30", "source_timezone": "UTC", "target_timezone": "America/New_York"},
        }
        for name, tool in tools.items():
            assert tool.title
            assert tool.description
            assert tool.annotations
            assert tool.annotations.read_only_hint
            assert tool.annotations.idempotent_hint
            assert tool.output_schema
            result = await client.call_tool(name, calls[name])
            assert not result.is_error
            jsonschema.validate(result.structured_content, tool.output_schema)


async def test_now_is_now(connect_modern: Connect) -> None:
    async with connect_modern("time") as client:
        before = dt.datetime.now(dt.UTC).replace(microsecond=0)
        result = await client.call_tool("now", {})
        assert result.structured_content
        assert before <= dt.datetime.fromisoformat(result.structured_content["time"]) <= dt.datetime.now(dt.UTC)


async def test_it_offers_a_resource(connect: Connect) -> None:
    async with connect("time") as client:
        assert [resource.uri for resource in (await client.list_resources()).resources] == ["time://zones"]
        contents = (await client.read_resource("time://zones")).contents[0]
        assert isinstance(contents, TextResourceContents)
        assert "Europe/Berlin" in contents.text.splitlines()


# --- Corners, in process --------------------------------------------------------------------------------------------


async def test_now_shows_the_place() -> None:
    assert await ask("now", timezone="Europe/Berlin") == {
        "timezone": "Europe/Berlin",
        "time": "2026-03-30T14:00:00+02:00",
        "weekday": "Monday",
        "dst": True,
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("europe/berlin", "Did you mean Europe/Berlin?"),
        ("New York", "Did you mean America/New_York?"),
        ("Europe/Berln", "Did you mean Europe/Berlin"),
        ("America", "Unknown time zone 'America'."),  # a folder of the database
        ("../../etc/passwd", "Unknown time zone"),
        ("zone.tab", "Unknown time zone"),  # a file of the database, but no zone
        ("", "Unknown time zone"),
        ("Xyzzy", "Read time://zones for the names there are."),
    ],
)
async def test_an_unknown_zone_gets_near_names(name: str, hint: str) -> None:
    assert hint in await ask_badly("now", timezone=name)


@pytest.mark.parametrize(
    ("time", "source", "target", "expected", "difference"),
    [
        ("09:00", "Europe/Berlin", "Asia/Kolkata", "2026-03-30T12:30:00+05:30", "+03:30"),
        ("23:30", "Europe/Berlin", "Asia/Tokyo", "2026-03-31T06:30:00+09:00", "+07:00"),
        ("2026-01-15T09:00", "Europe/London", "America/New_York", "2026-01-15T04:00:00-05:00", "-05:00"),
        ("2026-01-15T09:00Z", "Europe/London", "UTC", "2026-01-15T09:00:00+00:00", "+00:00"),
        ("20260115T0900+0100", "Europe/London", "UTC", "2026-01-15T08:00:00+00:00", "+00:00"),
        # Today is the source's today: in Honolulu the clocks still show the 30th, at 02:00.
        ("01:00", "Pacific/Honolulu", "UTC", "2026-03-30T11:00:00+00:00", "+10:00"),
        ("01:00", "Pacific/Kiritimati", "UTC", "2026-03-30T11:00:00+00:00", "-14:00"),
    ],
)
async def test_convert(time: str, source: str, target: str, expected: str, difference: str) -> None:
    answer = await ask("convert", time=time, source_timezone=source, target_timezone=target)
    assert (answer["target"]["time"], answer["difference"]) == (expected, difference)


async def test_a_time_shown_twice_is_the_first() -> None:
    answer = await ask("convert", time="2026-10-25T02:30", source_timezone="Europe/Berlin", target_timezone="UTC")
    assert answer["target"]["time"] == "2026-10-25T00:30:00+00:00"


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("2026-03-29T02:30", "does not exist in Europe/Berlin"),
        ("half past two", "is not a time"),
        ("25:00", "is not a time"),
        ("0001-01-01T00:00", "out of range"),
        ("9999-12-31T23:59", "out of range"),
    ],
)
async def test_a_time_that_cannot_be_converted(time: str, words: str) -> None:
    assert words in await ask_badly("convert", time=time, source_timezone="Europe/Berlin", target_timezone="UTC")
