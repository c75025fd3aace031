"""What a reconciler may ask for, as data. The scheduler and the node agent use the same types.

Invariants: an action says because of what (Cause) it is to be done; it holds plain objects, which nobody changes after
they were handed over. Actions are done in the order given; neighbours of the same type are independent of each other,
so the shell may do them side by side (creates in batches of 1, 2, 4 …, so that a refusal costs few calls).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from control.api.schema import Object
from control.client.cause import Cause

PatchKind = Literal["merge", "json", "strategic", "apply"]
Propagation = Literal["", "Background", "Foreground", "Orphan"]


class Key(NamedTuple):
    """What a controller works on: an object of its own resource; resource is set by those that handle several."""

    namespace: str
    name: str
    resource: str = ""

    def __str__(self) -> str:
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.resource}:{place}" if self.resource else place


@dataclass(frozen=True, slots=True)
class Event:
    """Something users should read of in `kubectl describe`: about which object, and in which words."""

    about: Object
    reason: str
    message: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, slots=True)
class Narration:
    """The events an action makes when it is done: {name} is the object's name, {error} why it failed; "": no event."""

    about: Object
    done: str = ""
    done_message: str = ""
    failed: str = ""
    failed_message: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object; its metadata has a name or a generateName."""

    resource: str
    object: Object
    cause: Cause
    tell: Narration | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace an object, or its part that a subresource names, if its resourceVersion is still the one given."""

    resource: str
    object: Object
    cause: Cause
    subresource: str = ""
    tell: Narration | None = None


@dataclass(frozen=True, slots=True)
class UpdateStatus:
    """Replace an object's status if its resourceVersion is still the one given; also after a failure in the same pass.

    A status that says what a write of the same pass has made is no such report: that is an Update of the subresource.
    """

    resource: str
    object: Object
    cause: Cause
    tell: Narration | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """Change parts of an object. A uid in the patch's metadata guards against a namesake made since."""

    resource: str
    namespace: str
    name: str
    patch: Any
    cause: Cause
    kind: PatchKind = "merge"
    subresource: str = ""
    tell: Narration | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object if it still has that uid. grace: seconds; None leaves it to the object."""

    resource: str
    namespace: str
    name: str
    uid: str
    cause: Cause
    propagation: Propagation = ""
    grace: int | None = None
    tell: Narration | None = None


Action = Create | Update | UpdateStatus | Patch | Delete


@dataclass(frozen=True, slots=True)
class Read:
    """A question to the API server itself, for what a lagging view cannot tell: one object, or with name "" a list."""

    resource: str
    namespace: str = ""
    name: str = ""
    label_selector: str = ""
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: the object or list, or None with the refusal's code (404: not there) and message."""

    object: Object | None
    code: int = 200
    message: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What one call of a reconciler wants.

    reads: answer these first and call again; actions and events are ignored then.
    requeue_after: seconds after which to look again though nothing changed; None: only when something changes.
    """

    actions: Sequence[Action] = ()
    events: Sequence[Event] = ()
    reads: Sequence[Read] = ()
    requeue_after: float | None = None


NOTHING = Decision()


@dataclass(slots=True)
class Plan:
    """A decision in the making: what reconcilers of several steps collect."""

    actions: list[Action] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    requeue_after: float | None = None

    def look_again(self, seconds: float | None) -> None:
        """Look again after so many seconds at the latest; None changes nothing."""
        if seconds is not None:
            self.requeue_after = seconds if self.requeue_after is None else min(seconds, self.requeue_after)

    def decision(self) -> Decision:
        return Decision(tuple(self.actions), tuple(self.events), tuple(self.reads), self.requeue_after)
