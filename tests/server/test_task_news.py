"""News of tasks from a server that says the same again and again: what is kept, and what is looked into, is bounded."""

from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import pytest

from gateway.call import Call
from gateway.catalogue.catalogue import Owner
from gateway.server.task_news import STATUS, HeardTasks, TaskNews, _TaskStream  # pyright: ignore[reportPrivateUsage]

pytestmark = pytest.mark.anyio


@dataclass
class Results:
    """Takes its time for each result."""

    may_go_on: anyio.Event = field(default_factory=anyio.Event)
    fitted: list[str] = field(default_factory=list[str])
    at_once: int = 0

    def owner_of_task(self, call: Any, upstream: str, handle: str) -> Owner:
        return Owner(upstream, "tool", {}, 500)

    async def fit_task(self, call: Any, owner: Owner, task: dict[str, Any]) -> dict[str, Any]:
        self.fitted.append(task["taskId"])
        self.at_once += 1
        assert self.at_once == 1
        await self.may_go_on.wait()
        self.at_once -= 1
        return {**task, "result": "its head"}


class News:
    def __init__(self) -> None:
        self.results = Results()

    def published(self, call: Any, name: str, public: str, task: dict[str, Any]) -> dict[str, Any]:
        return {**task, "taskId": public}


async def test_an_end_is_looked_into_once_and_one_after_the_other() -> None:
    news, heard, told = News(), HeardTasks(), list[Any]()
    heard.deliver_to(lambda method, params: told.append(params))
    async with anyio.create_task_group() as tg:
        publics = {str(number): f"task-{number}" for number in range(3)}
        stream = _TaskStream(cast(TaskNews, news), cast(Call, None), "one", publics, heard, tg)
        on_frame = stream._on_frame  # pyright: ignore[reportPrivateUsage]
        for _ in range(200):
            for own in publics:
                on_frame(STATUS, {"taskId": own, "status": "completed", "result": {"content": []}})
        await anyio.wait_all_tasks_blocked()
        news.results.may_go_on.set()
        await anyio.wait_all_tasks_blocked()
        on_frame(STATUS, {"taskId": "0", "status": "completed", "result": {"content": []}})
    assert news.results.fitted == ["task-0", "task-1", "task-2"]
    assert [(each["taskId"], each["result"]) for each in told] == [(f"task-{n}", "its head") for n in range(3)]


async def test_before_anybody_can_be_told_the_latest_of_each_task_is_kept() -> None:
    heard, told = HeardTasks(), list[Any]()
    for number in range(1_000):
        heard.tell({"taskId": f"task-{number % 2}", "status": str(number)})
    heard.deliver_to(lambda method, params: told.append(params))
    assert [each["status"] for each in told] == ["998", "999"]
