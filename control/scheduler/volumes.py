"""What the scheduler knows of claims, persistent volumes and storage classes, reduced to what a decision asks of them.

A claim is *bound* once the volume controller has said so on it; an unbound one of a class that waits for its first
consumer is *late*: the scheduler chooses a node, and with it a volume that waits there or, noted on the claim, the
place where one is to be made; the pod is bound after the claim is.
Pure. Invariant: what changed nothing here is no news to any pod.
Source: "Persistent Volumes" and "Storage Classes: Volume Binding Mode" of Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from control.api import meta
from control.api.quantity import Quantity
from control.api.schema import Object
from control.api.selectors import LabelSelector, label_selector_of
from control.api.volume_binding import BIND_COMPLETED, NO_PROVISIONER, SELECTED_NODE, waits_for_consumer
from control.scheduler.choices import Choices
from control.scheduler.pod import Pod, Wanted

K = TypeVar("K")
V = TypeVar("V")
ClaimKey = tuple[str, str]  # namespace, name


@dataclass(frozen=True, slots=True)
class Claim:
    """volume: its name, "" if none was given. selected: the node that was chosen for it. owner: uid, "" if none.

    asked: bytes.
    """

    namespace: str
    name: str
    uid: str
    volume: str
    storage_class: str
    selected: str
    owner: str
    completed: bool
    lost: bool
    deleting: bool
    asked: Quantity
    modes: frozenset[str]
    kind: str
    selector: LabelSelector | None

    @property
    def key(self) -> ClaimKey:
        return (self.namespace, self.name)

    @property
    def bound(self) -> bool:
        """Whether it has its volume for good."""
        return self.completed and bool(self.volume)

    @property
    def alone(self) -> bool:
        """Whether one pod alone may use it."""
        return "ReadWriteOncePod" in self.modes


@dataclass(frozen=True, slots=True)
class Volume:
    """terms: of the node selector that its nodes must match; None: any node will do. claim, claim_uid: whose it is, or
    is to be; ("", ""), "" if it is to be had. available: nobody has it, and its controller has said so. capacity: in
    bytes.
    """

    name: str
    terms: list[Object] | None
    claim: ClaimKey
    claim_uid: str
    storage_class: str
    capacity: Quantity
    modes: frozenset[str]
    kind: str
    labels: dict[str, str]
    available: bool
    uid: str
    version: str = field(compare=False)  # who writes, writes to this one

    def is_meant_for(self, claim: Claim) -> bool:
        """Whether it is reserved for the claim."""
        return self.claim == claim.key and self.claim_uid in ("", claim.uid)

    def fits(self, claim: Claim) -> bool:
        """Whether it is what a claim of its class asks for."""
        return (
            claim.modes <= self.modes
            and claim.kind == self.kind
            and (claim.selector is None or claim.selector.matches(self.labels))
            and not self.capacity < claim.asked
        )


@dataclass(frozen=True, slots=True)
class Awaited:
    """A claim that must be bound before its pod. volume: the one that it is to get; None: it is made for it."""

    claim: Claim
    volume: Volume | None


@dataclass(frozen=True, slots=True)
class StorageClass:
    """late: claims wait for a pod. topologies: where volumes can be made; [] for anywhere."""

    late: bool
    provisioner: str
    topologies: list[Object]


class Volumes:
    """All claims, volumes and classes. Every put answers whether that is news; None as the new object: it is gone."""

    def __init__(self) -> None:
        self.claims: dict[ClaimKey, Claim] = {}
        self.volumes: dict[str, Volume] = {}
        self.classes: dict[str, StorageClass] = {}
        self.chosen = Choices()
        self._by_class: dict[str, dict[str, None]] = {}

    def put_claim(self, key: ClaimKey, new: Object | None) -> bool:
        """StatusError: what it asks for is no quantity, or its selector none."""
        before = self.claims.get(key)
        changed = _put(self.claims, key, None if new is None else claim_of(new))
        if changed and before is not None:
            self.chosen.heard_of_claim(before.uid)
        return changed

    def put_volume(self, name: str, new: Object | None) -> bool:
        """StatusError: its capacity is no quantity."""
        before = self.volumes.get(name)
        changed = _put(self.volumes, name, None if new is None else _volume_of(new))
        if changed:
            self.chosen.heard_of_volume(name)
        if before is not None:
            self._by_class[before.storage_class].pop(name, None)
            if not self._by_class[before.storage_class]:
                del self._by_class[before.storage_class]
        if new is not None:
            self._by_class.setdefault(self.volumes[name].storage_class, {})[name] = None
        return changed

    def put_class(self, name: str, new: Object | None) -> bool:
        return _put(self.classes, name, None if new is None else _class_of(new))

    def is_late(self, claim: Claim) -> bool:
        """Whether it waits for a pod's node. One that names its volume is the volume controller's to bind."""
        found = self.classes.get(claim.storage_class)
        return not claim.bound and not claim.volume and found is not None and found.late

    def of(self, pod: Pod) -> list[Claim]:
        """The pod's claims that exist."""
        keys = [(pod.namespace, wanted.name) for wanted in pod.claims]
        return [self.claims[key] for key in keys if key in self.claims]

    def fitting(self, claim: Claim) -> list[Volume]:
        """Volumes that there are for a late claim: the one that is meant for it, or all that do, smallest first."""
        chosen = self.chosen.volume_of(claim.uid)
        if chosen:
            return [self.volumes[chosen]]
        known = [self.volumes[name] for name in self._by_class.get(claim.storage_class, ())]
        meant = [v for v in known if v.is_meant_for(claim)]
        if meant:
            return meant
        free = (v for v in known if v.available and v.name not in self.chosen.volumes)
        return sorted((v for v in free if v.fits(claim)), key=lambda v: (v.capacity, v.name))

    def node_for(self, claim: Claim) -> str:
        """The node near which a late claim's volume is, or will be, made; "" if that is open."""
        return claim.selected or self.chosen.node_of(claim.uid)

    def has_its_own(self, claim: Claim, offered: Sequence[Volume]) -> bool:
        """Whether what is fitting for a late claim is the one that it is to have: no other is made, then."""
        return any(v.is_meant_for(claim) or self.chosen.volumes.get(v.name) == claim.uid for v in offered[:1])

    def choose(self, pod: Pod, node: str, awaited: Iterable[Awaited]) -> None:
        """The pod waits on that node for these, until it lets go; what can be heard of already needs no choice."""
        fresh = [a for a in awaited if not (a.claim.selected if a.volume is None else a.volume.claim_uid)]
        self.chosen.choose(pod.uid, node, [(a.claim.uid, a.volume.name if a.volume else "") for a in fresh])

    def refusal(self, pod: Pod) -> str:
        """Why no node at all may have the pod, in kube-scheduler's words; "" if some may."""
        missing = (w for w in pod.claims if not w.ephemeral and (pod.namespace, w.name) not in self.claims)
        for wanted in (*missing, *pod.claims):
            problem = _problem(pod, wanted, self.claims.get((pod.namespace, wanted.name)))
            if problem:
                return problem
        if all(claim.bound or self.is_late(claim) for claim in self.of(pod)):
            return ""
        return "pod has unbound immediate PersistentVolumeClaims"

    def concerns(self, name: str, pod: Pod) -> bool:
        """Whether a volume is, or is to be, that of a claim of the pod's."""
        volume = self.volumes.get(name)
        keys = [(pod.namespace, wanted.name) for wanted in pod.claims]
        if volume is not None and volume.claim in keys:
            return True
        claims = self.of(pod)
        offers = volume.storage_class if volume is not None and volume.available else None
        return any(c.volume == name or (c.storage_class == offers and self.is_late(c)) for c in claims)


