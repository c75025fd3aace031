"""What the runtime has of this node's pods, by pod: a look at everything now and then, at one pod after each action.

Invariants: `seen` never goes back in time for a pod: an overview that began before a pod was looked at on its own does
not replace that look. Ends of containers are read once (exit code, termination message) and kept while the runtime has
them. Faults assumed: the runtime dies, hangs until its own deadline, loses events. Events are hints only.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from node_agent.pod import labels
from node_agent.pod.observed import Container, Sandbox, State
from node_agent.runtime.errors import NotFound, RuntimeFault
from node_agent.runtime.interface import Runtime
from node_agent.runtime.types import ContainerState, ContainerStatus

log = logging.getLogger(__name__)

# Seconds until a look that failed is taken again.
_AGAIN = 1.0


@dataclass(frozen=True, slots=True)
class Seen:
    """Sandboxes and containers of one pod, newest first. name, namespace: as their labels say."""

    sandboxes: tuple[Sandbox, ...] = ()
    containers: Mapping[str, tuple[Container, ...]] = field(default_factory=dict)
    name: str = ""
    namespace: str = ""

    def every_container(self) -> Iterable[Container]:
        return itertools.chain.from_iterable(self.containers.values())


class RuntimeView:
    """last_words(status) reads the termination message of a container that has ended.

    patience: seconds that looks may fail before the runtime counts as down. A node that is not ready loses its pods'
    endpoints, which one refused call is no reason for; the kubelet waits as long.
    """

    def __init__(
        self,
        runtime: Runtime,
        node: str,
        changed: Callable[[str], None],
        last_words: Callable[[ContainerStatus], str],
        period: float = 1.0,
        period_with_events: float = 10.0,
        patience: float = 30.0,
    ) -> None:
        self.runtime, self.node = runtime, node
        self.seen: dict[str, Seen] = {}
        self.fault: str = ""  # why the last look failed, "" when it did not
        self._patience = patience
        self._well_until = float("-inf")  # time of the loop: the last look that succeeded, and patience
        self._changed, self._last_words = changed, last_words
        self._period, self._period_with_events = period, period_with_events
        self._looks = itertools.count(1)
        self._looked: dict[str, int] = {}  # pod → number of its newest look
        self._ends: dict[str, Container] = {}
        self._hint = asyncio.Event()
        self._has_events = False

    def of(self, uid: str) -> Seen:
        return self.seen.get(uid, Seen())

    @property
    def down(self) -> str:
        """Why the runtime has not been seen for long, or never; "" when it has."""
        return self.fault if asyncio.get_running_loop().time() >= self._well_until else ""

    def failed(self, problem: Exception) -> None:
        """A look, or what had to come before, has failed."""
        self.fault = str(problem) or type(problem).__name__

    def answered(self) -> None:
        """The runtime does what it is asked."""
        self.fault = ""
        self._well_until = asyncio.get_running_loop().time() + self._patience

    async def look(self) -> None:
        """Look at everything. Raises RuntimeFault."""
        number = next(self._looks)
        sandboxes = await self.runtime.list_sandboxes({labels.NODE: self.node})
        statuses = await self.runtime.container_statuses()
        pods: dict[str, tuple[list[Sandbox], list[Container]]] = {}
        names: dict[str, tuple[str, str]] = {}
        for sandbox in sandboxes:
            uid = sandbox.labels.get(labels.POD_UID, sandbox.uid)
            pods.setdefault(uid, ([], []))[0].append(labels.seen_sandbox(sandbox))
            names[uid] = (sandbox.namespace, sandbox.name)
        for status in statuses:
            of = status.container.labels
            if of.get(labels.NODE) != self.node or labels.POD_UID not in of:
                continue
            pods.setdefault(of[labels.POD_UID], ([], []))[1].append(self._container(status))
            names[of[labels.POD_UID]] = (of.get(labels.POD_NAMESPACE, ""), of.get(labels.POD_NAME, ""))
        for uid in {*pods, *self.seen}:
            found = pods.get(uid, ([], []))
            self._take(uid, number, *found, *names.get(uid, ("", "")))
        known = {c.id for seen in self.seen.values() for c in seen.every_container()}
        self._ends = {key: end for key, end in self._ends.items() if key in known}

    async def look_at(self, uid: str) -> Seen:
        """Look at one pod. Raises RuntimeFault."""
        number = next(self._looks)
        wanted = {labels.POD_UID: uid, labels.NODE: self.node}
        sandboxes = await self.runtime.list_sandboxes(wanted)
        containers = await self.runtime.list_containers(labels=wanted)
        found: list[Container] = []
        for container in containers:
            ended = self._ends.get(container.id)
            if ended is not None and container.state is ContainerState.EXITED:
                found.append(ended)
                continue
            with contextlib.suppress(NotFound):
                found.append(self._container(await self.runtime.container_status(container.id)))
        some = next(iter(sandboxes), None)
        self._take(
            uid,
            number,
            [labels.seen_sandbox(s) for s in sandboxes],
            found,
            some.namespace if some else "",
            some.name if some else "",
        )
        return self.of(uid)

    def _container(self, status: ContainerStatus) -> Container:
        known = self._ends.get(status.id)
        if known is not None:
            return known
        if status.state is not ContainerState.EXITED:
            return labels.seen_container(status)
        found = labels.seen_container(status, self._last_words(status))
        self._ends[status.id] = found
        return found

    def _take(
        self, uid: str, number: int, sandboxes: list[Sandbox], found: list[Container], namespace: str, name: str
    ) -> None:
        if self._looked.get(uid, 0) > number:
            return
        containers: dict[str, tuple[Container, ...]] = {}
        for container in sorted(found, key=lambda c: (c.attempt, c.created), reverse=True):
            containers[container.name] = (*containers.get(container.name, ()), container)
        newest = tuple(sorted(sandboxes, key=lambda s: (s.attempt, s.created), reverse=True))
        before = self.seen.get(uid, Seen())
        seen = Seen(newest, containers, name or before.name, namespace or before.namespace)
        if not newest and not containers:
            self.seen.pop(uid, None)
            self._looked.pop(uid, None)
            seen = Seen()
        else:
            self.seen[uid] = seen
            self._looked[uid] = number
        if (seen.sandboxes, seen.containers) != (before.sandboxes, before.containers):
            self._changed(uid)

    # ---- following ----

    async def follow(self) -> None:
        """Look again and again, sooner when the runtime says that something happened."""
        listener = asyncio.create_task(self._listen(), name="runtime events")
        try:
            while True:
                period = self._period_with_events if self._has_events and not self.fault else self._period
                period = min(period, _AGAIN) if self.fault else period
                with contextlib.suppress(TimeoutError):
                    # Not wait_for: in Python 3.11 it loses a cancellation that comes with the event.
                    async with asyncio.timeout(period):
                        await self._hint.wait()
                self._hint.clear()
                await self._look_safely()
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _look_safely(self) -> None:
        try:
            await self.look()
            if self.fault:
                log.info("the runtime answers again")
            self.answered()
        except RuntimeFault as problem:
            if not self.fault:
                log.warning("the runtime cannot be looked at: %s", problem)
            self.failed(problem)
        except Exception as bug:
            log.exception("looking at the runtime failed")
            self.failed(bug)

    async def _listen(self) -> None:
        """A subscription that stays open means that the runtime tells; one that ends at once, that it does not."""
        while True:
            lasting = asyncio.get_running_loop().call_later(self._period, self._told)
            try:
                async for _ in self.runtime.events():
                    self._hint.set()
            except RuntimeFault as problem:
                log.info("the runtime's events ended: %s", problem)
            lasting.cancel()
            self._has_events = False
            self._hint.set()
            await asyncio.sleep(self._period)

    def _told(self) -> None:
        self._has_events = True


def ended_containers(seen: Seen) -> list[Container]:
    return [c for c in seen.every_container() if c.state is State.EXITED]
