"""What every pod worker of one node works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from node_agent.pod.backoff import Backoff
from node_agent.pod.config import NodeFacts
from node_agent.pod.needs import Sources
from node_agent.pod.observed import Container, Probed
from node_agent.pod.spec import Object
from node_agent.runtime.interface import Runtime
from node_agent.runtime.types import Mount
from node_agent.shell.records import PodEvents
from node_agent.shell.view import RuntimeView


class SourceLookup(Protocol):
    """Config maps, secrets, services and tokens of a pod."""

    async def sources(self, pod: Object) -> Sources:
        """What is known now. Raises Unreachable when something has never been read and no server answers."""
        ...

    def release(self, pod: Object) -> None:
        """The pod needs nothing any more."""
        ...


class Volumes(Protocol):
    """The volumes of pods on the disk."""

    async def set_up(self, pod: Object) -> None:
        """Make them ready for the containers, or bring their content up to date. Raises VolumeProblem."""
        ...

    async def mounts(self, pod: Object, container: Object, env: dict[str, str], attempt: int) -> tuple[Mount, ...]:
        """Where the container finds them. Raises ConfigProblem, VolumeProblem."""
        ...

    async def tear_down(self, pod: Object) -> None:
        """Take apart what no container uses any more; what cannot be removed is tried again later."""
        ...

    async def forget(self, uid: str) -> None:
        """The pod is gone: remove everything that was kept for it."""
        ...


class Probes(Protocol):
    """The probes of running containers."""

    def follow(self, pod: Object, running: dict[str, Container]) -> None:
        """Probe exactly these containers of the pod from now on."""
        ...

    def results(self, uid: str) -> dict[str, Probed]:
        """By container name; containers without probes are ready as soon as they run."""
        ...

    def forget(self, uid: str) -> None: ...


class Hooks(Protocol):
    """Lifecycle hooks."""

    async def run(self, pod: Object, container: Object, container_id: str, hook: str, timeout: float) -> str:
        """hook: "postStart" or "preStop". "" when it worked, else why not; never raises."""
        ...


class Api(Protocol):
    """What workers write to the API server."""

    def report(self, pod: Object, status: Object, because: str) -> None:
        """Have the pod's status written, soon; the newest one wins."""
        ...

    async def delivered(self, pod: Object) -> bool:
        """Wait until the newest report was written; False when it cannot be (the pod is gone)."""
        ...

    async def remove(self, pod: Object, because: str) -> None:
        """End the pod's deletion: nothing of it is left here. Raises StatusError, Unreachable."""
        ...

    def forget(self, uid: str) -> None: ...


@dataclass(slots=True)
class Context:
    """One node's. now: seconds since 1970. retry: seconds until a fault that has no back-off is tried again."""

    runtime: Runtime
    view: RuntimeView
    events: PodEvents
    lookup: SourceLookup
    volumes: Volumes
    probes: Probes
    hooks: Hooks
    api: Api
    node: NodeFacts
    now: Callable[[], float]
    runtime_name: str = "unknown"
    retry: float = 5.0
    restarts: Backoff = field(default_factory=Backoff)
    pulls: Backoff = field(default_factory=Backoff)
    retries: Backoff = field(default_factory=Backoff)
