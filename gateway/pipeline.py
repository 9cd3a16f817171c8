"""The way of every call, from top to bottom: serve → forward → attempt. The only place where order stands.

A check is a line here, or in `access.admission` if it needs to know no more than who asks for which method. What rarely
waits is a plain function that answers, or says that somebody has to wait (`x = fast() or await slow()`): one path,
whichever it is.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.access.admission import Admission
from gateway.access.limits import Limits
from gateway.bridge.envelope import unwrap_params
from gateway.bridge.forward import Bridge
from gateway.bridge.login_requests import log_in
from gateway.bridge.waiting import wait_for_task
from gateway.call import Answerer, Call
from gateway.errors import CircuitOpen, GatewayError, UpstreamError, UpstreamLost, UpstreamTimeout
from gateway.protocol import INPUT_REQUIRED, Era
from gateway.server.drain import Drain
from gateway.server.log_messages import LogMessages
from gateway.server.lookup import Lookup
from gateway.server.results import BoundedResults
from gateway.server.targets import Targets
from gateway.telemetry.calls import CallRecorder
from gateway.upstream import retry
from gateway.upstream.limiter import Lease
from gateway.upstream.link import Link
from gateway.upstream.private import PrivateLink
from gateway.upstream.transport.pending import SessionLost
from gateway.upstream.upstream import Upstream

if TYPE_CHECKING:
    from gateway.telemetry.spans import Tracing
    from gateway.upstream.session import UpstreamSession


class Pipeline:
    """
    Args:
        own_methods: by era and method, what the gateway answers itself. All else is forwarded.
        dress: gives a result what its agent's era requires; changes it in place.
    """

    def __init__(
        self,
        drain: Drain,
        admission: Admission,
        recorder: CallRecorder,
        own_methods: Mapping[Era, Mapping[str, Answerer]],
        targets: Targets,
        lookup: Lookup,
        limits: Limits,
        log_messages: LogMessages,
        bridge: Bridge,
        results: BoundedResults,
        dress: Callable[[Call, dict[str, Any]], None],
    ) -> None:
        self._drain = drain
        self._admission = admission
        self._recorder = recorder
        self._modern, self._handshake = own_methods[Era.MODERN], own_methods[Era.HANDSHAKE]
        self._targets = targets
        self._lookup = lookup
        self._limits = limits
        self._log_messages = log_messages
        self._bridge = bridge
        self._results = results
        self._dress = dress
        self.tracing: Tracing | None = None

    async def serve(self, call: Call) -> dict[str, Any]:
        """The result of a call, whoever gives it.

        Raises:
            GatewayError: what the agent is told instead.
        """
        try:
            if self.tracing is not None:
                self.tracing.begin(call)
            self._drain.enter(call)  # from here on, a gateway that stops waits for it, and in the end cuts it off
            waiting = self._admission.enter(call)  # scope, requests in flight, audit, rate limit
            if waiting is not None:
                await waiting
            answer = (self._modern if call.agent.era is Era.MODERN else self._handshake).get(call.method)
            result = await (answer(call) if answer is not None else self.forward(call))
            self._dress(call, result)
            call.outcome = "tool_error" if result.get("isError") is True else "ok"
            return result
        except GatewayError as error:
            call.outcome, call.code = error.outcome, error.code_in(call.agent.era)
            raise
        except asyncio.CancelledError:
            interruption = call.interruption()
            if interruption is None:
                raise  # the agent has gone, and is owed nothing
            call.outcome, call.code = interruption.outcome, interruption.code_in(call.agent.era)
            try:
                raise interruption from None
            finally:
                del interruption  # which refers to this frame
        except Exception:
            call.outcome = "error"
            raise
        finally:
            self._admission.leave(call)  # what it did not take, it does not give back
            self._drain.leave(call)
            if call.trace is not None:
                call.trace.end(call)
            self._recorder.record(call)

    async def forward(self, call: Call) -> dict[str, Any]:
        """The result of whoever owns what a call names.

        Raises:
            GatewayError: nobody does, or why there is no result.
        """
        # Policy: what its principal may not use is not in their catalogue, and so it is not found.
        target = self._targets.find_now(call) or await self._targets.find(call)
        if target.answer is not None:
            return target.answer
        call.upstream, params, owner = target.upstream, target.params, target.owner
        if target.kind is not None and owner is not None:
            self._lookup.check(call, target.kind, owner)  # pins: its definition is the one that was approved
        limits = self._limits
        if target.upstream in limits.upstreams and not limits.count_upstream_now(
            call.principal, target.upstream, target.tool
        ):
            await limits.count_upstream(call.principal, target.upstream, target.tool)
        upstream = self._targets.upstream(target)
        send = log_in if target.is_login else attempt_task if target.as_task else attempt
        upstream.enter(call)  # from here on it is not let go, even if another takes its place
        try:
            if call.agent.log_level is not None and self._log_messages.raises_level(call):
                await self._log_messages.take_up(upstream)
            if target.question is not None:
                result = await self._bridge.confirm(call, upstream, params, target.question, send)
            elif self._bridge.is_needed(call):
                result = await self._bridge.carry(call, upstream, params, send)
            else:
                result = await send(upstream, call, params)
                if result.get("resultType") == INPUT_REQUIRED:
                    result = await self._bridge.on_result(call, upstream, params, result, send)
        except UpstreamError as error:
            instead = self._bridge.on_error(call, upstream.name, error)
            if instead is None:
                raise
            result = instead
        finally:
            upstream.leave(call)
        if "task" in params:
            await self._targets.keep_task(call, target, result)
        result = self._targets.finish(call, target, result)
        if owner is None or owner.max_tokens is None:
            return result
        return await self._results.fit(call, owner, result)  # of what is too large, the head


async def attempt(upstream: Upstream, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Ask an upstream; where that is safe, again, up to `retry.MAX_ATTEMPTS` times in all.

    Args:
        params: the call's, under the upstream's own names.

    Raises:
        CircuitOpen: the upstream, or this connection of it, has failed too often.
        GatewayError: the upstream's own error, or why there is no answer.
    """
    tenant, now = call.principal.root_id, asyncio.get_running_loop().time
    if "_meta" in params:
        params = unwrap_params(params)
    deadline = _Deadline(upstream.timeout(call, params), upstream.config.max_timeout, began := now())
    private: PrivateLink | None = None
    failure: GatewayError | None = None
    number = 0
    if call.spoke:  # in a round before this one
        call.spoke = False
    if upstream.is_limited and call.lease is None:
        lease = upstream.lease_now(tenant) or await _queue(upstream, call, tenant, deadline.timeout)
        if call.lease is not None:  # it was given another in the turn in which places were limited anew
            call.lease.release()
        call.lease = lease
        if call.method == "tasks/result":
            call.lease.pause()  # it waits for a task, and must not keep the place of who would end that
    try:
        links = upstream.links
        link = links.link_now(call.agent) or await links.link(call.agent, deadline.began + deadline.timeout)
        if isinstance(link, PrivateLink):
            private, link = link, link.link
        upstream.retry_budget.requested(began)
        while True:
            number += 1
            try:
                return await _try(upstream, link, call, params, deadline, is_first=number == 1)
            except CircuitOpen as refusal:
                if call.trace is not None:
                    call.trace.event("breaker open")
                raise failure or refusal from None
            except GatewayError as error:
                if number == retry.MAX_ATTEMPTS or not _may_repeat(upstream, call, params, error):
                    raise
                failure = error
            wait = retry.delay(number, random.random())  # noqa: S311 - jitter is no secret
            if wait >= deadline.left(now()) or not upstream.retry_budget.take(now()):
                raise failure
            upstream.tally.retries += 1
            if call.trace is not None:
                call.trace.event("retry", {"mcp_gateway.attempt": number + 1, "mcp_gateway.seconds": wait})
            await asyncio.sleep(wait)
    finally:
        failure = None  # an error refers to this frame, which must not refer back
        if call.lease is not None:
            call.lease.release()
            call.lease = None
        if private is not None:
            private.release()


