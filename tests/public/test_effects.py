"""What agents ask for through the gateway really happens: in files, in a repository, in a server's memory."""

import json
from uuid import uuid4

import pytest

from tests.public.conftest import LETTER, Connected, Place
from tests.public.conversations import View

pytestmark = pytest.mark.anyio


async def test_the_filesystem_server_writes_and_reads_real_files(agent: Connected, place: Place) -> None:
    view = View(agent.client, "files")
    path = place.files / f"{uuid4().hex}.txt"
    await view.call("write_file", path=str(path), content="first\nsecond\n")
    await view.call("edit_file", path=str(path), edits=[{"oldText": "second", "newText": "zweite Zeile"}])
    assert path.read_text() == "first\nzweite Zeile\n"
    read = await view.call("read_text_file", path=str(place.files / "letter.txt"))
    assert read["content"] == [{"type": "text", "text": LETTER}]


async def test_the_git_server_tells_the_history_of_a_real_repository(agent: Connected, place: Place) -> None:
    log = await View(agent.client, "git").call("git_log", repo_path=str(place.repository))
    (content,) = log["content"]
    head = (place.repository / ".git/refs/heads/main").read_text().strip()
    assert f"Commit: {head}" in content["text"]
    assert content["text"].index("The second line") < content["text"].index("The first line")


async def test_the_memory_server_remembers(agent: Connected) -> None:
    view = View(agent.client, "memory")
    name = uuid4().hex
    entity = {"name": name, "entityType": "thing", "observations": ["was here"]}
    created = await view.call("create_entities", entities=[entity])
    assert created["structuredContent"] == {"entities": [entity]}
    found = await view.call("open_nodes", names=[name])
    assert found["structuredContent"]["entities"] == [entity]
    (graph,) = (await agent.client.read_resource("memory://knowledge-graph")).model_dump()["contents"]
    assert entity in json.loads(graph["text"])["entities"]


async def test_servers_see_nothing_of_the_gateways_environment(agent: Connected, place: Place) -> None:
    (content,) = (await View(agent.client, "everything").call("get-env"))["content"]
    environment = json.loads(content["text"])
    assert "PATH" in environment
    assert not environment.keys() & {*place.variables, "OWN"}
