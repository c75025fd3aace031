"""Where a DaemonSet's pods belong, and what they look like: pinned to their node, tolerating what befalls nodes.

Invariant: a pod names its node in a field affinity, so that the scheduler binds it there and nowhere else.
Source: "DaemonSet: How Daemon Pods are scheduled; Taints and tolerations" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.reconcilers.daemonset.placement import selects, tolerated
from control.controllers.values.amounts import resolve
from control.controllers.values.objects import is_deleting, labels, name_of, spec_of
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_finished
from control.controllers.values.revisions import HASH
from control.controllers.values.templates import pod_from

RESOURCE: Final = "daemonsets.apps"
_FIELD: Final = "metadata.name"
# (key, effect) of the taints that every daemon tolerates.
_TOLERATED: Final = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_ON_HOST_NETWORK: Final = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Place:
    """A node. eligible: it should have a pod; stays: one that is there may stay; pods: those of the set, by name."""

    name: str
    eligible: bool
    stays: bool
    pods: tuple[Object, ...]

    @property
    def scheduled(self) -> list[Object]:
        """The pods that count: neither ended nor on their way out."""
        return [pod for pod in self.pods if not is_deleting(pod) and not is_finished(pod)]


@dataclass(frozen=True, slots=True)
class Coverage:
    """The set's pods by node. revision: the hash that pods of the present template carry."""

    owner: Object
    places: tuple[Place, ...]
    revision: str
    now: datetime

    @classmethod
    def of(cls, owner: Object, pods: Iterable[Object], observed: Observed, revision: str, now: datetime) -> Coverage:
        by_node: dict[str, list[Object]] = defaultdict(list)
        for pod in sorted(pods, key=name_of):
            by_node[node_of(pod)].append(pod)
        places = [_place(owner, node, by_node.pop(name_of(node), [])) for node in observed.all("nodes")]
        # Pods of nodes that are gone, and pods of no node: nothing keeps them.
        places += [Place(name, False, False, tuple(left)) for name, left in by_node.items()]
        return cls(owner, tuple(sorted(places, key=lambda place: place.name)), revision, now)

    def is_new(self, pod: Object) -> bool:
        return labels(pod).get(HASH) == self.revision

    @property
    def hashes(self) -> set[str]:
        return {labels(pod).get(HASH, "") for place in self.places for pod in place.pods}

    @property
    def desired(self) -> int:
        return sum(place.eligible for place in self.places)

    @property
    def surge(self) -> int:
        return self._limit("maxSurge", 0)

    @property
    def unavailable(self) -> int:
        """At least one when there is no surge: otherwise nothing could ever be replaced."""
        return max(self._limit("maxUnavailable", 1), 0 if self.surge else 1)

    def _limit(self, name: str, default: int) -> int:
        rolling = (spec_of(self.owner).get("updateStrategy") or {}).get("rollingUpdate") or {}
        return resolve(rolling.get(name), self.desired, up=True, default=default)


def min_ready(owner: Object) -> int:
    return int(spec_of(owner).get("minReadySeconds") or 0)


def node_of(pod: Object) -> str:
    """The node a daemon's pod is bound to, or will be."""
    bound = spec_of(pod).get("nodeName")
    if bound:
        return str(bound)
    affinity = (spec_of(pod).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for entry in term.get("matchFields") or ():
            if entry.get("key") == _FIELD and entry.get("operator") == "In" and len(entry.get("values") or ()) == 1:
                return str(entry["values"][0])
    return ""


def _place(owner: Object, node: Object, pods: list[Object]) -> Place:
    spec = (spec_of(owner).get("template") or {}).get("spec") or {}
    fits = selects(spec, node) and not is_deleting(node)
    tolerations = [*(spec.get("tolerations") or ()), *_tolerations(spec)]
    eligible = fits and tolerated(tolerations, node, ("NoSchedule", "NoExecute"))
    stays = fits and tolerated(tolerations, node, ("NoExecute",))
    return Place(name_of(node), eligible, stays, tuple(pods))


def _tolerations(pod_spec: dict[str, Any]) -> list[dict[str, str]]:
    wanted = [*_TOLERATED, *([_ON_HOST_NETWORK] if pod_spec.get("hostNetwork") else [])]
    return [{"key": key, "operator": "Exists", "effect": effect} for key, effect in wanted]


def daemon_pod(owner: Object, node: str, revision: str) -> Object:
    """The pod for a node."""
    pod = pod_from(spec_of(owner).get("template") or {}, owner)
    pod["metadata"]["labels"] = {**labels(pod), HASH: revision}
    spec = pod["spec"]
    held = spec.get("tolerations") or []
    spec["tolerations"] = held + [toleration for toleration in _tolerations(spec) if toleration not in held]
    spec["affinity"] = _pinned(spec.get("affinity") or {}, node)
    return pod


def _pinned(affinity: dict[str, Any], node: str) -> dict[str, Any]:
    """The affinity with the node as its only place; that the other terms allow it was checked."""
    term = {"matchFields": [{"key": _FIELD, "operator": "In", "values": [node]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {**affinity, "nodeAffinity": {**(affinity.get("nodeAffinity") or {}), **required}}
