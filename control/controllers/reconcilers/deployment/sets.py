"""The ReplicaSets of one deployment as a rollout works on them: which is new, which are old, and how they change.

Invariant: a set is written at most once a pass, with all its changes, and only if it is still as it was observed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from control.api.schema import Object
from control.controllers.values.actions import Action, Narration, Update
from control.controllers.values.amounts import resolve, surge_and_unavailable
from control.controllers.values.objects import (
    annotations_of,
    cause,
    created_at,
    generation_of,
    is_deleting,
    name_of,
    spec_of,
    status_of,
    uid_of,
    with_metadata,
)
from control.controllers.values.templates import same_template

RESOURCE: Final = "deployments.apps"
SETS: Final = "replicasets.apps"
REVISION: Final = "deployment.kubernetes.io/revision"
REVISION_HISTORY: Final = "deployment.kubernetes.io/revision-history"
DESIRED: Final = "deployment.kubernetes.io/desired-replicas"
MOST: Final = "deployment.kubernetes.io/max-replicas"


def number_in(obj: Object, annotation: str) -> int | None:
    """The number an annotation says; None: it is not there or says no number."""
    text = annotations_of(obj).get(annotation, "")
    return int(text) if text.isascii() and text.isdigit() else None


def available(rs: Object) -> int:
    """Its pods that are available and will not be taken away by a smaller size it was already given."""
    return min(int(status_of(rs).get("availableReplicas") or 0), int(spec_of(rs).get("replicas") or 0))


@dataclass(slots=True)
class Change:
    """What a pass does to one set: another size, other annotations or minReadySeconds, and why."""

    size: int | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    min_ready: int | None = None
    rules: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Rollout:
    """A deployment and its sets. new: the set with the deployment's template; old: the others, oldest first."""

    deployment: Object
    new: Object | None
    old: list[Object]
    pending: dict[str, Change] = field(default_factory=dict)

    @classmethod
    def of(cls, deployment: Object, sets: Iterable[Object]) -> Rollout:
        ordered = sorted(sets, key=lambda rs: (created_at(rs), name_of(rs)))
        template = spec_of(deployment).get("template") or {}
        # Of several equal ones the oldest: it is what earlier passes chose.
        same = [
            rs for rs in ordered if not is_deleting(rs) and same_template(spec_of(rs).get("template") or {}, template)
        ]
        new = same[0] if same else None
        return cls(deployment, new, [rs for rs in ordered if rs is not new])

    @property
    def sets(self) -> list[Object]:
        return [*self.old, self.new] if self.new is not None else list(self.old)

    @property
    def active(self) -> list[Object]:
        return [rs for rs in self.sets if self.size(rs) > 0]

    @property
    def replicas(self) -> int:
        replicas = spec_of(self.deployment).get("replicas")
        return 1 if replicas is None else int(replicas)

    @property
    def paused(self) -> bool:
        return bool(spec_of(self.deployment).get("paused"))

    @property
    def recreates(self) -> bool:
        return self._strategy().get("type") == "Recreate"

    @property
    def min_ready(self) -> int:
        return int(spec_of(self.deployment).get("minReadySeconds") or 0)

    @property
    def surge(self) -> int:
        return 0 if self.recreates else self._allowance()[0]

    @property
    def unavailable(self) -> int:
        """How many pods may be missing."""
        if self.recreates or self.replicas == 0:
            return 0
        return min(self._allowance()[1], self.replicas)

    def _allowance(self) -> tuple[int, int]:
        rolling = self._strategy().get("rollingUpdate") or {}
        surge, unavailable = rolling.get("maxSurge"), rolling.get("maxUnavailable")
        resolve(surge, 0, up=True)
        return surge_and_unavailable(surge, unavailable, self.replicas)

    def _strategy(self) -> dict[str, Any]:
        return spec_of(self.deployment).get("strategy") or {}

    def size(self, rs: Object) -> int:
        """spec.replicas as this pass will leave it."""
        change = self.pending.get(uid_of(rs))
        if change is not None and change.size is not None:
            return change.size
        return int(spec_of(rs).get("replicas") or 0)

    def total(self, sets: Iterable[Object]) -> int:
        return sum(map(self.size, sets))

    def room(self) -> int:
        """How many pods more may be started now: those that a set is still about to delete take up room, too.

        None until every set has said how it stands since its size was changed.
        """
        if any(status_of(rs).get("observedGeneration", 0) < generation_of(rs) for rs in self.sets):
            return 0
        taken = sum(max(self.size(rs), int(status_of(rs).get("replicas") or 0)) for rs in self.sets)
        return max(0, self.replicas + self.surge - taken)

    @property
    def complete(self) -> bool:
        """All pods are of the new template and available, and the deployment's status said so already."""
        status = status_of(self.deployment)
        counts = (status.get("updatedReplicas", 0), status.get("replicas", 0), status.get("availableReplicas", 0))
        seen = status.get("observedGeneration", 0) >= generation_of(self.deployment)
        return seen and all(count == self.replicas for count in counts)

    def resize(self, rs: Object, size: int, rule: str) -> None:
        """Give a set another size, and note what the deployment wanted then, for scaling in proportion later."""
        if size != self.size(rs):
            self._change(rs).rules.append(f"{rule}: {name_of(rs)} from {self.size(rs)} to {size}")
            self._change(rs).size = size
        self.note(rs, self.sizes())

    def sizes(self) -> dict[str, str]:
        """The annotations that say how big the deployment was meant to be."""
        return {DESIRED: str(self.replicas), MOST: str(self.replicas + self.surge)}

    def note(self, rs: Object, notes: dict[str, str], rule: str = "annotations") -> None:
        """Set annotations, if they are not so already."""
        differing = {key: text for key, text in notes.items() if annotations_of(rs).get(key) != text}
        if differing:
            self._change(rs).annotations.update(differing)
            self._change(rs).rules.append(rule)

    def set_min_ready(self, rs: Object) -> None:
        if int(spec_of(rs).get("minReadySeconds") or 0) != self.min_ready:
            self._change(rs).min_ready = self.min_ready
            self._change(rs).rules.append("minReadySeconds")

    def _change(self, rs: Object) -> Change:
        return self.pending.setdefault(uid_of(rs), Change())

    def changes(self) -> list[Action]:
        """One update for each set that changes."""
        return [self._update(rs, self.pending[uid_of(rs)]) for rs in self.sets if uid_of(rs) in self.pending]

    def _update(self, rs: Object, change: Change) -> Update:
        spec = dict(spec_of(rs))
        if change.size is not None:
            spec["replicas"] = change.size
        if change.min_ready is not None:
            spec["minReadySeconds"] = change.min_ready
        changed = {**with_metadata(rs, annotations={**annotations_of(rs), **change.annotations}), "spec": spec}
        because = cause(RESOURCE, self.deployment, "; ".join(change.rules))
        return Update(SETS, changed, because, tell=self._told(rs, change))

    def _told(self, rs: Object, change: Change) -> Narration | None:
        before = int(spec_of(rs).get("replicas") or 0)
        if change.size is None or change.size == before:
            return None
        direction = "up" if change.size > before else "down"
        return scaled(self.deployment, direction, before, change.size)


def scaled(deployment: Object, direction: str, before: int, after: int) -> Narration:
    """The event of a set that was given another size."""
    text = f"Scaled {direction} replica set {{name}} from {before} to {after}"
    return Narration(deployment, "ScalingReplicaSet", text)
