"""The scheduler's shell: informers in, writes out, one pod after the other in between.

Decisions are made in slices of a few milliseconds, bindings go out side by side. Invariant: nothing is written outside
a term. Faults assumed: servers are away (the pod is tried again), the process is paused (the fence refuses what it
writes afterwards, and what it assumed is forgotten), we made a mistake about a pod (it costs that pod its turn).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, cast

from prometheus_client import CollectorRegistry

from control.api.meta import timestamp
from control.api.schema import Object
from control.api.status import StatusError
from control.client.client import Client
from control.client.errors import Unreachable
from control.client.informer import Informer
from control.client.objects import slim
from control.elected.process import Term
from control.elected.term_end import FenceLost, explain
from control.scheduler.cycle import Decision
from control.scheduler.explain import NOT_ELIGIBLE, unschedulable
from control.scheduler.metrics import Metrics
from control.scheduler.model import Model
from control.scheduler.pod import Pod
from control.scheduler.preemption import Plan, Search
from control.scheduler.writes import Writes

log = logging.getLogger(__name__)

SLICE_SECONDS: Final = 0.004
# Requests under way at a time.
MOST_WRITES: Final = 64

Tell = Callable[[Object, str, str, str], None]
# What is to be written for a pod.
Write = Callable[[], Awaitable[None]]


class Scheduler:
    """start() once, then run() with the terms of an elector; close() at the end."""

    def __init__(
        self, client: Client, tell: Tell, names: frozenset[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """tell: records an event (about, type, reason, message). names: of schedulers that we are."""
        self.model = Model(names)
        self.metrics = Metrics()
        self.started = asyncio.Event()
        self._client = client
        self._tell = tell
        self._clock = clock
        self._news = asyncio.Event()
        self._room = asyncio.Semaphore(MOST_WRITES)
        live = "status.phase!=Succeeded,status.phase!=Failed"
        budgets, classes = "poddisruptionbudgets.policy", "storageclasses.storage.k8s.io"
        claims, volumes = "persistentvolumeclaims", "persistentvolumes"
        self._informers = {
            "namespaces": (Informer(client, "namespaces", transform=slim), self.model.namespace_changed),
            "nodes": (Informer(client, "nodes", transform=slim), self.model.node_changed),
            budgets: (Informer(client, budgets, transform=slim), self.model.budget_changed),
            classes: (Informer(client, classes, transform=slim), self.model.class_changed),
            volumes: (Informer(client, volumes, transform=slim), self.model.volume_changed),
            claims: (Informer(client, claims, transform=slim), self.model.claim_changed),
            "pods": (Informer(client, "pods", field_selector=live, transform=slim), self.model.pod_changed),
        }

    @property
    def registry(self) -> CollectorRegistry:
        """What is counted."""
        return self.metrics.registry

    async def start(self) -> None:
        """Begin to observe; returns when the view is complete."""
        for informer, heard in self._informers.values():
            informer.subscribe(lambda old, new, heard=heard: self._hear(heard, old, new))  # type: ignore[misc]
            await informer.start()
        self.started.set()

    def _hear(self, heard: Callable[..., None], old: Object | None, new: Object | None) -> None:
        heard(old, new, self._clock())
        self._news.set()

    async def run(self, terms: AsyncIterator[Term]) -> None:
        """Schedule in every term that comes, until cancelled."""
        async with aclosing(terms) as elected:  # type: ignore[type-var]
            async for term in elected:
                await self.serve(term)

    async def serve(self, term: Term) -> None:
        """Schedule until the term is over."""
        client = self._client.fenced(term.fence) if term.fence is not None else self._client
        work = asyncio.create_task(self._work(Writes(client)), name="scheduler")
        over = asyncio.create_task(term.lost.wait(), name="term")
        log.info("scheduler: at work (%s)", term.fence.header() if term.fence is not None else "without election")
        self.metrics.leader.set(1)
        try:
            await asyncio.wait({work, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.metrics.leader.set(0)
            work.cancel()
            over.cancel()
            results = await asyncio.gather(work, over, return_exceptions=True)
            self.model.dropped(self._clock())
        explain(results[0], "scheduler")

    async def _work(self, writes: Writes) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                until = time.perf_counter() + SLICE_SECONDS
                while time.perf_counter() < until:
                    pod = self.model.queue.take(self._clock())
                    if pod is None:
                        await self._wait()
                        break
                    await self._room.acquire()
                    await self._one(group, writes, pod)
                self.metrics.see(self.model.queue)
                await asyncio.sleep(0)

    async def _wait(self) -> None:
        """Until something happened, or a pod is due."""
        self._news.clear()
        at = self.model.queue.next_at(self._clock())
        timeout = None if at is None else max(at - self._clock(), 0.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._news.wait()

    async def _one(self, group: asyncio.TaskGroup, writes: Writes, pod: Pod) -> None:
        """One pod: what is decided is written in a task of its own. Its slot is given back, however that ends."""
        write: Write | None = None
        try:
            write = await self._decided(writes, pod)
        except Exception as mistake:
            self._mistaken(pod, mistake)
        finally:
            if write is None:
                self._room.release()
        if write is not None:
            task = group.create_task(self._written(pod, write))
            task.add_done_callback(lambda _: self._room.release())  # a task that is cancelled at once never runs

    async def _decided(self, writes: Writes, pod: Pod) -> Write | None:
        """Decide now, or after a search in slices if others must leave; what is left to do is to write it down."""
        began = time.perf_counter()
        decision = self.model.decide(pod, self._clock())
        write: Write
        if decision.node and decision.awaited:
            self.model.await_volumes(pod, decision.node, decision.awaited, self._clock())
            return partial(self._select, writes, pod, decision)  # the decision that counts is still to come
        if decision.node:
            self.model.assume(pod, decision.node)
            write = partial(self._bind, writes, pod, decision.node, decision.feasible)
        else:
            assert decision.diagnosis is not None
            plan = await self._preemption(pod, decision)
            if not self.model.queue.holds(pod.uid):
                return None  # it went while we searched
            text = unschedulable(decision.diagnosis, plan.refusal)
            self.model.queue.failed(pod.uid, decision.diagnosis.plugins, self._clock())
            if plan.node:
                self.model.promise(pod, plan.node, plan.victims, self._clock())
            write = partial(self._unschedulable, writes, pod, text, plan)
        self.metrics.decided(bool(decision.node), time.perf_counter() - began)
        return write

    async def _preemption(self, pod: Pod, decision: Decision) -> Plan:
        if pod.object["spec"].get("preemptionPolicy") == "Never":
            return Plan("", refusal=NOT_ELIGIBLE, stands=True)
        return await _in_slices(self.model.preempt(pod, decision, self._clock()))

    async def _written(self, pod: Pod, write: Write) -> None:
        try:
            await write()
        except FenceLost:
            raise
        except Exception as mistake:
            self._mistaken(pod, mistake)

    def _mistaken(self, pod: Pod, mistake: Exception) -> None:
        """What nobody foresaw went wrong with the pod: the others are not to suffer for it."""
        log.error("pod %s/%s: a mistake of the scheduler", pod.namespace, pod.name, exc_info=mistake)
        self.model.start_over(pod, self._clock())
        self._news.set()
        self._tell(pod.object, "Warning", "FailedScheduling", f"a mistake of the scheduler: {mistake!r}")

    async def _bind(self, writes: Writes, pod: Pod, node: str, feasible: int) -> None:
        try:
            await writes.bind(pod, node, feasible, self.model.cluster.size)
        except (StatusError, Unreachable) as problem:
            log.info("pod %s/%s could not be bound to %s: %s", pod.namespace, pod.name, node, problem)
            if isinstance(problem, Unreachable) and problem.maybe_applied:
                self.model.binding_in_doubt(pod, self._clock())
            else:
                self.model.binding_failed(pod, self._clock())
            self._news.set()
            if not isinstance(problem, StatusError) or problem.code not in (404, 409):
                self._tell(pod.object, "Warning", "FailedScheduling", f"binding rejected: {problem}")
            return
        self.model.bound(pod)
        where = f"{pod.namespace}/{pod.name}"
        self._tell(pod.object, "Normal", "Scheduled", f"Successfully assigned {where} to {node}")

    async def _select(self, writes: Writes, pod: Pod, decision: Decision) -> None:
        """Give claims their volumes, or tell those who make them where; the pod is decided on anew when they change."""
        try:
            for claim, volume in ((entry.claim, entry.volume) for entry in decision.awaited):
                if volume is None and claim.selected != decision.node:
                    await writes.select_node(claim, decision.node, pod)
                elif volume is not None and not volume.claim_uid:
                    await writes.give_volume(volume, claim, pod)
        except (StatusError, Unreachable) as problem:
            log.info("pod %s/%s: its claims: %s", pod.namespace, pod.name, problem)
            self.model.try_again(pod, self._clock())
            self._news.set()

    async def _unschedulable(self, writes: Writes, pod: Pod, message: str, plan: Plan) -> None:
        now = timestamp(datetime.now(UTC))
        told: list[Pod] = []
        self._tell(pod.object, "Warning", "FailedScheduling", message)
        try:
            await writes.waits(pod, message, now, nominated=None if plan.stands else plan.node)
            for victim in plan.victims:
                await writes.preempt(victim, pod, now)
                told.append(victim)
                text = f"Preempted by pod {pod.uid} on node {plan.node}"
                self._tell(victim.object, "Normal", "Preempted", text)
        except (StatusError, Unreachable) as problem:
            log.info("pod %s/%s: %s", pod.namespace, pod.name, problem)
            if plan.node or (pod.nominated and not plan.stands):
                self.model.preemption_failed(pod, told, self._clock())
                self._news.set()

    async def close(self) -> None:
        for informer, _ in self._informers.values():
            await informer.stop()


async def _in_slices(search: Search) -> Plan:
    """What it ends with; everybody else's turn comes every few milliseconds."""
    while True:
        until = time.perf_counter() + SLICE_SECONDS
        while time.perf_counter() < until:
            try:
                next(search)
            except StopIteration as end:
                return cast(Plan, end.value)
        await asyncio.sleep(0)
