"""One node's agent put together: view, workers, probes, registration, and what runs now and then.

Start: the node is registered; the runtime is opened and looked at, again and again until it answers, and so long the
node is not ready; then its pods are followed, and containers that run already are taken over as they are. Stop lets go
of everything and ends nothing: the next start of the agent finds it all again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from node_agent.node.facts import Machine
from node_agent.node.settings import NodeSettings
from node_agent.node.status import Situation, allocatable
from node_agent.pod import spec
from node_agent.pod.config import NodeFacts
from node_agent.pod.spec import Object
from node_agent.probes.hooks import LifecycleHooks
from node_agent.probes.prober import Prober, Runner
from node_agent.runtime.errors import RuntimeFault
from node_agent.runtime.interface import Runtime
from node_agent.runtime.types import ContainerStatus, Image
from node_agent.shell.context import Context, SourceLookup, Volumes
from node_agent.shell.dispatch import Dispatch
from node_agent.shell.mirrors import Mirrors
from node_agent.shell.records import PodEvents, Recorder
from node_agent.shell.registration import NodeClient, Registration
from node_agent.shell.reports import Reports, Writer
from node_agent.shell.usage import UsageMeter
from node_agent.shell.view import RuntimeView

log = logging.getLogger(__name__)


class AgentClient(Writer, NodeClient, Protocol):
    """What the agent needs of control.client.Client."""


class PodSource(Protocol):
    """The pods of this node as the API server has them: control.client.Informer, or a share of one."""

    def subscribe(self, handler: Callable[[Object | None, Object | None], None]) -> Callable[[], None]: ...

    async def start(self) -> Any: ...

    async def stop(self) -> None: ...


class Memory(Protocol):
    """The checkpoint: pods by uid, and the back-offs."""

    def remember(self, pod: Object) -> None: ...

    def forget(self, uid: str) -> None: ...

    def recall(self, uid: str) -> Object | None: ...

    def pods(self) -> list[Object]: ...


class Forgets:
    """No checkpoint."""

    def remember(self, pod: Object) -> None:
        return

    def forget(self, uid: str) -> None:
        return

    def recall(self, uid: str) -> Object | None:
        return None

    def pods(self) -> list[Object]:
        return []


@dataclass(kw_only=True)
class Parts:
    """What a node's agent is made of; each has a pretended twin for simulated nodes."""

    client: AgentClient
    pods: PodSource
    runtime: Runtime
    recorder: Recorder
    lookup: SourceLookup
    volumes: Volumes
    handlers: Runner
    log_root: str
    root: Path
    memory: Memory = field(default_factory=Forgets)
    last_words: Callable[[ContainerStatus], str] = lambda status: ""
    now: Callable[[], float] = time.time
    whole_machine: bool = True
    look_every: tuple[float, float] = (1.0, 10.0)  # seconds, without and with events of the runtime
    runtime_patience: float = 30.0  # seconds that it may be silent until the node is not ready


def node_facts(settings: NodeSettings, machine: Machine, log_root: str) -> NodeFacts:
    """What pods' configurations take from the node."""
    return NodeFacts(
        name=settings.name,
        ips=settings.ips,
        memory=machine.memory,
        allocatable=allocatable(settings, machine),
        dns=settings.dns,
        log_root=log_root,
        pids=settings.pod_pids,
        pod_network=settings.pod_network,
        pod_loopback=settings.pod_loopback,
    )


