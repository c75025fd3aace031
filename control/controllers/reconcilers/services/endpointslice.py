"""EndpointSlice: the addresses behind a service, in slices of at most a hundred, one set of slices a family and ports.

Invariants: an address of a pod is in one slice only; endpoints stay in the slice they are in, so that one pod's change
is one small write; a family without endpoints has one empty slice, which says that there are none; slices that others
manage are left alone. Source: "EndpointSlices" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from control.api.schema import Object
from control.controllers.reconcilers.services.pods import (
    SERVICES,
    Port,
    addresses,
    family,
    has_selector,
    hostname,
    ports,
    selected_pods,
    target_reference,
)
from control.controllers.values.actions import NOTHING, Action, Create, Decision, Delete, Key, Update
from control.controllers.values.objects import (
    cause,
    created_at,
    is_deleting,
    labels,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    uid_of,
    with_metadata,
)
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_ready
from control.controllers.values.templates import prefix_of

RESOURCE: Final = "endpointslices.discovery.k8s.io"
MOST: Final = 100
SERVICE_NAME: Final = "kubernetes.io/service-name"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "endpointslice-controller.k8s.io"
# What a slice is for: one family, one set of ports.
Group = tuple[str, tuple[Port, ...]]


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Make the service's slices what its pods are, with as few writes as possible."""
    service = observed.get(SERVICES, key.namespace, key.name)
    if service is None or is_deleting(service) or not has_selector(service):
        return NOTHING
    wanted = _endpoints(service, selected_pods(observed, service), observed)
    held = _slices(observed, service)
    actions: list[Action] = []
    for group in sorted({*wanted, *held}, key=repr):
        slices = sorted(held.get(group, ()), key=lambda found: (created_at(found), name_of(found)))
        actions += _fit(service, group, wanted.get(group), slices)
    return Decision(actions)


def _slices(observed: Observed, service: Object) -> dict[Group, list[Object]]:
    found: dict[Group, list[Object]] = defaultdict(list)
    for obj in observed.controlled(RESOURCE, uid_of(service)):
        if labels(obj).get(MANAGED_BY) == MANAGER and not is_deleting(obj):
            found[(str(obj.get("addressType", "")), _ports_of(obj))].append(obj)
    return found


def _ports_of(obj: Object) -> tuple[Port, ...]:
    return tuple(
        sorted(
            Port(p.get("name") or "", int(p.get("port") or 0), p.get("protocol") or "TCP", p.get("appProtocol") or "")
            for p in obj.get("ports") or ()
        )
    )


def _endpoints(service: Object, pods: Iterable[Object], observed: Observed) -> dict[Group, dict[str, Object]]:
    """Group → the pod's uid → its endpoint. Of a family without any, the group without ports is there, and empty."""
    families = spec_of(service).get("ipFamilies") or ["IPv4"]
    found: dict[Group, dict[str, Object]] = defaultdict(dict)
    for pod in pods:
        exposed = ports(service, pod)
        if not exposed and spec_of(service).get("ports"):
            continue
        for kind in families:
            own = [address for address in addresses(pod) if family(address) == kind]
            if own:
                found[(kind, exposed)][uid_of(pod)] = _endpoint(service, pod, own, observed)
    for kind in set(families) - {kind for kind, _ in found}:
        found[(kind, ())] = {}
    return found


def _endpoint(service: Object, pod: Object, own: list[str], observed: Observed) -> Object:
    serving, leaving = is_ready(pod), is_deleting(pod)
    ready = bool(spec_of(service).get("publishNotReadyAddresses")) or (serving and not leaving)
    made: Object = {
        "addresses": own,
        "conditions": {"ready": ready, "serving": serving, "terminating": leaving},
        "targetRef": target_reference(pod),
    }
    name = spec_of(pod).get("nodeName")
    if name:
        made["nodeName"] = name
        zone = _zone(observed.get("nodes", "", name))
        made.update({"zone": zone} if zone else {})
    if hostname(service, pod):
        made["hostname"] = hostname(service, pod)
    return made


def _zone(node: Object | None) -> str:
    return labels(node).get("topology.kubernetes.io/zone", "") if node is not None else ""


def _fit(service: Object, group: Group, wanted: dict[str, Object] | None, slices: Sequence[Object]) -> list[Action]:
    """Updates of slices that change, new slices for what has no place, deletions of empty ones.

    wanted: None if the group is not to be; of an empty one, one slice stays.
    """
    left = dict(wanted or {})
    contents: list[list[Object]] = []
    for obj in slices:
        kept = [left.pop(uid) for e in obj.get("endpoints") or () if (uid := _uid(e)) in left]
        contents.append(kept[:MOST])
        left.update({_uid(endpoint): endpoint for endpoint in kept[MOST:]})
    homeless = list(left.values())
    for content in contents:
        while homeless and len(content) < MOST:
            content.append(homeless.pop(0))
    actions: list[Action] = []
    empty = 1 if wanted == {} else 0
    for number, (obj, content) in enumerate(zip(slices, contents, strict=True)):
        actions += _change(service, obj, content, stays=bool(content) or number < empty)
    chunks = [homeless[at : at + MOST] for at in range(0, max(len(homeless), empty - len(slices)), MOST)]
    return actions + [_make(service, group, chunk) for chunk in chunks]


def _uid(endpoint: Object) -> str:
    return str((endpoint.get("targetRef") or {}).get("uid", ""))


def _change(service: Object, obj: Object, content: list[Object], *, stays: bool) -> list[Action]:
    because = cause(SERVICES, service, f"endpoint slice: {len(content)} endpoints")
    if not stays:
        return [Delete(RESOURCE, namespace_of(obj), name_of(obj), uid_of(obj), because)]
    wanted = _labels(service)
    if (obj.get("endpoints") or []) == content and labels(obj) == wanted:
        return []
    return [Update(RESOURCE, {**with_metadata(obj, labels=wanted), "endpoints": content}, because)]


def _labels(service: Object) -> dict[str, str]:
    made = {**labels(service), SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    if spec_of(service).get("clusterIP") == "None":
        made["service.kubernetes.io/headless"] = ""
    return made


def _make(service: Object, group: Group, content: list[Object]) -> Create:
    kind, exposed = group
    metadata = {
        "generateName": prefix_of(name_of(service)),
        "namespace": namespace_of(service),
        "labels": _labels(service),
        "ownerReferences": [owner_reference(service)],
    }
    made = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": kind,
        "endpoints": content,
        "ports": [port.to_object() for port in exposed],
    }
    return Create(RESOURCE, made, cause(SERVICES, service, f"endpoint slice: {len(content)} endpoints"))