def _problem(pod: Pod, wanted: Wanted, claim: Claim | None) -> str:
    called = f'persistentvolumeclaim "{wanted.name}"'
    if claim is None:
        waits = f"waiting for ephemeral volume controller to create the {called}"
        return waits if wanted.ephemeral else f"{called} not found"
    if claim.lost:
        return f'{called} bound to non-existent persistentvolume "{claim.volume}"'
    if claim.deleting:
        return f"{called} is being deleted"
    if wanted.ephemeral and claim.owner != pod.uid:
        where = f"{claim.namespace}/{claim.name}"
        return f"PVC {where} was not created for pod {pod.namespace}/{pod.name} (pod is not owner)"
    return ""


def _put(table: dict[K, V], key: K, new: V | None) -> bool:
    before = table.pop(key, None)
    if new is not None:
        table[key] = new
    return before != new


def claim_of(obj: Object) -> Claim:
    """A claim, reduced."""
    spec, annotations = obj.get("spec") or {}, obj["metadata"].get("annotations") or {}
    owner = meta.controller_of(obj)
    return Claim(
        namespace=meta.namespace(obj),
        name=meta.name(obj),
        uid=meta.uid(obj),
        volume=spec.get("volumeName") or "",
        storage_class=spec.get("storageClassName") or "",
        selected=annotations.get(SELECTED_NODE) or "",
        owner=owner["uid"] if owner else "",
        completed=BIND_COMPLETED in annotations,
        lost=(obj.get("status") or {}).get("phase") == "Lost",
        deleting=meta.is_deleting(obj),
        asked=Quantity.parse(((spec.get("resources") or {}).get("requests") or {}).get("storage", 0)),
        modes=frozenset(spec.get("accessModes") or ()),
        kind=spec.get("volumeMode") or "Filesystem",
        selector=None if spec.get("selector") is None else label_selector_of(spec["selector"]),
    )


def _volume_of(obj: Object) -> Volume:
    spec: dict[str, Any] = obj.get("spec") or {}
    required = (spec.get("nodeAffinity") or {}).get("required")
    reference = spec.get("claimRef") or {}
    return Volume(
        name=meta.name(obj),
        terms=None if required is None else required.get("nodeSelectorTerms") or [],
        claim=(reference.get("namespace") or "", reference.get("name") or ""),
        claim_uid=reference.get("uid") or "",
        storage_class=spec.get("storageClassName") or "",
        capacity=Quantity.parse((spec.get("capacity") or {}).get("storage", 0)),
        modes=frozenset(spec.get("accessModes") or ()),
        kind=spec.get("volumeMode") or "Filesystem",
        labels=meta.labels(obj),
        available=_is_available(obj, reference),
        uid=meta.uid(obj),
        version=obj["metadata"].get("resourceVersion") or "",
    )


def _is_available(obj: Object, reference: Object) -> bool:
    return not reference and not meta.is_deleting(obj) and (obj.get("status") or {}).get("phase") == "Available"


def _class_of(obj: Object) -> StorageClass:
    return StorageClass(
        late=waits_for_consumer(obj),
        provisioner=obj.get("provisioner") or NO_PROVISIONER,
        topologies=obj.get("allowedTopologies") or [],
    )
