"""Mirroring: endpoints that people write by hand, for a service without a selector, as slices, which proxies read.

Invariants: only slices marked as ours are touched; endpoints marked skip-mirror, and those of services that select
pods, have none. Source: "EndpointSlices: EndpointSlice mirroring" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.reconcilers.services.endpoints import LEADER
from control.controllers.reconcilers.services.pods import SERVICES, family
from control.controllers.values.actions import NOTHING, Action, Create, Decision, Delete, Key, Update
from control.controllers.values.objects import (
    annotations_of,
    cause,
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
from control.controllers.values.templates import prefix_of

ENDPOINTS: Final = "endpoints"
SLICES: Final = "endpointslices.discovery.k8s.io"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
MANAGER: Final = "endpointslicemirroring-controller.k8s.io"
SERVICE_NAME: Final = "kubernetes.io/service-name"
SKIP: Final = "endpointslice.kubernetes.io/skip-mirror"
# Of a subset, as many addresses as Kubernetes mirrors.
MOST: Final = 1000


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Make the mirrored slices what the endpoints are; none where nothing is to be mirrored."""
    endpoints = observed.get(ENDPOINTS, key.namespace, key.name)
    if endpoints is None or is_deleting(endpoints):
        return NOTHING
    held = [obj for obj in observed.controlled(SLICES, uid_of(endpoints)) if labels(obj).get(MANAGED_BY) == MANAGER]
    wanted = list(_slices(endpoints)) if _is_mirrored(endpoints, observed) else []
    return Decision(_fit(endpoints, wanted, sorted(held, key=name_of)))


def _is_mirrored(endpoints: Object, observed: Observed) -> bool:
    service = observed.named(SERVICES, endpoints)
    if service is None or spec_of(service).get("selector"):
        return False
    return labels(endpoints).get(SKIP) != "true" and LEADER not in annotations_of(endpoints)


def _slices(endpoints: Object) -> Iterator[Object]:
    """A slice for each subset and family of addresses."""
    for subset in endpoints.get("subsets") or ():
        found: dict[str, list[Object]] = defaultdict(list)
        for field, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(field) or ():
                found[family(address["ip"])].append(_endpoint(address, ready))
        for kind, entries in sorted(found.items()):
            yield {"addressType": kind, "endpoints": entries[:MOST], "ports": subset.get("ports") or []}


def _endpoint(address: Object, ready: bool) -> Object:
    made: dict[str, Any] = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    for field in ("hostname", "nodeName", "targetRef"):
        if address.get(field):
            made[field] = address[field]
    return made


def _fit(endpoints: Object, wanted: list[Object], held: list[Object]) -> list[Action]:
    """Slices that are right stay; others of the same family are changed, made, or deleted."""
    because = cause(ENDPOINTS, endpoints, f"{len(wanted)} slices mirror endpoints written by hand")
    left = [made for made in wanted if not any(_same(endpoints, obj, made) for obj in held)]
    spare = [obj for obj in held if not any(_same(endpoints, obj, made) for made in wanted)]
    actions: list[Action] = []
    for made in left:
        old = next((obj for obj in spare if obj.get("addressType") == made["addressType"]), None)
        if old is None:
            actions.append(Create(SLICES, _whole(endpoints, made), because))
        else:
            spare.remove(old)
            actions.append(Update(SLICES, {**with_metadata(old, labels=_labels(endpoints)), **made}, because))
    return actions + [Delete(SLICES, namespace_of(obj), name_of(obj), uid_of(obj), because) for obj in spare]


def _same(endpoints: Object, obj: Object, made: Object) -> bool:
    return labels(obj) == _labels(endpoints) and all((obj.get(part) or []) == made[part] for part in made)


def _labels(endpoints: Object) -> dict[str, str]:
    return {**labels(endpoints), SERVICE_NAME: name_of(endpoints), MANAGED_BY: MANAGER}


def _whole(endpoints: Object, made: Object) -> Object:
    metadata = {
        "generateName": prefix_of(name_of(endpoints)),
        "namespace": namespace_of(endpoints),
        "labels": _labels(endpoints),
        "ownerReferences": [owner_reference(endpoints)],
    }
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, **made}
