"""The volumes of this node's pods on its disk.

    <root>/pods/<uid>/volumes/<kind>/<name>      emptyDir, configMap, downwardAPI, projected
    <memory>/<uid>/<kind>/<name>                 what holds secrets: in memory, where the machine has a tmpfs for us
    <root>/pods/<uid>/volume-subpaths/…          sub paths, where the runtime takes paths alone (pinned.py)
    <root>/pods/<uid>/containers/<name>/<n>      termination message of one run

Invariants: set_up and tear_down are idempotent; files are either the old or the new version, never between; nothing
outside of <root> is ever removed. Faults assumed: full disk, sources that are missing or unreachable, a killed agent.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from control.api.status import StatusError
from control.client.errors import Unreachable
from node_agent.pod import spec
from node_agent.pod.config import MountPlan, NodeFacts, mount_plans
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.needs import Sources
from node_agent.pod.spec import Object
from node_agent.runtime.types import Mount
from node_agent.volumes import files, host, pinned, scratch
from node_agent.volumes.atomic import write_files
from node_agent.volumes.memory import OWNER, memory_folder
from node_agent.volumes.mounted import mounts_below
from node_agent.volumes.problem import VolumeProblem

log = logging.getLogger(__name__)


class Lookup(Protocol):
    """Where the content of volumes comes from."""

    async def sources(self, pod: Object) -> Sources: ...

    async def find(self, resource: str, name: str, namespace: str) -> Object | None: ...


class VolumeKeeper:
    """Of one node. node(): its Node object, for local volumes' affinity.

    by_path: the runtime takes paths alone, so that sub paths are mounted for it; else it goes down to them itself.
    """

    def __init__(
        self, root: Path, lookup: Lookup, node: Callable[[], Object], facts: NodeFacts, *, by_path: bool = False
    ) -> None:
        self._root, self._lookup, self._node, self._facts, self._by_path = root, lookup, node, facts, by_path
        self._memory = root / "memory"
        self._paths: dict[str, dict[str, Path]] = {}  # pod → volume → where it is
        self._locks: dict[str, asyncio.Lock] = {}

    async def open(self) -> None:
        """Make the folders of the node. Raises OSError."""
        in_memory: Path | None = await asyncio.to_thread(memory_folder, self._root)
        self._memory = in_memory or self._root / "memory"
        if self._memory.is_relative_to(self._root):
            log.warning(
                "secrets of volumes are kept below %s on the disk: this machine has no tmpfs for them", self._root
            )
        for folder in (self._root, self._root / "pods", self._memory):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o711)

    # ---- setting up ----

    async def set_up(self, pod: Object) -> None:
        """Make all volumes of the pod ready, or bring their content up to date. Raises VolumeProblem."""
        uid = spec.uid(pod)
        async with self._locks.setdefault(uid, asyncio.Lock()):
            volumes = spec.spec(pod).get("volumes") or []
            sources = await self._sources(pod, volumes)
            found: dict[str, Path] = {}
            for volume in volumes:
                found[volume["name"]] = await self._one(pod, volume, sources)
            self._paths[uid] = found

    async def refresh(self, pod: Object) -> None:
        """Bring the content of volumes that are set up already up to date. Raises VolumeProblem."""
        if spec.uid(pod) in self._paths:
            await self.set_up(pod)

    async def _sources(self, pod: Object, volumes: list[Object]) -> Sources:
        if not any(kind in volume for volume in volumes for kind in files.KINDS):
            return Sources()
        try:
            return await self._lookup.sources(pod)
        except (StatusError, Unreachable) as problem:
            first = next(v["name"] for v in volumes if any(kind in v for kind in files.KINDS))
            raise VolumeProblem(first, str(problem)) from None

    async def _one(self, pod: Object, volume: Object, sources: Sources) -> Path:
        name = volume["name"]
        try:
            if any(kind in volume for kind in files.KINDS):
                return await self._written(pod, volume, sources)
            if "hostPath" in volume:
                return await asyncio.to_thread(host.host_path, name, volume["hostPath"])
            if "persistentVolumeClaim" in volume or "ephemeral" in volume:
                return await self._claimed(pod, volume)
            if "emptyDir" in volume or set(volume) == {"name"}:
                return await self._empty(pod, volume)
        except OSError as problem:
            raise VolumeProblem(name, f"{problem.strerror}: {problem.filename or ''}") from None
        except ConfigProblem as problem:
            raise VolumeProblem(name, str(problem)) from None
        kind = next((key for key in volume if key != "name"), "?")
        raise VolumeProblem(name, f"volumes of type {kind} are not supported by this agent")

    async def _written(self, pod: Object, volume: Object, sources: Sources) -> Path:
        content = files.volume_files(pod, volume, sources, self._facts.allocatable)
        kind = next(kind for kind in files.KINDS if kind in volume)
        folder = self._folder(pod, kind, volume["name"], secret=files.holds_secrets(volume))
        owner = files.token_owner(pod) if kind == "projected" else None
        await asyncio.to_thread(write_files, folder, content, _group(pod), owner)
        return folder

    async def _empty(self, pod: Object, volume: Object) -> Path:
        folder = self._folder(pod, "emptyDir", volume["name"])
        await scratch.empty_dir(folder, volume.get("emptyDir") or {}, _group(pod))
        return folder

    async def _claimed(self, pod: Object, volume: Object) -> Path:
        name = volume["name"]
        source = volume.get("persistentVolumeClaim") or {}
        claim_name = source.get("claimName") or f"{spec.name(pod)}-{name}"
        try:
            claim = await self._lookup.find("persistentvolumeclaims", claim_name, spec.namespace(pod))
            bound = spec.spec(claim or {}).get("volumeName")
            persistent = await self._lookup.find("persistentvolumes", bound, "") if bound else None
        except (StatusError, Unreachable) as problem:
            raise VolumeProblem(name, str(problem)) from None
        return await asyncio.to_thread(host.persistent_path, name, claim, claim_name, persistent, self._node())

    def _folder(self, pod: Object, kind: str, name: str, *, secret: bool = False) -> Path:
        if "/" in name or name in ("", ".", ".."):
            raise VolumeProblem(name, "the volume's name is no file name")
        if secret:
            return self._memory / spec.uid(pod) / kind / name
        return self._root / "pods" / spec.uid(pod) / "volumes" / kind / name

    # ---- mounts of a container ----

    async def mounts(self, pod: Object, container: Object, env: dict[str, str], attempt: int) -> tuple[Mount, ...]:
        """Where the container finds its volumes and its termination message. Raises ConfigProblem, VolumeProblem."""
        paths = self._paths.get(spec.uid(pod), {})
        claims_read_only = {
            v["name"]
            for v in spec.spec(pod).get("volumes") or []
            if (v.get("persistentVolumeClaim") or {}).get("readOnly")
        }
        found = []
        for number, plan in enumerate(mount_plans(pod, container, env)):
            root = paths.get(plan.volume)
            if root is None:
                raise VolumeProblem(plan.volume, "the volume is not set up")
            mount, read_only = plan.mount, plan.mount.read_only or plan.volume in claims_read_only
            read_only = read_only or self._is_written(pod, plan.volume)
            shown = Mount(str(root), mount.container_path, read_only, mount.propagation)
            if plan.sub_path:
                place = self._pins(spec.uid(pod)) / plan.volume / container["name"] / str(number)
                shown = await self._below(pod, plan, shown, place)
            found.append(shown)
        found.append(await asyncio.to_thread(self._message_mount, pod, container, attempt))
        return tuple(found)

    async def _below(self, pod: Object, plan: MountPlan, whole: Mount, place: Path) -> Mount:
        """The mount of a path below the volume, which the pod's containers may be changing at this moment."""
        top = Path(os.path.realpath(whole.host_path))
        source = await asyncio.to_thread(host.below, plan.volume, top, plan.sub_path)
        if self._by_path and self._is_written(pod, plan.volume):
            return replace(whole, host_path=str(source))  # containers cannot write there: it stays what it is
        below = str(source.relative_to(top))
        if not self._by_path:
            return replace(whole, host_path=str(top), below=below)
        try:
            async with self._locks.setdefault(spec.uid(pod), asyncio.Lock()):
                if spec.uid(pod) not in self._paths:
                    raise VolumeProblem(plan.volume, "the volume was taken apart")
                await asyncio.to_thread(pinned.pin, top, below, place)
        except OSError as problem:
            raise VolumeProblem(plan.volume, f"subPath {plan.sub_path!r}: {problem.strerror}") from None
        return replace(whole, host_path=str(place))

    def _pins(self, uid: str) -> Path:
        return self._root / "pods" / uid / "volume-subpaths"

    def _is_written(self, pod: Object, name: str) -> bool:
        """Volumes whose files are the agent's are read-only for containers."""
        volumes = spec.spec(pod).get("volumes") or []
        return any(v["name"] == name and any(kind in v for kind in files.KINDS) for v in volumes)

    def message_file(self, uid: str, container: str, attempt: int) -> Path:
        """Where one run of a container leaves its termination message."""
        return self._root / "pods" / uid / "containers" / container / str(attempt)

    def _message_mount(self, pod: Object, container: Object, attempt: int) -> Mount:
        path = self.message_file(spec.uid(pod), container["name"], attempt)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666))
            path.chmod(0o666)
        except OSError as problem:
            raise VolumeProblem("termination-message", f"{problem.strerror}: {path}") from None
        return Mount(str(path), container.get("terminationMessagePath") or "/dev/termination-log")

    # ---- taking apart ----

    async def tear_down(self, pod: Object) -> None:
        """Remove what the volumes of the pod took; containers do not use them any more."""
        uid = spec.uid(pod)
        async with self._locks.setdefault(uid, asyncio.Lock()):
            self._paths.pop(uid, None)
            await self._let_go(uid)
            for folder in (self._root / "pods" / uid / "volumes", self._memory / uid):
                await self._remove(folder)
        self._locks.pop(uid, None)

    async def forget(self, uid: str) -> None:
        """The pod is gone: remove its folder."""
        await self._let_go(uid)
        await self._remove(self._root / "pods" / uid / "volumes")
        await self._remove(self._memory / uid)
        await self._remove(self._root / "pods" / uid)

    async def _let_go(self, uid: str) -> None:
        """Of the sub paths, before what they are of goes."""
        try:
            await asyncio.to_thread(pinned.let_go, self._pins(uid))
        except OSError as problem:
            log.warning("%s cannot be removed: %s", self._pins(uid), problem)

    async def _remove(self, folder: Path) -> None:
        if not folder.exists():
            return
        for mounted in await asyncio.to_thread(mounts_below, folder):
            await scratch.unmount(mounted)
        if await asyncio.to_thread(mounts_below, folder):
            log.warning("%s cannot be removed: something is mounted below it", folder)
            return
        try:
            await asyncio.to_thread(scratch.remove_tree, folder)
        except OSError as problem:
            log.warning("%s cannot be removed: %s", folder, problem)

    async def clean(self, wanted: Callable[[str], bool]) -> None:
        """Remove what is left of pods that are no more. wanted(uid): whether the pod is here, right now."""
        for top in (self._root / "pods", self._memory):
            with contextlib.suppress(OSError):
                for name in await asyncio.to_thread(os.listdir, top):
                    if not name.startswith(".") and not wanted(name):
                        await self.forget(name)

    async def close(self) -> None:
        """Leave nothing in the machine's memory when no pod has anything there."""
        with contextlib.suppress(OSError):
            if self._memory.parent != self._root and os.listdir(self._memory) in ([], [OWNER]):
                await asyncio.to_thread(scratch.remove_tree, self._memory)

    def usage(self, uid: str) -> int:
        """Bytes that the pod's emptyDir volumes take. Blocks."""
        return scratch.usage(self._root / "pods" / uid / "volumes")


def _group(pod: Object) -> int | None:
    group = (spec.spec(pod).get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)
