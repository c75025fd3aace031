"""The one shell around all reconcilers: changes become keys, keys are reconciled, decisions are done, failures retried.

Invariants: a key is worked on by one worker at a time, and only when the view shows the key's own writes; a reconciler
that raises costs its key a wait, never the process or another key; nothing is written after the term is over.
Faults assumed: mistakes in reconcilers, refusals, conflicts, outages, views that lag.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from control.api.schema import Object
from control.client.errors import Unreachable
from control.client.queue import QueueClosed, WorkQueue
from control.controllers.running.executor import Executor, Outcome
from control.controllers.running.informers import Informers
from control.controllers.running.metrics import Metrics
from control.controllers.values.actions import Action, Answer, Decision, Delete, Event, Key, Read
from control.controllers.values.controller import EVERYTHING, Controller
from control.controllers.values.expectations import Expectation, Expectations, revision_of
from control.controllers.values.objects import name_of, namespace_of, uid_of
from control.elected.term_end import FenceLost

log = logging.getLogger(__name__)

# A reconciler that asks more often in one pass has a mistake.
_MOST_ROUNDS: Final = 10
# A key whose decision takes long (a set of thousands of pods) is looked at again after so many times that long, at most
# _LONGEST_PAUSE seconds: what happened meanwhile costs one pass, not one each.
_PAUSE_FACTOR: Final = 4.0
_LONGEST_PAUSE: Final = 1.0
_WORTH_A_PAUSE: Final = 0.005


def utc_now() -> datetime:
    return datetime.now(UTC)


class Shell:
    """One controller during one term."""

    def __init__(
        self,
        controller: Controller,
        informers: Informers,
        executor: Executor,
        tell: Callable[[Event], None],
        metrics: Metrics,
        *,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """now: the time of day, for reconcilers; clock: seconds, monotonic, for waiting."""
        self.controller = controller
        self._informers, self._executor, self._tell, self._metrics = informers, executor, tell, metrics
        self._now, self._clock = now, clock
        self._queue: WorkQueue[Key] = WorkQueue(clock)
        self._expected: Expectations[Key] = Expectations()
        self._failures: dict[Key, str] = {}

    @property
    def queue(self) -> WorkQueue[Key]:
        return self._queue

    async def run(self) -> None:
        """Work until cancelled. Raises FenceLost when a write was refused because the term is over."""
        self._add_all()
        self._metrics.depth.labels(self.controller.name).set_function(lambda: len(self._queue))
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(self.controller.workers):
                    workers.create_task(self._work())
                if self.controller.resync:
                    workers.create_task(self._look_at_all_again())
        except* FenceLost as lost:
            raise FenceLost(str(lost.exceptions[0])) from None
        finally:
            self._queue.close()

    def changed(self, resource: str, old: Object | None, new: Object | None) -> None:
        """A change in the view: keys whose writes it shows go on, and keys it concerns are looked at."""
        for key in self._expected.saw(resource, old, new):
            self._queue.add(key)
        wakes = self.controller.wakes
        wake = wakes.get(resource) or wakes.get(EVERYTHING)
        if wake is None:
            return
        try:
            for key in wake(resource, old, new, self._informers.observed):
                self._queue.add(key)
        except Exception:
            # One malformed object must not keep the other controllers from hearing of the change.
            log.exception("%s: cannot tell whom a change of %s concerns", self.controller.name, resource)

    async def _look_at_all_again(self) -> None:
        while True:
            await asyncio.sleep(self.controller.resync)
            self._add_all()

    def _add_all(self) -> None:
        try:
            for key in self.controller.all_keys(self._informers.observed):
                self._queue.add(key)
        except Exception:
            log.exception("%s: cannot tell what there is to look after; changes are still heard", self.controller.name)

    async def _work(self) -> None:
        while True:
            try:
                async with self._queue.next() as key:
                    await self._handle(key)
            except QueueClosed:
                return

    async def _handle(self, key: Key) -> None:
        wait = self._expected.wait(key, self._clock())
        if wait:
            self._queue.add_after(key, wait)
            return
        began = self._clock()
        try:
            result = await self._pass(key)
        except FenceLost:
            self._metrics.fenced.inc()
            raise
        except Unreachable as outage:
            log.warning("%s %s: %s", self.controller.name, key, outage)
            result = "unreachable"
            self._queue.add_rate_limited(key)
        except Exception as mistake:
            result = "error"
            self._mistake(key, mistake)
        self._metrics.passes.labels(self.controller.name, result).inc()
        self._metrics.seconds.labels(self.controller.name).observe(self._clock() - began)
        # Passes that write nothing never wait for anything, and would keep the loop from everybody else.
        await asyncio.sleep(0)

    async def _pass(self, key: Key) -> str:
        decision = await self._decide(key)
        for event in decision.events:
            self._tell(event)
        outcome = await self._executor.run(decision.actions, lambda action, answer: self._done(key, action, answer))
        return self._after(key, decision, outcome)

    async def _decide(self, key: Key) -> Decision:
        failure = self._failures.get(key, "")
        answers: Mapping[Read, Answer] = {}
        for _ in range(_MOST_ROUNDS):
            observed = self._informers.look(answers, failure)
            began = self._clock()
            decision = self.controller.reconcile(key, observed, self._now())
            self._pause_after(key, self._clock() - began)
            if not decision.reads:
                return decision
            asked = [read for read in decision.reads if read not in answers]
            found = await asyncio.gather(*(self._executor.read(read) for read in asked))
            answers = {**answers, **dict(zip(asked, found, strict=True))}
        raise RuntimeError(f"{self.controller.name} {key}: still asking after {_MOST_ROUNDS} rounds")

    def _pause_after(self, key: Key, seconds: float) -> None:
        if seconds > _WORTH_A_PAUSE:
            self._expected.hold(key, self._clock() + min(seconds * _PAUSE_FACTOR, _LONGEST_PAUSE))

    def _done(self, key: Key, action: Action, answer: Object) -> None:
        """A write was made: expect to see it."""
        store = self._informers.observed.stores.get(action.resource)
        if store is None:
            return
        if isinstance(action, Delete):
            place = {"metadata": {"namespace": action.namespace, "name": action.name}}
            wanted = Expectation(action.uid, gone=True)
        else:
            place, wanted = answer, Expectation(uid_of(answer), revision_of(answer))
        seen = store.objects.get((namespace_of(place), name_of(place)))
        self._expected.expect(key, action.resource, place, wanted, seen, self._clock())

    def _after(self, key: Key, decision: Decision, outcome: Outcome) -> str:
        if outcome.failure:
            self._failures[key] = outcome.failure
            log.info("%s %s: %s", self.controller.name, key, outcome.failure)
        else:
            self._failures.pop(key, None)
        if not outcome.ok:
            if outcome.retry_after:
                self._expected.hold(key, self._clock() + outcome.retry_after)
                self._queue.add_after(key, outcome.retry_after)
            else:
                self._queue.add_rate_limited(key)
            return "failure" if outcome.failure else "requeue"
        self._queue.forget(key)
        if decision.requeue_after is not None:
            self._queue.add_after(key, decision.requeue_after)
            return "requeue_after"
        return "success"

    def _mistake(self, key: Key, mistake: Exception) -> None:
        delay = self._queue.add_rate_limited(key)
        log.error("%s %s: again in %.3g s", self.controller.name, key, delay, exc_info=mistake)
        store = self._informers.observed.stores.get(key.resource or self.controller.resource)
        about = store.objects.get((key.namespace, key.name)) if store is not None else None
        if about is not None:
            text = f"{self.controller.name} controller cannot handle this object: {type(mistake).__name__}: {mistake}"
            self._tell(Event(about, "ReconcileError", text[:1000], "Warning"))
