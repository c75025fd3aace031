"""What a simulated node remembers. A container's state is not stored: it follows from its times and the clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from node_agent.runtime.simulated.behaviour import Behaviour
from node_agent.runtime.types import (
    Container,
    ContainerConfig,
    ContainerState,
    ContainerStatus,
    Sandbox,
    SandboxConfig,
    SandboxState,
)

KILLED = 137


@dataclass(slots=True)
class SandboxRecord:
    id: str
    config: SandboxConfig
    created_at: float
    ips: tuple[str, ...]
    stopped: bool = False

    def show(self) -> Sandbox:
        config = self.config
        return Sandbox(
            id=self.id,
            name=config.name,
            namespace=config.namespace,
            uid=config.uid,
            attempt=config.attempt,
            state=SandboxState.NOT_READY if self.stopped else SandboxState.READY,
            created_at=self.created_at,
            ips=() if self.stopped else self.ips,
            sealed=("ipc", "uts", "pid") if config.host_network else ("net", "ipc", "uts", "pid"),
            log_directory=config.log_directory,
            labels=config.labels,
            annotations=config.annotations,
        )


@dataclass(slots=True)
class ContainerRecord:
    """`ends_at` is when it will end or has ended; stopping it brings that nearer.

    `cpu_seconds` is what it had used at `cpu_since`; from then on it uses what its behaviour says.
    """

    id: str
    sandbox: SandboxRecord
    config: ContainerConfig
    image_id: str
    behaviour: Behaviour
    created_at: float
    started_at: float = 0.0
    ends_at: float = math.inf
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    told_end: bool = False
    cpu_seconds: float = 0.0
    cpu_since: float = 0.0
    when_ended: list[Callable[[], None]] = field(default_factory=list)

    def state(self, now: float) -> ContainerState:
        if now >= self.ends_at:
            return ContainerState.EXITED
        return ContainerState.RUNNING if self.started_at else ContainerState.CREATED

    def cpu_used(self, now: float) -> float:
        """Seconds of CPU since it was started."""
        since = max(self.cpu_since, self.started_at)
        return self.cpu_seconds + self.behaviour.cpu * max(0.0, min(now, self.ends_at) - since)

    def use(self, cpu: float, memory: float, now: float) -> None:
        """From now on; what it has used stays used."""
        self.cpu_seconds, self.cpu_since = self.cpu_used(now), now
        self.behaviour = replace(self.behaviour, cpu=cpu, memory=memory)

    def end(self, at: float, code: int, reason: str = "", message: str = "") -> None:
        """Have it end then; an end that is nearer stays."""
        if at < self.ends_at:
            self.ends_at, self.exit_code = at, code
            self.reason, self.message = reason or ("Error" if code else "Completed"), message

    def show(self, now: float) -> Container:
        return Container(
            id=self.id,
            sandbox_id=self.sandbox.id,
            name=self.config.name,
            attempt=self.config.attempt,
            image=self.config.image,
            image_id=self.image_id,
            state=self.state(now),
            created_at=self.created_at,
            labels=self.config.labels,
            annotations=self.config.annotations,
        )

    def status(self, now: float) -> ContainerStatus:
        ended = now >= self.ends_at
        folder = self.sandbox.config.log_directory
        return ContainerStatus(
            container=self.show(now),
            started_at=self.started_at,
            finished_at=self.ends_at if ended else 0.0,
            exit_code=self.exit_code if ended else 0,
            reason=self.reason if ended else "",
            message=self.message if ended else "",
            log_path=f"{folder}/{self.config.log_path}" if folder and self.config.log_path else "",
            mounts=self.config.mounts,
        )
