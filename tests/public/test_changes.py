"""What server-everything says unasked reaches the agent that asked to hear it: from every transport, in both eras."""

import gzip
from base64 import b64decode
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import anyio
import pytest
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent
from mcp_types import (
    BlobResourceContents,
    ResourceListChangedNotification,
    ResourceUpdatedNotification,
)

from tests.public.conftest import Connected
from tests.public.conversations import DOCUMENT, View
from tests.support import wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize("server", ["everything", "everything-sse", "everything-http"]),
]

PATIENCE = 10.0
"""Seconds; the server repeats an update every 5, so that one that was missed is not mistaken for one that came late."""


@asynccontextmanager
async def listening(agent: Connected, *uris: str) -> AsyncGenerator[Callable[[], list[str]]]:
    """What the agent hears meanwhile: `list` when the resources changed, and the URI of each of `uris` that did."""
    if agent.mode == "legacy":
        begin = len(agent.heard)
        for uri in uris:
            await agent.client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        yield lambda: [
            "list" if isinstance(notification, ResourceListChangedNotification) else notification.params.uri
            for notification in agent.heard[begin:]
            if isinstance(notification, ResourceListChangedNotification | ResourceUpdatedNotification)
        ]
        for uri in uris:
            await agent.client.unsubscribe_resource(uri)  # pyright: ignore[reportDeprecated]
        return
    events: list[ServerEvent] = []
    async with (
        agent.client.listen(resources_list_changed=True, resource_subscriptions=uris) as subscription,
        anyio.create_task_group() as tg,
    ):

        async def collect() -> None:
            async for event in subscription:
                events.append(event)

        tg.start_soon(collect)
        yield lambda: [
            "list" if isinstance(event, ResourcesListChanged) else event.uri
            for event in events
            if isinstance(event, ResourcesListChanged | ResourceUpdated)
        ]
        tg.cancel_scope.cancel()


async def test_updates_of_a_resource_reach_its_subscriber(agent: Connected, server: str) -> None:
    view = View(agent.client, server)
    uri = view.uri(DOCUMENT)
    async with listening(agent, uri) as heard:
        await view.call("toggle-subscriber-updates")
        try:
            await wait_until(lambda: uri in heard(), PATIENCE)
        finally:
            await view.call("toggle-subscriber-updates")
    # Not the other servers' document of the same name; servers that come up late make the list change.
    assert set(heard()) - {"list"} == {uri}


async def test_a_new_resource_is_announced_listed_and_readable(agent: Connected, server: str) -> None:
    view = View(agent.client, server)
    name = f"{uuid4().hex}.gz"
    async with listening(agent) as heard:
        await view.call("gzip-file-as-resource", name=name, data="data:text/plain,a%20secret")
        await wait_until(lambda: "list" in heard(), PATIENCE)
    uri = f"demo://resource/session/{name}"
    assert uri in [resource.uri for resource in (await agent.client.list_resources()).resources]
    (content,) = (await agent.client.read_resource(uri)).contents
    assert isinstance(content, BlobResourceContents)
    assert gzip.decompress(b64decode(content.blob)) == b"a secret"


async def test_progress_arrives_in_order_and_before_the_result(agent: Connected, server: str) -> None:
    seen: list[tuple[float, float | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append((progress, total))

    name = View(agent.client, server).name("trigger-long-running-operation")
    result = await agent.client.call_tool(name, {"duration": 0.2, "steps": 4}, progress_callback=on_progress)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert not result.is_error