class NodeAgent:
    """Used inside one event loop."""

    def __init__(self, settings: NodeSettings, machine: Machine, parts: Parts) -> None:
        self.settings, self.machine, self.parts = settings, machine, parts
        self.began = parts.now()
        self.images: tuple[Image, ...] = ()
        self.pressures: frozenset[str] = frozenset()
        self.faults: dict[str, str] = {}  # part → why the node is not ready because of it
        self.runtime_version = ""
        self.view = RuntimeView(
            parts.runtime, settings.name, self._stirred, parts.last_words, *parts.look_every, parts.runtime_patience
        )
        self.registration = Registration(parts.client, settings, machine, self.situation, parts.now)
        self.reports = Reports(parts.client, lambda pod: self.mirrors.mirror_of(pod))
        self.mirrors = Mirrors(parts.client, lambda: self.registration.node)
        self.usage = UsageMeter(parts.runtime, settings.name, parts.now, parts.whole_machine)
        events = PodEvents(parts.recorder)
        self.prober = Prober(parts.handlers, events, self.address, self._stirred, parts.now, self.began)
        self.context = Context(
            runtime=parts.runtime,
            view=self.view,
            events=events,
            lookup=parts.lookup,
            volumes=parts.volumes,
            probes=self.prober,
            hooks=LifecycleHooks(parts.handlers, self.address),
            api=self.reports,
            node=node_facts(settings, machine, parts.log_root),
            now=parts.now,
        )
        self.dispatch = Dispatch(
            self.context,
            lambda: self.registration.node,
            lambda: self.pressures,
            parts.memory.remember,
            parts.memory.forget,
            parts.memory.recall,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._unsubscribe: Callable[[], None] | None = None
        self._heard: set[str] = set()  # uids that the API server has
        self.reached = False  # the runtime has answered once; before that its silence says nothing
        self.looked = asyncio.Event()  # what runs is known
        # Once the runtime answers, and before any of its pods is looked after or wound up.
        self.before_pods: Callable[[], Awaitable[None]] | None = None
        self.heard = False  # whether the API server has told which pods are this node's

    # ---- life ----

    async def start(self) -> None:
        """Register the node; take over what runs and follow the API server as soon as the runtime answers."""
        self._spawn(self.registration.run(), "registration")
        self._spawn(self._take_over(), "pods of the node")

    async def _take_over(self) -> None:
        await self._reach_runtime()
        if self.before_pods is not None:
            await self.before_pods()
        self.looked.set()
        self._spawn(self.view.follow(), "runtime view")
        await self._follow_pods()

    async def stop(self) -> None:
        """Let go; containers go on."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        await self.parts.pods.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.dispatch.stop()
        self.prober.close()
        await self.reports.close()
        await self.mirrors.close()
        await self.parts.runtime.close()

    def also(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Something more that runs as long as the agent does."""
        self._spawn(work, name)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(self._guarded(work, name), name=name)
        # A task that is cancelled before it began never awaits its coroutine: that must be closed by hand.
        task.add_done_callback(lambda _: work.close())
        self._tasks.append(task)

    async def _guarded(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except Exception:
            log.exception("%s of node %s ended by a mistake", name, self.settings.name)
            self.fault(name, f"{name} of the agent has failed; its log says why")

    async def _reach_runtime(self) -> None:
        while True:
            try:
                await self.parts.runtime.open()
                version = await self.parts.runtime.version()
                await self.view.look()
                break
            except RuntimeFault as problem:
                log.warning("the container runtime of node %s does not answer yet: %s", self.settings.name, problem)
                self.view.failed(problem)
                self.registration.changed()
                await asyncio.sleep(self.context.retry)
        self.view.answered()
        self.reached = True
        self.runtime_version = version.for_node()
        self.registration.changed()
        self.context.runtime_name = version.runtime
        health = await self.parts.runtime.health()
        for remark in health.degraded:
            log.info("runtime: %s", remark)

    async def _follow_pods(self) -> None:
        """Go on with the pods of the checkpoint at once; the API server's word replaces them when it comes."""
        for pod in self.parts.memory.pods():
            if spec.uid(pod) in self.view.seen and not spec.is_static(pod):
                self.dispatch.desired(pod)
        await self.registration.registered.wait()
        await self.parts.pods.start()
        self._unsubscribe = self.parts.pods.subscribe(self._pod_changed)
        self.heard = True
        self._forget_unheard()
        self.dispatch.heard()
        self.mirrors.heard()

    def _forget_unheard(self) -> None:
        """Pods of the checkpoint that the API server does not have any more."""
        for uid, worker in list(self.dispatch.workers.items()):
            if worker.in_api and uid not in self._heard:
                worker.vanish(worker.pod)
        known = {*self._heard, *self.dispatch.workers, *self.view.seen}  # what still runs needs its last word
        for uid in {spec.uid(pod) for pod in self.parts.memory.pods()} - known:
            self.parts.memory.forget(uid)

    # ---- news ----

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        pod = new if new is not None else old
        if pod is not None and new is not None:
            self._heard.add(spec.uid(pod))
        elif pod is not None:
            self._heard.discard(spec.uid(pod))
        self.mirrors.changed(old, new)
        if new is not None and spec.is_mirror(new):
            self.dispatch.stirred(spec.annotations_of(new)[spec.MIRROR])
        self.dispatch.changed(old, new)

    def _stirred(self, uid: str) -> None:
        self.dispatch.stirred(uid)

    def address(self, uid: str) -> str:
        """Where a pod is reached: its own address, else the node's."""
        sandboxes = self.view.of(uid).sandboxes
        if sandboxes and sandboxes[0].ips:
            return sandboxes[0].ips[0]
        return self.settings.ips[0] if self.settings.ips else "127.0.0.1"

    # ---- the node's state ----

    def situation(self) -> Situation:
        """How the node is at present."""
        faults = dict(self.faults)
        if self.view.down:
            faults["runtime"] = f"container runtime is down: {self.view.down}"
        return Situation(self.pressures, tuple(faults.values()), self.images, self.runtime_version)

    def fault(self, part: str, why: str) -> None:
        """The node is not ready because of that part; "" when it is well again."""
        before = self.faults.get(part, "")
        if why:
            self.faults[part] = why
        else:
            self.faults.pop(part, None)
        if before != why:
            self.registration.changed()
