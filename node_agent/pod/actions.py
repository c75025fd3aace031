"""What decide() may ask the worker to do. Actions are data; the worker runs them in order and then observes again.

because: the rule that fired, for the event and for `fluyt why`.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RunSandbox:
    attempt: int
    because: str


@dataclass(frozen=True, slots=True)
class StopSandbox:
    """Stop it and what it holds (address, network); its containers have ended before."""

    id: str


@dataclass(frozen=True, slots=True)
class Start:
    """Bring the image, create and start the container, run its postStart hook."""

    name: str
    attempt: int
    because: str


@dataclass(frozen=True, slots=True)
class Kill:
    """preStop, SIGTERM, SIGKILL after grace seconds. The worker runs kills beside each other and does not wait."""

    id: str
    name: str
    grace: float
    because: str
    event: str  # message of the Killing event
    final: bool = False  # the pod ends with it: its grace is the whole pod's, of which others may have used some


@dataclass(frozen=True, slots=True)
class Event:
    type: str  # Normal or Warning
    reason: str
    message: str
    container: str = ""  # field path in the involved object


Action = RunSandbox | StopSandbox | Start | Kill


@dataclass(frozen=True, slots=True)
class Verdict:
    """The pod as a whole has failed by a rule of the node: phase Failed with this reason and message."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """actions: to be run now. again: ask again at that time (seconds since 1970), None when only news can change it.
    waiting: why containers wait, by name: (reason, message). finished: nothing of the pod runs and nothing will."""

    actions: tuple[Action, ...] = ()
    events: tuple[Event, ...] = ()
    again: float | None = None
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)
    verdict: Verdict | None = None
    finished: bool = False
