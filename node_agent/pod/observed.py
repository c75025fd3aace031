"""What of a pod there is on the node, as plain values: sandboxes, containers with their ends, probes, failures.

The shell fills these from the runtime's answers; deciders and the status read them. Containers and sandboxes stand
newest first: [0] is the current one, [1] the one before, which lastState shows. All times are seconds since 1970, 0.0
for "not yet".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class State(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """One container of the runtime; attempt is how often its name was started before (restartCount)."""

    id: str
    name: str
    sandbox: str = ""
    attempt: int = 0
    state: State = State.CREATED
    created: float = 0.0
    started: float = 0.0
    finished: float = 0.0
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_id: str = ""
    hash: str = ""

    @property
    def running(self) -> bool:
        return self.state is State.RUNNING

    @property
    def ended(self) -> bool:
        return self.state is State.EXITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    id: str
    attempt: int = 0
    ready: bool = True
    created: float = 0.0
    ips: tuple[str, ...] = ()
    loopback: str = ""  # its own address in the machine's network, one of ips; "" when it has none


@dataclass(frozen=True, slots=True)
class Probed:
    """What the probes of one running container say: Kubernetes' started and ready, and why it must be killed, if so."""

    started: bool = False
    ready: bool = False
    kill: str = ""  # "liveness" or "startup": that probe failed its threshold
    kill_grace: float | None = None  # seconds, of the probe that failed


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a container waits, in Kubernetes' words, and when it is tried again (seconds since 1970)."""

    reason: str
    message: str
    retry: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One pod on the node. killing: ids of containers whose end is under way; ended_before: kept ends of containers
    that the runtime has forgotten (by name), so that a cleaned-up runtime does not run a finished container again."""

    sandboxes: tuple[Sandbox, ...] = ()
    containers: Mapping[str, tuple[Container, ...]] = field(default_factory=dict)
    probes: Mapping[str, Probed] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)
    sandbox_failure: Failure | None = None
    killing: frozenset[str] = frozenset()

    @property
    def sandbox(self) -> Sandbox | None:
        return self.sandboxes[0] if self.sandboxes else None

    def current(self, name: str) -> Container | None:
        """The newest container of that name, whatever sandbox it is of."""
        found = self.containers.get(name)
        return found[0] if found else None

    def here(self, name: str) -> Container | None:
        """The newest container of that name in the current sandbox."""
        found = self.current(name)
        sandbox = self.sandbox
        return found if found and sandbox and found.sandbox == sandbox.id else None

    def previous(self, name: str) -> Container | None:
        found = self.containers.get(name, ())
        return found[1] if len(found) > 1 else None

    def probed(self, name: str) -> Probed:
        return self.probes.get(name, Probed())

    def running(self) -> list[Container]:
        """Every container that is not at its end, of any sandbox."""
        return [c for found in self.containers.values() for c in found if c.state in (State.RUNNING, State.UNKNOWN)]
