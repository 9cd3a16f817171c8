"""Every server that others wrote says through the gateway what it says without it: to every client, by both fronts."""

from typing import Any

import pytest

from tests.public.conftest import Connected, Place, works_on
from tests.public.conversations import CONVERSATIONS, View

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("server", CONVERSATIONS)]


async def test_tools_are_listed_as_they_are(agent: Connected, direct: dict[str, dict[str, Any]], server: str) -> None:
    listed = await View(agent.client, server).tools()
    assert len(listed) >= 2
    assert listed == direct[server]["tools"]


async def test_answers_are_the_same(
    agent: Connected, direct: dict[str, dict[str, Any]], place: Place, server: str
) -> None:
    answers = await CONVERSATIONS[server](View(agent.client, server), works_on(place, server))
    assert answers == direct[server]["answers"]
