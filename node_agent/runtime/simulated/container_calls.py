"""Containers of a simulated node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from node_agent.runtime.errors import CannotCreate, CannotStart, ImageNotFound
from node_agent.runtime.log_format import record
from node_agent.runtime.simulated.behaviour import behaviour_of
from node_agent.runtime.simulated.records import KILLED, ContainerRecord
from node_agent.runtime.simulated.sandbox_calls import SandboxCalls
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStats,
    ContainerStatus,
    EventType,
    Resources,
    selected,
)


class ContainerCalls(SandboxCalls):
    """See interface.Containers."""

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> str:
        self.allow("create_container")
        sandbox = self.sandbox(sandbox_id)
        image = self.state.images.find(config.image)
        if image is None:
            raise ImageNotFound(f'image "{config.image}" is not on this node: pull it first')
        annotations = {**sandbox.config.annotations, **config.annotations}
        try:
            behaviour = behaviour_of(annotations, config.name, config.env, (*config.command, *config.args))
        except ValueError as problem:
            raise CannotCreate(str(problem)) from problem
        identity = self.world.new_id("container", self.name)
        self.state.containers[identity] = ContainerRecord(
            identity, sandbox, config, image.id, behaviour, self.world.now()
        )
        self.tell(EventType.CREATED, sandbox_id, identity)
        return identity

    async def start_container(self, container_id: str) -> None:
        self.allow("start_container")
        container = self.container(container_id)
        behaviour = container.behaviour
        await self.take(behaviour.start, behaviour, f"start/{container.config.name}")
        now = self.world.now()
        if container.sandbox.stopped or container.state(now) is not ContainerState.CREATED:
            raise CannotStart(f"container {container_id[:12]} cannot be started again: make a new one")
        if behaviour.start_error:
            container.end(now, 128, "StartError", behaviour.start_error)
            raise CannotStart(behaviour.start_error)
        container.started_at = now
        self._say(container)
        self.tell(EventType.STARTED, container.sandbox.id, container_id)
        self._end_by_itself(container)

    async def stop_container(self, container_id: str, grace: float) -> None:
        self.allow("stop_container")
        container = self.state.containers.get(container_id)
        if container is None:
            return
        now = self.world.now()
        if container.state(now) is ContainerState.CREATED:
            self.end(container, now, KILLED)
        takes = container.behaviour.stop
        if takes > grace:
            self.end(container, now + grace, KILLED)
        else:
            self.end(container, now + takes, container.behaviour.stop_exit)
        await self.world.until(container.ends_at)

    async def remove_container(self, container_id: str) -> None:
        self.allow("remove_container")
        self.forget(container_id)

    async def list_containers(self, sandbox_id: str = "", labels: Mapping[str, str] | None = None) -> list[Container]:
        self.allow("list_containers")
        now = self.world.now()
        chosen = self.within(sandbox_id) if sandbox_id else self.state.containers.values()
        return [each.show(now) for each in chosen if selected(each.config.labels, labels)]

    async def container_status(self, container_id: str) -> ContainerStatus:
        self.allow("container_status")
        return self.container(container_id).status(self.world.now())

    async def container_statuses(self) -> list[ContainerStatus]:
        self.allow("container_statuses")
        now = self.world.now()
        return [each.status(now) for each in self.state.containers.values()]

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        self.allow("update_resources")
        self.container(container_id)

    async def reopen_log(self, container_id: str) -> None:
        self.allow("reopen_log")
        self.running(container_id)

    async def stats(self) -> list[ContainerStats]:
        self.allow("stats")
        now = self.world.now()
        return [
            self._usage(each, now)
            for each in self.state.containers.values()
            if each.state(now) is ContainerState.RUNNING
        ]

    def set_load(self, uid: str, annotations: Mapping[str, str]) -> None:
        """What a pod's containers use from now on, by the pod's annotations as they are now; whatever else these say is
        for containers to come. Raises ValueError, which names the word that is wrong.
        """
        now = self.world.now()
        for each in self.state.containers.values():
            if each.sandbox.config.uid == uid and each.state(now) is not ContainerState.EXITED:
                config = each.config
                wanted = behaviour_of(annotations, config.name, config.env, (*config.command, *config.args))
                each.use(wanted.cpu, wanted.memory, now)

    def _end_by_itself(self, container: ContainerRecord) -> None:
        does = container.behaviour
        endless = does.fail_times and container.config.attempt >= does.fail_times
        if endless or math.isinf(does.run):
            return
        run = self.world.varied(does.run, does.jitter, f"{self.name}/run/{container.id}")
        self.end(container, container.started_at + run, does.exit, does.reason)

    def _say(self, container: ContainerRecord) -> None:
        path = container.status(self.world.now()).log_path
        if not container.behaviour.log or not path:
            return
        at = int(container.started_at * 1e9)
        lines = [record(at, "stdout", line.encode()) for line in container.behaviour.log.split("\n")]
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(b"".join(lines))

    def _usage(self, container: ContainerRecord, now: float) -> ContainerStats:
        memory = int(container.behaviour.memory)
        return ContainerStats(
            id=container.id,
            sandbox_id=container.sandbox.id,
            name=container.config.name,
            at=now,
            cpu_nanoseconds=int(container.cpu_used(now) * 1e9),
            memory_working_set=memory,
            memory_usage=memory,
            memory_rss=memory,
            pids=1,
            labels=container.config.labels,
        )
