"""What the scheduler knows of claims, persistent volumes and storage classes, reduced to what a decision asks of them.

A claim is *bound* once the volume controller has said so on it; an unbound one of a class that waits for its first
consumer is *late*: the scheduler chooses a node, notes it on the claim, and the pod is bound after the claim is.
Pure. Invariant: what changed nothing here is no news to any pod.
Source: "Persistent Volumes" and "Storage Classes: Volume Binding Mode" of Kubernetes' documentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeVar

from control.api import meta
from control.api.schema import Object
from control.scheduler.pod import Pod, Wanted

K = TypeVar("K")
V = TypeVar("V")
ClaimKey = tuple[str, str]  # namespace, name

BIND_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
SELECTED_NODE: Final = "volume.kubernetes.io/selected-node"
NO_PROVISIONER: Final = "kubernetes.io/no-provisioner"


@dataclass(frozen=True, slots=True)
class Claim:
    """volume: its name, "" if none was given. selected: the node that was chosen for it. owner: uid, "" if none."""

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

    @property
    def bound(self) -> bool:
        """Whether it has its volume for good."""
        return self.completed and bool(self.volume)


@dataclass(frozen=True, slots=True)
class Volume:
    """terms: of the node selector that its nodes must match; None: any node will do."""

    name: str
    terms: list[Object] | None
    claim: ClaimKey


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

    def put_claim(self, key: ClaimKey, new: Object | None) -> bool:
        return _put(self.claims, key, None if new is None else claim_of(new))

    def put_volume(self, name: str, new: Object | None) -> bool:
        return _put(self.volumes, name, None if new is None else _volume_of(new))

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

    def awaited(self, pod: Pod) -> tuple[Claim, ...]:
        """Claims that must be bound before the pod may be."""
        return tuple(claim for claim in self.of(pod) if not claim.bound)

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
        return (volume is not None and volume.claim in keys) or any(c.volume == name for c in self.of(pod))


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
    if table.get(key) == new:
        return False
    if new is None:
        del table[key]
    else:
        table[key] = new
    return True


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
    )


def _volume_of(obj: Object) -> Volume:
    spec: dict[str, Any] = obj.get("spec") or {}
    required = (spec.get("nodeAffinity") or {}).get("required")
    reference = spec.get("claimRef") or {}
    return Volume(
        name=meta.name(obj),
        terms=None if required is None else required.get("nodeSelectorTerms") or [],
        claim=(reference.get("namespace") or "", reference.get("name") or ""),
    )


def _class_of(obj: Object) -> StorageClass:
    return StorageClass(
        late=obj.get("volumeBindingMode") == "WaitForFirstConsumer",
        provisioner=obj.get("provisioner") or NO_PROVISIONER,
        topologies=obj.get("allowedTopologies") or [],
    )
