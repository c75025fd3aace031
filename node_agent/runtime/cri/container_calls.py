"""Sandboxes and containers of a CRI runtime. States that cannot change any more are asked for once."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping

from node_agent.pb import cri_pb2 as pb
from node_agent.runtime import ownership
from node_agent.runtime.cri import messages
from node_agent.runtime.cri.connection import CallFailed
from node_agent.runtime.cri.image_calls import ImageCalls
from node_agent.runtime.errors import (
    CannotCreate,
    CannotStart,
    ImageNotFound,
    NotFound,
    NotRunning,
    RuntimeFault,
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

_AT_ONCE = 16
_SLACK = 30.0


class ContainerCalls(ImageCalls):
    """See interface.Sandboxes and interface.Containers."""

    def __init__(self, endpoint: str, owner: str) -> None:
        super().__init__(endpoint, owner)
        self._settled: dict[str, ContainerStatus] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    # sandboxes

    async def run_sandbox(self, config: SandboxConfig) -> str:
        request = pb.RunPodSandboxRequest(config=self.message(config))
        try:
            answer = await self.cri.call("RunPodSandbox", request, pb.RunPodSandboxResponse)
        except (CallFailed, NotFound) as problem:
            raise CannotCreate(f"sandbox of pod {config.name}: {problem}", "CreatePodSandboxError") from problem
        self.configs[answer.pod_sandbox_id] = config
        return answer.pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        if not sandbox_id:
            return  # containerd takes beginnings of ids, and an empty one for an error
        try:
            await self.cri.call("StopPodSandbox", pb.PodSandboxRequest(pod_sandbox_id=sandbox_id), pb.Empty)
        except NotFound:
            return

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self.stop_sandbox(sandbox_id)
        with contextlib.suppress(NotFound):
            await self.cri.call("RemovePodSandbox", pb.PodSandboxRequest(pod_sandbox_id=sandbox_id), pb.Empty)
        self.configs.pop(sandbox_id, None)

    async def list_sandboxes(self, labels: Mapping[str, str] | None = None) -> list[Sandbox]:
        wanted = pb.PodSandboxFilter(label_selector={ownership.OWNER: self.owner, **(labels or {})})
        answer = await self.cri.call(
            "ListPodSandbox", pb.ListPodSandboxRequest(filter=wanted), pb.ListPodSandboxResponse
        )
        found = []
        for item in answer.items:
            config = self.remember(item.id, item.labels, item.annotations)
            found.append(messages.listed_sandbox(item, config.log_directory))
        return sorted(found, key=lambda each: each.created_at)

    async def sandbox_status(self, sandbox_id: str) -> Sandbox:
        status, config = await self.status_of(sandbox_id)
        return messages.sandbox_value(status, config.log_directory)

    # containers

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        _, sandbox = await self.status_of(sandbox_id)
        image = await self.image_status(config.image)
        if image is None:
            raise ImageNotFound(f'image "{config.image}" is not on this node: pull it first')
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id,
            config=messages.container_message(config, image.id, sandbox, self.owner),
            sandbox_config=self.message(sandbox),
        )
        try:
            return (await self.cri.call("CreateContainer", request, pb.ContainerId)).container_id
        except (CallFailed, NotFound) as problem:
            raise CannotCreate(f"container {config.name}: {problem}") from problem

    async def start_container(self, container_id: str) -> None:
        try:
            await self.cri.call("StartContainer", pb.ContainerId(container_id=container_id), pb.Empty)
        except CallFailed as problem:
            raise CannotStart(f"failed to start container {container_id[:12]}: {problem}") from problem

    async def stop_container(self, container_id: str, grace: float) -> None:
        seconds = max(0, math.ceil(grace))
        request = pb.StopContainerRequest(container_id=container_id, timeout=seconds)
        try:
            await self.cri.call("StopContainer", request, pb.Empty, seconds + _SLACK)
        except NotFound:
            return

    async def remove_container(self, container_id: str) -> None:
        await self.stop_container(container_id, 0.0)
        with contextlib.suppress(NotFound):
            await self.cri.call("RemoveContainer", pb.ContainerId(container_id=container_id), pb.Empty)
        self._settled.pop(container_id, None)

    async def _listed(self, sandbox_id: str = "", labels: Mapping[str, str] | None = None) -> list[pb.Container]:
        wanted = pb.ContainerFilter(
            pod_sandbox_id=sandbox_id, label_selector={ownership.OWNER: self.owner, **(labels or {})}
        )
        answer = await self.cri.call(
            "ListContainers", pb.ListContainersRequest(filter=wanted), pb.ListContainersResponse
        )
        return sorted(answer.containers, key=lambda each: each.created_at)

    async def list_containers(self, sandbox_id: str = "", labels: Mapping[str, str] | None = None) -> list[Container]:
        return [messages.container_value(item) for item in await self._listed(sandbox_id, labels)]

    async def container_status(self, container_id: str) -> ContainerStatus:
        wanted = pb.ContainerFilter(id=container_id, label_selector={ownership.OWNER: self.owner})
        answer = await self.cri.call(
            "ListContainers", pb.ListContainersRequest(filter=wanted), pb.ListContainersResponse
        )
        if not answer.containers:
            raise NotFound(f"container {container_id[:12]} is not there")
        return await self._status(answer.containers[0])

    async def annotations_of(self, container_id: str) -> Mapping[str, str]:
        """With our own. Raises NotFound."""
        answer = await self.cri.call(
            "ContainerStatus", pb.ContainerId(container_id=container_id), pb.ContainerStatusResponse
        )
        return answer.status.annotations

    async def _status(self, item: pb.Container) -> ContainerStatus:
        async with self._slots:
            answer = await self.cri.call(
                "ContainerStatus", pb.ContainerId(container_id=item.id), pb.ContainerStatusResponse
            )
        return messages.status_value(answer.status, item.pod_sandbox_id)

    async def container_statuses(self) -> list[ContainerStatus]:
        items = await self._listed()
        found = await asyncio.gather(*(self._settled_status(item) for item in items), return_exceptions=True)
        there = {item.id for item in items}
        self._settled = {key: status for key, status in self._settled.items() if key in there}
        faults = [each for each in found if isinstance(each, BaseException) and not isinstance(each, NotFound)]
        if faults:
            raise faults[0]
        return [each for each in found if not isinstance(each, BaseException)]

    async def _settled_status(self, item: pb.Container) -> ContainerStatus:
        known = self._settled.get(item.id)
        state = messages.container_value(item).state
        if known is not None and known.state is state:
            return known
        status = await self._status(item)
        if status.state in (ContainerState.RUNNING, ContainerState.EXITED):
            self._settled[item.id] = status
        return status

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self.container_status(container_id)
        request = pb.UpdateContainerResourcesRequest(
            container_id=container_id, linux=messages.resources_message(resources)
        )
        try:
            await self.cri.call("UpdateContainerResources", request, pb.Empty)
        except CallFailed as problem:
            raise Unsupported(f"limits of {container_id[:12]} were refused: {problem}") from problem

    async def reopen_log(self, container_id: str) -> None:
        await self.running(container_id)
        try:
            await self.cri.call("ReopenContainerLog", pb.ContainerId(container_id=container_id), pb.Empty)
        except CallFailed as problem:
            raise NotRunning(str(problem)) from problem

    async def running(self, container_id: str) -> ContainerStatus:
        """Raises NotFound, NotRunning."""
        status = await self.container_status(container_id)
        if status.state is not ContainerState.RUNNING:
            raise NotRunning(f"container {container_id[:12]} does not run")
        return status

    async def stats(self) -> list[ContainerStats]:
        sandboxes = {item.id: item.pod_sandbox_id for item in await self._listed()}
        try:
            answer = await self.cri.call(
                "ListContainerStats", pb.ListContainerStatsRequest(), pb.ListContainerStatsResponse
            )
        except CallFailed as problem:
            raise RuntimeFault(f"the runtime gives no figures: {problem}") from problem
        return [
            messages.stats_value(each, sandboxes[each.attributes.id])
            for each in answer.stats
            if each.attributes.id in sandboxes and selected(each.attributes.labels, {ownership.OWNER: self.owner})
        ]
