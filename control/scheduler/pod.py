"""A pod as the scheduler sees it: worked out once, compared often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from control.api import meta
from control.api.schema import Object
from control.api.selectors import LabelSelector, label_selector_of
from control.scheduler.requests import assumed_requests, pod_requests
from control.scheduler.sorts import Sort


class Port(NamedTuple):
    """A port of the node's that a pod wants for itself; address "" stands for all of them."""

    protocol: str
    number: int
    address: str


class Wanted(NamedTuple):
    """A persistent volume claim that a pod uses; ephemeral: it is the pod's own, made for it."""

    name: str
    ephemeral: bool


class Toleration(NamedTuple):
    """operator: Exists or Equal. key and effect "" match all."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        """Whether a taint does not keep the pod away."""
        if self.effect and self.effect != effect:
            return False
        if self.key and self.key != key:
            return False
        return self.operator == "Exists" or (bool(self.key) and self.value == value)


@dataclass(frozen=True, slots=True)
class Term:
    """One term of affinity or anti-affinity to other pods, with the namespaces it looks into.

    everywhere: an empty namespace selector was given. weight: 0 for a required term.
    """

    topology_key: str
    selector: LabelSelector
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Spread:
    """One topology spread constraint."""

    topology_key: str
    max_skew: int
    hard: bool
    selector: LabelSelector
    min_domains: int
    honor_affinity: bool
    honor_taints: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pod:
    """object: as the API has it. node: "" while it is pending. requests: see requests.py."""

    object: Object
    uid: str
    namespace: str
    name: str
    node: str
    labels: dict[str, str]
    sort: Sort
    priority: int
    requests: dict[str, int]
    assumed: dict[str, int]
    ports: tuple[Port, ...]
    claims: tuple[Wanted, ...]
    node_selector: dict[str, str]
    required_nodes: list[Object] | None
    preferred_nodes: list[Object]
    tolerations: tuple[Toleration, ...]
    affinity: tuple[Term, ...]
    anti_affinity: tuple[Term, ...]
    preferences: tuple[Term, ...]
    spread: tuple[Spread, ...]
    images: tuple[str, ...]
    owner: str
    nominated: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.namespace, self.name)

    @property
    def gated(self) -> bool:
        """Whether somebody holds it back by a scheduling gate."""
        return bool(self.object["spec"].get("schedulingGates"))

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        """Whether a taint does not keep it away."""
        return any(toleration.tolerates(key, value, effect) for toleration in self.tolerations)


def pod_of(obj: Object) -> Pod:
    """Everything the filters and scores ask of a pod. StatusError: a selector or a quantity is none."""
    spec = obj["spec"]
    labels = meta.labels(obj)
    affinity = spec.get("affinity") or {}
    nodes = affinity.get("nodeAffinity") or {}
    required = nodes.get("requiredDuringSchedulingIgnoredDuringExecution")
    owner = meta.controller_of(obj)
    return Pod(
        object=obj,
        uid=meta.uid(obj),
        namespace=meta.namespace(obj),
        name=meta.name(obj),
        node=spec.get("nodeName") or "",
        labels=labels,
        sort=Sort(frozenset(labels.items()), meta.is_deleting(obj), labels),
        priority=spec.get("priority") or 0,
        requests=pod_requests(spec),
        assumed=assumed_requests(spec),
        ports=_ports(spec),
        claims=_claims(obj),
        node_selector=spec.get("nodeSelector") or {},
        required_nodes=None if required is None else required.get("nodeSelectorTerms") or [],
        preferred_nodes=nodes.get("preferredDuringSchedulingIgnoredDuringExecution") or [],
        tolerations=tuple(_toleration(entry) for entry in spec.get("tolerations") or ()),
        affinity=_terms(obj, affinity.get("podAffinity"), required=True),
        anti_affinity=_terms(obj, affinity.get("podAntiAffinity"), required=True),
        preferences=(
            *_terms(obj, affinity.get("podAffinity"), required=False),
            *_terms(obj, affinity.get("podAntiAffinity"), required=False, sign=-1),
        ),
        spread=tuple(_spread(entry, labels) for entry in spec.get("topologySpreadConstraints") or ()),
        images=tuple(container.get("image") or "" for container in spec.get("containers") or ()),
        owner=owner["uid"] if owner else "",
        nominated=(obj.get("status") or {}).get("nominatedNodeName") or "",
    )


def _ports(spec: Object) -> tuple[Port, ...]:
    return tuple(
        Port(port.get("protocol") or "TCP", port["hostPort"], _address(port.get("hostIP") or ""))
        for container in (*(spec.get("containers") or ()), *_sidecars(spec))
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def _claims(obj: Object) -> tuple[Wanted, ...]:
    found = []
    for volume in obj["spec"].get("volumes") or ():
        source = volume.get("persistentVolumeClaim")
        if source is not None:
            found.append(Wanted(source["claimName"], ephemeral=False))
        elif volume.get("ephemeral") is not None:
            found.append(Wanted(f"{meta.name(obj)}-{volume['name']}", ephemeral=True))
    return tuple(found)


def _sidecars(spec: Object) -> list[Object]:
    return [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]


def _address(text: str) -> str:
    return "" if text in ("0.0.0.0", "::") else text


def _toleration(entry: Object) -> Toleration:
    return Toleration(
        entry.get("key") or "", entry.get("operator") or "Equal", entry.get("value") or "", entry.get("effect") or ""
    )


def _terms(obj: Object, affinity: Object | None, *, required: bool, sign: int = 1) -> tuple[Term, ...]:
    if not affinity:
        return ()
    if required:
        entries = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        return tuple(_term(obj, entry, 0) for entry in entries)
    entries = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return tuple(_term(obj, entry["podAffinityTerm"], sign * entry["weight"]) for entry in entries)


def _term(obj: Object, entry: Object, weight: int) -> Term:
    namespaces = frozenset(entry.get("namespaces") or ())
    chosen = entry.get("namespaceSelector")
    if not namespaces and chosen is None:
        namespaces = frozenset({meta.namespace(obj)})
    return Term(
        topology_key=entry["topologyKey"],
        selector=_with_keys(entry, meta.labels(obj)),
        namespaces=namespaces,
        namespace_selector=None if chosen is None else label_selector_of(chosen),
        weight=weight,
    )


def _spread(entry: Object, labels: dict[str, str]) -> Spread:
    return Spread(
        topology_key=entry["topologyKey"],
        max_skew=entry["maxSkew"],
        hard=entry.get("whenUnsatisfiable", "DoNotSchedule") == "DoNotSchedule",
        selector=_with_keys(entry, labels),
        min_domains=entry.get("minDomains") or 1,
        honor_affinity=entry.get("nodeAffinityPolicy", "Honor") == "Honor",
        honor_taints=entry.get("nodeTaintsPolicy", "Ignore") == "Honor",
    )


def _with_keys(entry: Object, labels: dict[str, str]) -> LabelSelector:
    """labelSelector, narrowed by matchLabelKeys and mismatchLabelKeys to the pod's own values."""
    selector: dict[str, Any] = dict(entry.get("labelSelector") or {})
    if entry.get("labelSelector") is None:
        return NOBODY
    expressions = list(selector.get("matchExpressions") or ())
    for field, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
        expressions += [
            {"key": key, "operator": operator, "values": [labels[key]]}
            for key in entry.get(field) or ()
            if key in labels
        ]
    return label_selector_of({**selector, "matchExpressions": expressions})


# A missing selector matches no pod, an empty one all.
NOBODY = label_selector_of(None)
