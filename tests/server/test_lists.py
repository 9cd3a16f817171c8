"""Lists are encoded once, and what is kept of that has an end."""

import base64
from pathlib import Path

import pytest

from gateway.server.lookup import Opener
from tests.bridge.house import Somebody, gateway_of
from tests.interaction._gateway import child

pytestmark = pytest.mark.anyio


async def test_pages_are_kept_for_cursors_that_were_given_and_no_others(tmp_path: Path) -> None:
    async with gateway_of(tmp_path, {"up": child("tests.servers.everything")}, page_size=5) as gateway:
        somebody = Somebody(gateway)
        catalogue = gateway.server.lookup.catalogue(Opener(somebody._agent(lasting=False)))  # pyright: ignore[reportPrivateUsage]
        names: list[str] = []
        for _ in range(2):
            names, more = [], {}
            while True:
                page = await somebody.send("tools/list", **more)
                names += [tool["name"] for tool in page["tools"]]
                if "nextCursor" not in page:
                    break
                more = {"cursor": page["nextCursor"]}
        assert names == [tool["name"] for tool in catalogue.tools]
        kept = len(catalogue.pages)
        assert kept == -(-len(catalogue.tools) // 5)
        for number in range(20):
            made_up = base64.urlsafe_b64encode(b"1:up__%d" % number).decode()
            assert (await somebody.send("tools/list", cursor=made_up))["tools"]
        assert len(catalogue.pages) == kept