async def attempt_task(upstream: Upstream, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """The same of a tool that can only be called as a task, which its agent cannot: see `wait_for_task`."""
    return await wait_for_task(attempt, upstream, call, params)


async def _queue(upstream: Upstream, call: Call, tenant: str, patience: float) -> Lease:
    began = time.perf_counter()
    try:
        return await upstream.lease(tenant, patience)
    finally:
        call.queue_seconds += time.perf_counter() - began
        if call.trace is not None:
            call.trace.event("queued", {"mcp_gateway.seconds": time.perf_counter() - began})


async def _try(
    upstream: Upstream, link: Link, call: Call, params: dict[str, Any], deadline: "_Deadline", *, is_first: bool
) -> dict[str, Any]:
    """One attempt, as the breakers see it. A session that is lost with it was refused, as a rule: the request was not
    acted on then, and is sent on a new one."""
    session, pending, lost = link.current(), None, None
    if session is None:
        link.check()  # while it backs off, it knows better than the breaker when it is tried again
    call.permit = permit = upstream.admit(link, call.principal.root_id, call)
    try:
        while True:
            if session is None:
                session = await _connected(upstream, link, call, deadline, is_first=is_first)
            elif lost is not None:
                patience = min(upstream.config.connect_timeout, deadline.left(asyncio.get_running_loop().time()))
                session = await link.ready(patience, after=session)
            permit.session, sent = session, time.perf_counter()
            pending = session.send(call, params, deadline.timeout, deadline.max_timeout, deadline.began)
            try:
                result = await pending.future  # set from the connection's callback, by whoever reads the answer
                break
            except (asyncio.CancelledError, UpstreamTimeout):
                session.connection.withdraw(pending)
                raise
            except UpstreamLost as error:
                if not error.delivered and session.connection.closed is None:
                    upstream.suspect(link)
                if lost is not None or not _may_go_on(upstream, call, params, error):
                    raise
                lost = error
            finally:
                call.upstream_seconds += time.perf_counter() - sent
                if call.trace is not None:
                    call.trace.answered(pending.id, pending.future)
                session.connection.end(pending)
    except GatewayError as error:
        permit.failed(error)
        raise
    except BaseException:
        permit.abandon()
        raise
    finally:
        call.permit = pending = lost = None  # an error refers to this frame, which must not refer back
    permit.passed()
    return result


async def _connected(
    upstream: Upstream, link: Link, call: Call, deadline: "_Deadline", *, is_first: bool
) -> "UpstreamSession":
    """Starting an upstream takes what it takes (`connect_timeout`), which is no part of its time to answer."""
    began, waited = asyncio.get_running_loop().time(), time.perf_counter()
    try:
        if not is_first:
            return await link.ready(min(upstream.config.connect_timeout, deadline.left(began)))
        session = await link.ready(upstream.config.connect_timeout)
        deadline.began += asyncio.get_running_loop().time() - began
        return session
    finally:
        call.queue_seconds += time.perf_counter() - waited


class _Deadline(msgspec.Struct, eq=False, gc=False):
    """When a call must be answered, whatever of that time goes by before it is sent. In seconds."""

    timeout: float
    """Without progress, which starts it anew."""
    max_timeout: float
    """Whatever progress is shown."""
    began: float
    """In the event loop's time."""

    def left(self, now: float) -> float:
        return max(0.0, self.timeout - (now - self.began))


def _may_go_on(upstream: Upstream, call: Call, params: Mapping[str, Any], error: UpstreamLost) -> bool:
    """Whether to send it on another session."""
    if not isinstance(error, SessionLost):
        return False
    return not (error.delivered or call.spoke) or _is_repeatable(upstream, call, params)


def _may_repeat(upstream: Upstream, call: Call, params: Mapping[str, Any], error: GatewayError) -> bool:
    if call.spoke or not error.retryable:
        return False  # the agent has heard of it, or the next answer would be the same
    return not error.delivered or _is_repeatable(upstream, call, params)


def _is_repeatable(upstream: Upstream, call: Call, params: Mapping[str, Any]) -> bool:
    """Whether doing it twice is the same as doing it once; a tool's annotations may say so, if they are trusted."""
    trusted = call.method == "tools/call" and upstream.config.trust_annotations
    return retry.is_repeatable(call.method, params, upstream.tool(str(params.get("name"))) if trusted else None)
