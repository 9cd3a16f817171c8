"""The shapes of `/status`."""

from typing import Literal, TypedDict

from pydantic import BaseModel, Field

from gateway.upstream.breaker import BreakerState
from gateway.upstream.link import State


class Numbers(TypedDict):
    """How `TrafficReport` is made."""

    requests: int
    failed: int
    per_second: float
    per_second_now: float
    p50_ms: float
    p95_ms: float
    max_ms: float


class TrafficReport(BaseModel):
    """How some requests went in the last minute."""

    requests: int = Field(description="How many there were.")
    failed: int = Field(description="How many of them did not end with `ok`.")
    per_second: float = Field(description="Of the whole window.", examples=[12.4])
    per_second_now: float = Field(description="Of the last few seconds.")
    p50_ms: float = Field(description="Half of them took no longer, about.")
    p95_ms: float = Field(description="95 % of them took no longer, about.")
    max_ms: float = Field(description="The longest.")


class UpstreamStatus(TrafficReport):
    name: str = Field(examples=["time"])
    state: State
    reason: str | None = Field(description="Why it is in that state.")
    connect: str | None = Field(
        default=None, description="Where you have to log in for yourself, in a browser; null if you need not."
    )
    breaker: BreakerState
    in_flight: int = Field(description="Requests that await its answer.")
    queued: int | None = Field(description="Requests that wait for a place; null without the scope `admin`.")


class TargetStatus(TrafficReport):
    upstream: str | None = Field(description="Null for what the gateway answers itself.")
    target: str = Field(description="The tool, prompt or resource; else the method.", examples=["time__now"])


class CallerStatus(TrafficReport):
    principal: str = Field(examples=["key:3f9c21aa"])
    owner: str = Field(examples=["alice"])
    agent_name: str | None
    most: str = Field(description="What it asks for most.", examples=["time__now"])


class StatusReport(TrafficReport):
    """What goes on, as far as you may know of it."""

    version: str = Field(examples=["0.1.0"])
    environment: str = Field(examples=["production"])
    uptime: float = Field(description="Seconds since it started.")
    draining: bool = Field(description="Whether it is about to stop.")
    configuration: Literal["current", "refused"]
    scope: Literal["own", "all"] = Field(
        description="Whose requests these are: yours and your agents', or everybody's."
    )
    window: float = Field(description="Seconds that the numbers are about, at most 60.", examples=[60.0])
    sessions: int | None = Field(description="Sessions and streams that are open; null without the scope `admin`.")
    in_flight: int | None = Field(description="Requests in flight; null without the scope `admin`.")
    upstreams: list[UpstreamStatus] = Field(description="Those that you may use, in the order of the configuration.")
    calls: list[TargetStatus] = Field(description="The 100 that took the most time together.")
    callers: list[CallerStatus] = Field(description="The 100 that ask most.")
