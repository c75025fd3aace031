"""Rolling update of a DaemonSet: which old pods to take away now, and where to put a new one beside an old one.

Invariants: taking available pods away never leaves more nodes without an available pod than maxUnavailable; at most
maxSurge nodes have an old and a new pod. Source: "Perform a Rolling Update on a DaemonSet".
"""

from __future__ import annotations

from dataclasses import dataclass

from control.api.schema import Object
from control.controllers.reconcilers.daemonset.pods import Coverage, Place, min_ready
from control.controllers.values.objects import spec_of
from control.controllers.values.pods import is_available


@dataclass(frozen=True, slots=True)
class Change:
    """A pod to delete, or with pod None one to create on that node."""

    place: Place
    pod: Object | None
    rule: str


def roll(coverage: Coverage) -> list[Change]:
    """The changes that the limits allow now; none with OnDelete."""
    strategy = spec_of(coverage.owner).get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return []
    return _with_surge(coverage) if coverage.surge else _without_surge(coverage)


def _available(coverage: Coverage, pod: Object) -> bool:
    return is_available(pod, min_ready(coverage.owner), coverage.now)


def _without_surge(coverage: Coverage) -> list[Change]:
    """Old pods that are not available go at once; of the others as many as may be missing."""
    missing = 0
    broken: list[Change] = []
    working: list[Change] = []
    for place in coverage.places:
        if not place.eligible:
            continue
        if not any(_available(coverage, pod) for pod in place.scheduled):
            missing += 1
        for pod in place.scheduled:
            if not coverage.is_new(pod):
                (working if _available(coverage, pod) else broken).append(Change(place, pod, "rolling update"))
    room = max(0, coverage.unavailable - missing)
    return broken + working[:room]


def _with_surge(coverage: Coverage) -> list[Change]:
    """A new pod beside the old one; the old one goes when the new one is available, or was not available itself."""
    changes: list[Change] = []
    waiting: list[Place] = []
    surging = 0
    for place in coverage.places:
        old = [pod for pod in place.scheduled if not coverage.is_new(pod)]
        new = [pod for pod in place.scheduled if coverage.is_new(pod)]
        if not place.eligible or not old:
            continue
        if any(_available(coverage, pod) for pod in new):
            changes += [Change(place, pod, "rolling update: the new one is available") for pod in old]
        elif new:
            surging += 1
        elif not any(_available(coverage, pod) for pod in old):
            changes += [Change(place, pod, "rolling update: it was not available") for pod in old]
        else:
            waiting.append(place)
    room = max(0, coverage.surge - surging)
    return changes + [Change(place, None, "rolling update: surge") for place in waiting[:room]]
