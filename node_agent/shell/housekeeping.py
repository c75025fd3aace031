"""What a node does now and then: measures pressure and evicts, cleans up, rotates logs, brings volumes up to date.

Rounds are seconds apart and each part fails for itself: a full disk keeps nothing else from being done. What the node
suffers from is a condition of the Node (and an event when it begins or ends), not a crash of the agent.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from node_agent.logs.rotation import LogRotation
from node_agent.machine.pressure import read_pressure
from node_agent.node.eviction import Usage, verdict, victim
from node_agent.node.facts import Pressure
from node_agent.node.garbage import ImageUse, dead_containers, images_to_remove, old_sandboxes
from node_agent.node.thresholds import Threshold, crossed, measured
from node_agent.pod import spec
from node_agent.pod.observed import Container
from node_agent.runtime.errors import ImageInUse, RuntimeFault
from node_agent.runtime.types import FsUsage
from node_agent.shell.agent import NodeAgent
from node_agent.shell.records import NORMAL, WARNING, node_reference
from node_agent.shell.view import Seen
from node_agent.volumes.keeper import VolumeKeeper
from node_agent.volumes.problem import VolumeProblem

log = logging.getLogger(__name__)

_ROUND = 10.0
_CLEAN_EVERY, _IMAGES_EVERY = 6, 30  # rounds
_HELD = {
    "MemoryPressure": ("NodeHasInsufficientMemory", "NodeHasSufficientMemory"),
    "DiskPressure": ("NodeHasDiskPressure", "NodeHasNoDiskPressure"),
    "PIDPressure": ("NodeHasInsufficientPID", "NodeHasSufficientPID"),
}
Measure = Callable[[Path, FsUsage | None], Pressure]


class Housekeeping:
    """Of one node. tokens_due(): pods whose tokens should be renewed."""

    def __init__(
        self,
        agent: NodeAgent,
        volumes: VolumeKeeper,
        tokens_due: Callable[[], list[str]],
        measure: Measure = read_pressure,
    ) -> None:
        self._agent, self._volumes, self._tokens_due, self._measure = agent, volumes, tokens_due, measure
        settings, runtime = agent.settings, agent.parts.runtime
        self._rotation = LogRotation(runtime, agent.parts.log_root, settings.log_max_size, settings.log_max_files)
        self._dirty: set[str] = set()
        self._crossed_at: dict[str, float] = {}  # condition → when a threshold of it was last crossed
        self._below_since: dict[Threshold, float] = {}
        self._image_uses: dict[str, ImageUse] = {}
        self._was_ready: bool | None = None
        self._stir = asyncio.Event()
        self._refreshed: dict[str, float] = {}

    def volumes_changed(self, uid: str) -> None:
        """Something that the pod's volumes show is another now."""
        self._dirty.add(uid)
        self._stir.set()

    async def run(self) -> None:
        """For ever, after a first round at once."""
        number, due = 0, 0.0
        loop = asyncio.get_running_loop()
        while True:
            self._stir.clear()
            await self._guarded(self.refresh_volumes)
            if loop.time() >= due:
                due = loop.time() + _ROUND
                await self.round(number)
                number += 1
            try:
                async with asyncio.timeout_at(due):
                    await self._stir.wait()
            except TimeoutError:
                continue

    async def round(self, number: int) -> None:
        """One round of everything that is due."""
        await self._guarded(self.look_after_node)
        await self._guarded(self._rotation.round)
        if number % _CLEAN_EVERY == 0:
            await self._guarded(self.clean_containers)
            await self._guarded(self.clean_folders)
        if number % _IMAGES_EVERY == 0:
            await self._guarded(self.clean_images)
        elif number % _CLEAN_EVERY == 0:
            await self._guarded(self.list_images)

    async def _guarded(self, part: Callable[[], Awaitable[None]]) -> None:
        try:
            await part()
        except (RuntimeFault, OSError) as problem:
            log.warning("%s: %s", part.__name__.replace("_", " "), problem)
        except Exception:
            log.exception("%s failed", part.__name__.replace("_", " "))

    # ---- volumes ----

    async def refresh_volumes(self) -> None:
        """Those whose sources changed, whose tokens are due, and each now and then."""
        agent, now = self._agent, self._agent.parts.now()
        due = self._dirty | set(self._tokens_due())
        due |= {u for u, at in self._refreshed.items() if now - at >= agent.settings.sync_frequency}
        self._dirty = set()
        for uid in [uid for uid in self._refreshed if uid not in agent.dispatch.workers]:
            del self._refreshed[uid]
        for uid in due:
            worker = agent.dispatch.workers.get(uid)
            if worker is None or spec.deleting(worker.pod) or spec.terminal(worker.pod):
                continue
            self._refreshed[uid] = now
            try:
                await self._volumes.refresh(worker.pod)
            except VolumeProblem as problem:
                agent.context.events.warning(worker.pod, "FailedMount", str(problem))

    # ---- pressure ----

    async def look_after_node(self) -> None:
        """Measure, set the conditions, evict one pod if something is short; tell of changes."""
        agent = self._agent
        # Until the runtime is open, who opens it says why it is not: it has no folders yet that could be looked at.
        images = await self._look_at_runtime() if agent.reached else None
        pressure = await asyncio.to_thread(self._measure, agent.parts.root, images)
        self._conditions(pressure)
        self._tell_ready()
        await self._relieve(pressure)

    async def _look_at_runtime(self) -> FsUsage | None:
        """Whether it is well; the disk of its images, if it is."""
        agent = self._agent
        health = await agent.parts.runtime.health()
        agent.fault("runtime", "" if health.ready else f"container runtime is down: {health.message or health.reason}")
        network = f"container runtime network not ready: {health.message}"
        # A runtime without a network of its own will do where every pod has the node's.
        matters = agent.settings.pod_network and health.ready and not health.network_ready
        agent.fault("network", network if matters else "")
        return await agent.parts.runtime.image_fs() if health.ready else None

    def _conditions(self, pressure: Pressure) -> None:
        agent, now = self._agent, self._agent.parts.now()
        short = crossed((*agent.settings.eviction_hard, *agent.settings.eviction_soft), pressure)
        for threshold in short:
            self._crossed_at[threshold.condition] = now
        lasting = agent.settings.pressure_transition
        held = frozenset(c for c, at in self._crossed_at.items() if now - at < lasting or at == now)
        for condition in held ^ agent.pressures:
            reason = _HELD[condition][0 if condition in held else 1]
            self._node_event(NORMAL, reason, f"Node {agent.settings.name} status is now: {reason}")
        if held != agent.pressures:
            agent.pressures = held
            agent.registration.changed()

    def _tell_ready(self) -> None:
        ready = not self._agent.situation().faults
        if ready != self._was_ready:
            self._was_ready = ready
            reason = "NodeReady" if ready else "NodeNotReady"
            self._node_event(NORMAL, reason, f"Node {self._agent.settings.name} status is now: {reason}")

    def _node_event(self, kind: str, reason: str, message: str) -> None:
        self._agent.parts.recorder.record(node_reference(self._agent.settings.name), kind, reason, message)

    async def _relieve(self, pressure: Pressure) -> None:
        """First what nobody misses, then one pod."""
        threshold = self._to_act_on(pressure)
        if threshold is None:
            return
        message = f"Attempting to reclaim {threshold.resource}"
        self._node_event(WARNING, "EvictionThresholdMet", message)
        if threshold.condition == "DiskPressure":
            await self.clean_containers(age=0.0)
            await self.clean_images(everything=True)
            images = await self._agent.parts.runtime.image_fs()
            pressure = await asyncio.to_thread(self._measure, self._agent.parts.root, images)
            if threshold not in crossed((threshold,), pressure):
                return
        if any(w.verdict is not None and not spec.terminal(w.pod) for w in self._agent.dispatch.workers.values()):
            return  # the last one is still on its way out
        await self._evict(threshold, pressure)

    def _to_act_on(self, pressure: Pressure) -> Threshold | None:
        settings, now = self._agent.settings, self._agent.parts.now()
        short = crossed((*settings.eviction_hard, *settings.eviction_soft), pressure)
        self._below_since = {t: self._below_since.get(t, now) for t in short}
        ripe = [t for t in short if now - self._below_since[t] >= t.grace]
        return min(ripe, key=lambda t: t.condition != "MemoryPressure", default=None)

    async def _evict(self, threshold: Threshold, pressure: Pressure) -> None:
        agent = self._agent
        sample = await agent.usage.sample()
        usage: dict[str, Usage] = {}
        for uid, used in sample.pods.items():
            disk = sum(u.stats.fs_used for u in used) + await asyncio.to_thread(self._volumes.usage, uid)
            usage[uid] = Usage(sum(u.stats.memory_working_set for u in used), disk, sum(u.stats.pids for u in used))
        pod = victim(threshold, agent.dispatch.active(), usage)
        if pod is None:
            log.warning("the node is low on %s, and there is no pod that may be evicted", threshold.resource)
            return
        available, capacity = measured(threshold.signal, pressure)
        used_by = usage.get(spec.uid(pod), Usage())
        why = verdict(threshold, pod, used_by, available, threshold.bound(capacity))
        agent.context.events.warning(pod, "Evicted", why.message)
        soft = threshold in agent.settings.eviction_soft
        grace = min(agent.settings.eviction_max_grace, spec.grace_period(pod)) if soft else 0.0
        agent.dispatch.workers[spec.uid(pod)].condemn(why, grace)

    # ---- cleaning up ----

    async def clean_containers(self, age: float = 60.0) -> None:
        """Dead containers beyond what is kept, and sandboxes without any."""
        agent, settings = self._agent, self._agent.settings
        seen = dict(agent.view.seen)
        pods = {uid: found.containers for uid, found in seen.items()}
        now = agent.parts.now()
        touched = set()
        for container in dead_containers(pods, settings.dead_containers_each, settings.dead_containers_all, age, now):
            uid = next(u for u, found in seen.items() if container in found.containers.get(container.name, ()))
            await agent.parts.runtime.remove_container(container.id)
            await asyncio.to_thread(self._remove_traces, uid, seen[uid], container)
            touched.add(uid)
        for uid, found in seen.items():
            kept = {c.sandbox for c in found.every_container()}
            for sandbox in old_sandboxes(found.sandboxes, kept):
                await agent.parts.runtime.remove_sandbox(sandbox)
                touched.add(uid)
        for uid in touched:
            await agent.view.look_at(uid)

    def _remove_traces(self, uid: str, of: Seen, container: Container) -> None:
        """The log and the termination message of a run that is forgotten now. Blocks."""
        folder = Path(self._agent.parts.log_root) / f"{of.namespace}_{of.name}_{uid}" / container.name
        for path in [*folder.glob(f"{container.attempt}.log*")]:
            path.unlink(missing_ok=True)
        self._volumes.message_file(uid, container.name, container.attempt).unlink(missing_ok=True)

    async def clean_folders(self) -> None:
        """What is left on the disk of pods that are no more."""
        if not self._agent.heard:
            return
        await self._volumes.clean(self._wanted)
        await asyncio.to_thread(_clean_logs, Path(self._agent.parts.log_root), self._wanted)

    def _wanted(self, uid: str) -> bool:
        """Whether the pod is here. Asked before each removal: pods come while a large leftover goes."""
        return uid in self._agent.dispatch.workers or uid in self._agent.view.seen

    async def list_images(self) -> None:
        """For the node's status."""
        images = tuple(await self._agent.parts.runtime.list_images())
        if images != self._agent.images:
            self._agent.images = images
            self._agent.registration.changed()

    async def clean_images(self, everything: bool = False) -> None:
        """Images that are not used, when they take too much room. everything: however young and few they are."""
        await self.list_images()
        agent, settings, now = self._agent, self._agent.settings, self._agent.parts.now()
        running = {c.image_id for seen in agent.view.seen.values() for c in seen.every_container()}
        in_use = running | {c.image for seen in agent.view.seen.values() for c in seen.every_container()}
        used: set[str] = set()
        for image in agent.images:
            before = self._image_uses.get(image.id, ImageUse(now))
            busy = bool(in_use & {image.id, *image.tags, *image.digests})
            used |= {image.id} if busy else set()
            self._image_uses[image.id] = ImageUse(before.seen, now if busy else before.used)
        self._image_uses = {i.id: self._image_uses[i.id] for i in agent.images}
        disk = await agent.parts.runtime.image_fs()
        high, low, age = (
            (0, 0, 0.0) if everything else (settings.image_high, settings.image_low, settings.image_min_age)
        )
        for image in images_to_remove(
            agent.images, self._image_uses, used, disk, high, low, age, settings.image_max_age, now
        ):
            try:
                await agent.parts.runtime.remove_image(image.id)
                log.info("image %s was removed: nothing uses it", (image.tags or (image.id,))[0])
            except ImageInUse:
                continue


def _clean_logs(root: Path, wanted: Callable[[str], bool]) -> None:
    """Folders of pods that are no more; their names end with the uid. Blocks."""
    if not root.is_dir():
        return
    for folder in root.iterdir():
        uid = folder.name.rpartition("_")[2]
        if folder.is_dir() and folder.name.count("_") >= 2 and not wanted(uid):
            shutil.rmtree(folder, ignore_errors=True)
