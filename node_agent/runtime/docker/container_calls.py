"""Sandboxes and containers of a Docker engine.

A sandbox is a container of ours that does nothing (pause.py) and holds the namespaces; the engine's labels are the
only memory, so there is nothing of ours to lose.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from node_agent.runtime import ownership
from node_agent.runtime.docker import messages
from node_agent.runtime.docker.engine import CallFailed
from node_agent.runtime.docker.image_calls import ImageCalls
from node_agent.runtime.docker.logs import LogFollower
from node_agent.runtime.docker.oom_score import allowed
from node_agent.runtime.errors import (
    CannotCreate,
    CannotStart,
    ImageNotFound,
    NotFound,
    NotRunning,
    RuntimeFault,
    RuntimeUnavailable,
    Unsupported,
)
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    Resources,
    Sandbox,
    SandboxConfig,
    selected,
)

_LOG_SECONDS = 2.0
_KILL_SECONDS = 15.0
_DISK_SECONDS = 60.0
_ID = 64
_SANDBOX_SCORE = -998


class ContainerCalls(ImageCalls):
    """See interface.Sandboxes and interface.Containers."""

    def __init__(self, endpoint: str, owner: str) -> None:
        super().__init__(endpoint, owner)
        self._settled: dict[str, ContainerStatus] = {}
        self._logs: dict[str, LogFollower] = {}
        self._disk: dict[str, tuple[float, int]] = {}

    # sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> str:
        if config.log_directory:
            await asyncio.to_thread(Path(config.log_directory).mkdir, parents=True, exist_ok=True)
        document = messages.sandbox_document(config, self.owner, await self.pause_image(), allowed(_SANDBOX_SCORE))
        identity = ""
        try:
            made = await self.engine.call(lambda api: api.create_container_from_config(document))
            identity = str(made["Id"])
            await self.engine.call(lambda api: api.start(identity))
        except BaseException as problem:
            if identity:
                with contextlib.suppress(RuntimeFault):
                    await self._remove(identity)
            if isinstance(problem, (CallFailed, NotFound)):
                raise CannotCreate(f"sandbox of pod {config.name}: {problem}", "CreatePodSandboxError") from problem
            raise
        return identity

    async def stop_sandbox(self, sandbox_id: str) -> None:
        found = await self._inspected(sandbox_id, messages.SANDBOX)
        if found is None:
            return
        inside = await self.list_containers(sandbox_id)
        await asyncio.gather(*(self.stop_container(each.id, 0.0) for each in inside))
        if found["State"]["Running"]:
            await self._signal(sandbox_id, "SIGKILL")

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        if await self._inspected(sandbox_id, messages.SANDBOX) is None:
            return
        inside = await self.list_containers(sandbox_id)
        await asyncio.gather(*(self.remove_container(each.id) for each in inside))
        await self._remove(sandbox_id)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[Sandbox]:
        found = [messages.sandbox_value(each) for each in await self._all(messages.SANDBOX, labels)]
        return sorted(found, key=lambda each: each.created_at)

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        found = await self._inspected(sandbox_id, messages.SANDBOX)
        if found is None:
            raise NotFound(f"sandbox {sandbox_id[:12]} is not there")
        return messages.sandbox_value(found)

    # containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        found = await self._inspected(sandbox_id, messages.SANDBOX)
        if found is None:
            raise NotFound(f"sandbox {sandbox_id[:12]} is not there")
        image = await self.image_status(config.image)
        if image is None:
            raise ImageNotFound(f'image "{config.image}" is not on this node: pull it first')
        sandbox = messages.config_of(found["Config"]["Labels"])
        score = allowed(config.resources.oom_score_adj)
        config = replace(config, resources=replace(config.resources, oom_score_adj=score))
        document = messages.container_document(config, sandbox_id, sandbox, image.id, self.owner)
        try:
            made = await self.engine.call(lambda api: api.create_container_from_config(document))
        except (CallFailed, NotFound) as problem:
            raise CannotCreate(f"container {config.name}: {problem}") from problem
        return str(made["Id"])

    async def start_container(self, container_id: str) -> None:
        status = await self.container_status(container_id)
        if status.state is not ContainerState.CREATED:
            raise CannotStart(f"container {container_id[:12]} was started before: make a new one")
        try:
            await self.engine.call(lambda api: api.start(container_id))
        except CallFailed as problem:
            raise CannotStart(f"failed to start container {status.container.name!r}: {problem}") from problem
        await self.follow_log(container_id)

    async def follow_log(self, container_id: str) -> None:
        """Have its log copied to its file from now on."""
        found = await self._inspected(container_id, messages.CONTAINER)
        if found is None or container_id in self._logs:
            return
        path = messages.note_of(found)["log_path"]
        if path:
            follower = LogFollower(self.engine, container_id, path, tty=found["Config"]["Tty"])
            self._logs[container_id] = follower
            follower.start()

    async def stop_container(self, container_id: str, grace: float) -> None:
        found = await self._inspected(container_id, messages.CONTAINER)
        if found is None or not found["State"]["Running"]:
            return
        if grace > 0:
            await self._signal(container_id, found["Config"].get("StopSignal") or "SIGTERM")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._gone(container_id)
                    return
        await self._signal(container_id, "SIGKILL")
        try:
            async with asyncio.timeout(_KILL_SECONDS):
                await self._gone(container_id)
        except TimeoutError as problem:
            raise RuntimeUnavailable(f"container {container_id[:12]} does not end although it was killed") from problem

    async def _gone(self, container_id: str) -> None:
        """Until it does not run any more."""
        path = f"/containers/{container_id}/wait"
        with contextlib.suppress(NotFound):
            async for _ in self.engine.follow(path, {"condition": "not-running"}, "POST"):
                pass
        follower = self._logs.get(container_id)
        if follower is not None:
            await follower.finished(_LOG_SECONDS)

    async def _signal(self, container_id: str, name: str) -> None:
        number = int(name) if name.isdecimal() else getattr(signal, name, signal.SIGTERM)
        try:
            await self.engine.call(lambda api: api.kill(container_id, int(number)))
        except NotFound:
            return
        except CallFailed as problem:
            if problem.status != 409:
                raise
            # 409: it has ended meanwhile

    async def remove_container(self, container_id: str) -> None:
        if await self._inspected(container_id, messages.CONTAINER) is not None:
            await self.stop_container(container_id, 0.0)
            await self._remove(container_id)
        follower = self._logs.pop(container_id, None)
        if follower is not None:
            await follower.finished(_LOG_SECONDS)
            await follower.stop()
        self._settled.pop(container_id, None)
        self._disk.pop(container_id, None)

    async def _remove(self, container_id: str) -> None:
        with contextlib.suppress(NotFound):
            await self.engine.call(lambda api: api.remove_container(container_id, v=True, force=True))

    async def list_containers(self, sandbox_id: str = "", labels: Mapping[str, str] | None = None) -> list[Container]:
        within = {f"{ownership.PREFIX}sandbox": sandbox_id} if sandbox_id else {}
        found = await self._all(messages.CONTAINER, {**(labels or {}), **within})
        return sorted((messages.status_value(each).container for each in found), key=lambda each: each.created_at)

    async def container_status(self, container_id: str) -> ContainerStatus:
        found = await self._inspected(container_id, messages.CONTAINER)
        if found is None:
            raise NotFound(f"container {container_id[:12]} is not there")
        return messages.status_value(found)

    async def container_statuses(self) -> list[ContainerStatus]:
        listed = await self._listed(messages.CONTAINER)
        self._settled = {key: status for key, status in self._settled.items() if key in listed}
        missing = [key for key, state in listed.items() if not self._known(key, state)]
        found = await asyncio.gather(*(self._inspected(key, messages.CONTAINER) for key in missing))
        fresh = {each["Id"]: messages.status_value(each) for each in found if each is not None}
        self._settled.update(
            {key: status for key, status in fresh.items() if status.state is not ContainerState.CREATED}
        )
        together = {**self._settled, **fresh}
        return [together[key] for key in listed if key in together]

    def _known(self, container_id: str, state: str) -> bool:
        """Whether what was found out before is true still."""
        status = self._settled.get(container_id)
        if status is None:
            return False
        return status.state is (ContainerState.RUNNING if state == "running" else ContainerState.EXITED)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self.container_status(container_id)
        wanted = {key: value for key, value in messages.limits(resources).items() if value}
        try:
            await self.engine.call(lambda api: _update(api, container_id, wanted))
        except CallFailed as problem:
            raise Unsupported(f"limits of {container_id[:12]} were refused: {problem}") from problem

    async def reopen_log(self, container_id: str) -> None:
        await self.running(container_id)
        follower = self._logs.get(container_id)
        if follower is not None:
            try:
                follower.reopen()
            except OSError as problem:
                raise NotRunning(f"the log cannot be opened: {problem.strerror}") from problem

    async def running(self, container_id: str) -> ContainerStatus:
        """Raises NotFound, NotRunning."""
        status = await self.container_status(container_id)
        if status.state is not ContainerState.RUNNING:
            raise NotRunning(f"container {container_id[:12]} does not run")
        return status

    async def stats(self) -> list[ContainerStats]:
        running = [each for each in await self.container_statuses() if each.state is ContainerState.RUNNING]
        found = await asyncio.gather(*(self._usage(each) for each in running))
        return [each for each in found if each is not None]

    async def _usage(self, status: ContainerStatus) -> ContainerStats | None:
        try:
            found = await self.engine.call(lambda api: api.stats(status.id, stream=False, one_shot=True))
            return messages.stats_value(status, found, await self._writable(status.id))
        except (NotFound, CallFailed):
            return None

    async def _writable(self, container_id: str) -> int:
        """Bytes of its own layer; the engine walks it, so it is asked once a minute."""
        at, size = self._disk.get(container_id, (-_DISK_SECONDS, 0))
        if time.monotonic() - at >= _DISK_SECONDS:
            filters = {"id": container_id}
            rows = await self.engine.call(lambda api: api.containers(all=True, size=True, filters=filters))
            size = int(rows[0].get("SizeRw") or 0) if rows else 0
            self._disk[container_id] = (time.monotonic(), size)
        return size

    # looking

    async def _listed(self, kind: str, labels: Mapping[str, str] | None = None) -> dict[str, str]:
        """Id → Docker's word for its state, oldest first."""
        wanted = ownership.labelled(labels or {}, self.owner, kind=kind)
        filters = {"label": [f"{name}={value}" for name, value in wanted.items()]}
        rows = await self.engine.call(lambda api: api.containers(all=True, filters=filters))
        rows = [row for row in rows if selected(row["Labels"], wanted)]
        return {row["Id"]: row["State"] for row in sorted(rows, key=lambda row: row["Created"])}

    async def _all(self, kind: str, labels: Mapping[str, str] | None = None) -> list[messages.Document]:
        listed = await self._listed(kind, labels)
        found = await asyncio.gather(*(self._inspected(key, kind) for key in listed))
        return [each for each in found if each is not None]

    async def _inspected(self, identity: str, kind: str) -> messages.Document | None:
        """None: it is not there, or is not ours. Only whole ids are looked up: Docker takes names and parts, too."""
        if len(identity) != _ID:
            return None
        try:
            found: messages.Document = await self.engine.call(lambda api: api.inspect_container(identity))
        except NotFound:
            return None
        labels = found["Config"]["Labels"] or {}
        if labels.get(ownership.OWNER) != self.owner or ownership.ours(labels, "kind") != kind:
            return None
        return found


def _update(api: object, container_id: str, wanted: Mapping[str, object]) -> None:
    """The SDK's own method knows no PidsLimit."""
    names = {
        "CpuShares": "cpu_shares",
        "CpuPeriod": "cpu_period",
        "CpuQuota": "cpu_quota",
        "CpusetCpus": "cpuset_cpus",
        "Memory": "mem_limit",
        "MemorySwap": "memswap_limit",
    }
    arguments = {names[key]: value for key, value in wanted.items() if key in names}
    api.update_container(container_id, **arguments)  # type: ignore[attr-defined]
