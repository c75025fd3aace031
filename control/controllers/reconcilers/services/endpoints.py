"""Endpoints: the addresses behind a service, in the old form, in one object of the service's name.

Invariants: an address is in exactly one list of a subset; subsets are in a canonical order, so that equal ones are
never written again; endpoints of services without a selector are not ours while the service is there. When it goes, all
endpoints of its name go, also those that people wrote; but these may be written before their service, so they are only
looked at in this way when a service went or a term begins, and the server is asked.

Source: "Services: Endpoints (deprecated)"; for what a service leaves behind, Kubernetes' endpoints controller.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from control.api.schema import Object
from control.controllers.reconcilers.services.pods import (
    SERVICES,
    Port,
    addresses,
    family,
    has_selector,
    hostname,
    is_serving,
    ports,
    selected_pods,
    target_reference,
)
from control.controllers.values.actions import NOTHING, Create, Decision, Delete, Key, Read, Update
from control.controllers.values.objects import (
    annotations_of,
    cause,
    is_deleting,
    key_of,
    labels,
    name_of,
    namespace_of,
    spec_of,
    uid_of,
    with_metadata,
)
from control.controllers.values.observed import Observed

RESOURCE: Final = "endpoints"
MOST: Final = 1000
OVER_CAPACITY: Final = "endpoints.kubernetes.io/over-capacity"
# Endpoints that candidates in an election write to: there is no service of that name, and they stay.
LEADER: Final = "control-plane.alpha.kubernetes.io/leader"
_HEADLESS: Final = "service.kubernetes.io/headless"
_MANAGED_BY: Final = "endpoints.kubernetes.io/managed-by"
# Seconds until a service is asked for again when the server could not say.
_AGAIN: Final = 10.0


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Make the endpoints what the service's pods are. A key with a resource: the service was seen to be gone."""
    service = observed.get(SERVICES, key.namespace, key.name)
    held = observed.get(RESOURCE, key.namespace, key.name)
    if service is None:
        return _remove(key, held, observed)
    if key.resource or not has_selector(service) or is_deleting(service):
        return NOTHING
    pods = [pod for pod in selected_pods(observed, service) if _counts(service, pod)]
    subsets, over = _subsets(service, pods)
    wanted = _metadata(service, held, over)
    because = cause(SERVICES, service, f"endpoints: {len(pods)} pods selected")
    if held is None:
        place = {"name": key.name, "namespace": key.namespace}
        made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {**place, **wanted}, "subsets": subsets}
        return Decision([Create(RESOURCE, made, because)])
    if (held.get("subsets") or []) == subsets and _same(held, wanted):
        return NOTHING
    return Decision([Update(RESOURCE, {**with_metadata(held, **wanted), "subsets": subsets}, because)])


def _remove(key: Key, held: Object | None, observed: Observed) -> Decision:
    """There is no service; what we made for it goes, and what others made if its service was there and went."""
    if held is None or is_deleting(held):
        return NOTHING
    if _MANAGED_BY not in labels(held):
        if not key.resource:
            return NOTHING
        question = Read(SERVICES, key.namespace, key.name)
        answer = observed.answers.get(question)
        if answer is None:
            return Decision(reads=[question])
        if answer.code != 404:
            return Decision(requeue_after=_AGAIN if answer.object is None else None)
    because = cause(RESOURCE, held, "its service is gone")
    return Decision([Delete(RESOURCE, namespace_of(held), name_of(held), uid_of(held), because)])


def _counts(service: Object, pod: Object) -> bool:
    """Whether the pod is in the old form at all: it has an address and is not on its way out."""
    leaving = is_deleting(pod) and not spec_of(service).get("publishNotReadyAddresses")
    return bool(addresses(pod)) and not leaving


def _subsets(service: Object, pods: Iterable[Object]) -> tuple[list[Object], bool]:
    """Subsets by ports; whether addresses had to be left out."""
    ready: dict[tuple[Port, ...], list[Object]] = defaultdict(list)
    waiting: dict[tuple[Port, ...], list[Object]] = defaultdict(list)
    counted, over = 0, False
    for pod in sorted(pods, key=lambda pod: (not is_serving(service, pod), name_of(pod))):
        if counted == MOST:
            over = True
            break
        exposed = ports(service, pod)
        address = _address(service, pod)
        if address is None or (not exposed and spec_of(service).get("ports")):
            continue
        (ready if is_serving(service, pod) else waiting)[exposed].append(address)
        counted += 1
    return [_subset(key, ready[key], waiting[key]) for key in sorted({*ready, *waiting})], over


def _subset(exposed: tuple[Port, ...], ready: list[Object], waiting: list[Object]) -> Object:
    made: Object = {}
    for name, found in (("addresses", ready), ("notReadyAddresses", waiting)):
        if found:
            made[name] = sorted(found, key=lambda entry: (entry["ip"], entry["targetRef"]["uid"]))
    if exposed:
        made["ports"] = [port.to_object() for port in exposed]
    return made


def _address(service: Object, pod: Object) -> Object | None:
    families = spec_of(service).get("ipFamilies") or ["IPv4"]
    found = next((address for address in addresses(pod) if family(address) == families[0]), None)
    if found is None:
        return None
    made: Object = {"ip": found, "targetRef": target_reference(pod)}
    if spec_of(pod).get("nodeName"):
        made["nodeName"] = spec_of(pod)["nodeName"]
    if hostname(service, pod):
        made["hostname"] = hostname(service, pod)
    return made


def _metadata(service: Object, held: Object | None, over: bool) -> dict[str, Any]:
    """Labels as the service has them, and what the object says of itself."""
    wanted = {**labels(service), _MANAGED_BY: "endpoint-controller"}
    if spec_of(service).get("clusterIP") == "None":
        wanted[_HEADLESS] = ""
    notes = {key: text for key, text in annotations_of(held or {}).items() if key != OVER_CAPACITY}
    if over:
        notes[OVER_CAPACITY] = "truncated"
    return {"labels": wanted, "annotations": notes or None}


def _same(held: Object, wanted: dict[str, Any]) -> bool:
    return labels(held) == wanted["labels"] and annotations_of(held) == (wanted["annotations"] or {})


# ---- what wakes it up ----


def wake(_resource: str, old: Object | None, new: Object | None, _observed: Observed) -> Iterator[Key]:
    """The service that changed, or went."""
    if new is not None:
        yield key_of(new)
    elif old is not None:
        yield _gone(old)


def keys(observed: Observed) -> Iterator[Key]:
    """All services, and those that went while nobody was at work."""
    yield from map(key_of, observed.all(SERVICES))
    for held in observed.all(RESOURCE):
        if observed.named(SERVICES, held) is None and LEADER not in annotations_of(held):
            yield _gone(held)


def _gone(obj: Object) -> Key:
    return key_of(obj)._replace(resource=SERVICES)
