"""Lists are encoded once, and what is kept of that has an end."""

import base64
import gc
from pathlib import Path
from weakref import ref

import pytest
from msgspec.structs import replace

from gateway.request import Principal
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


async def test_what_was_seen_before_a_change_is_not_kept(tmp_path: Path) -> None:
    async with gateway_of(tmp_path, {"up": child("tests.servers.everything")}) as gateway:
        agent, library, lookup = Somebody(gateway)._agent(lasting=False), gateway.library, gateway.server.lookup  # pyright: ignore[reportPrivateUsage]
        seen = [ref(lookup.catalogue(Opener(replace(agent, opener=Principal(f"key:{each}"))))) for each in range(3)]
        assert lookup.catalogue(Opener(agent)) is seen[0]()
        library.update([(name, upstream.listing) for name, upstream in gateway.upstreams.items()])
        library.update([("up", None)])
        lookup.catalogue(Opener(agent))
        gc.collect()
        assert [each() for each in seen] == [None] * 3
