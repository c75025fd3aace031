"""What endpoints and endpoint slices are made of: the pods a service selects, their addresses and ports.

Invariant: a pod is an endpoint while it has an address and has not ended. Source: "Services" and "EndpointSlices".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from control.api.schema import Object
from control.api.selectors import selector_of_labels
from control.controllers.values.actions import Key
from control.controllers.values.controller import states
from control.controllers.values.objects import is_deleting, key_of, labels, name_of, namespace_of, spec_of, status_of
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_finished, is_ready

SERVICES: Final = "services"


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """A port of the service as one pod has it."""

    name: str
    port: int
    protocol: str
    app_protocol: str = ""

    def to_object(self) -> Object:
        made: Object = {"port": self.port, "protocol": self.protocol}
        if self.name:
            made["name"] = self.name
        if self.app_protocol:
            made["appProtocol"] = self.app_protocol
        return made


def selected_pods(observed: Observed, service: Object) -> list[Object]:
    """The service's pods, by name."""
    selector = selector_of_labels(spec_of(service).get("selector"))
    pods = observed.pods(namespace_of(service), selector)
    return sorted((pod for pod in pods if not is_finished(pod)), key=name_of)


def has_selector(service: Object) -> bool:
    """Without one, and for a service that is only a name, somebody else keeps the endpoints."""
    return bool(spec_of(service).get("selector")) and spec_of(service).get("type") != "ExternalName"


def addresses(pod: Object) -> list[str]:
    """All its addresses, of both families."""
    many = [entry["ip"] for entry in status_of(pod).get("podIPs") or () if entry.get("ip")]
    one = status_of(pod).get("podIP")
    return many or ([one] if one else [])


def family(address: str) -> str:
    """As EndpointSlice.addressType says it."""
    return "IPv6" if ":" in address else "IPv4"


def ports(service: Object, pod: Object) -> tuple[Port, ...]:
    """The service's ports on that pod; a name that no container has is left out."""
    found = []
    for entry in spec_of(service).get("ports") or ():
        number = _target(entry, pod)
        if number is not None:
            name, protocol = entry.get("name") or "", entry.get("protocol") or "TCP"
            found.append(Port(name, number, protocol, entry.get("appProtocol") or ""))
    return tuple(sorted(found))


def _target(entry: dict[str, Any], pod: Object) -> int | None:
    target = entry.get("targetPort") or entry["port"]
    if isinstance(target, int):
        return target
    protocol, spec = entry.get("protocol") or "TCP", spec_of(pod)
    # Of init containers only those serve that go on beside the others.
    beside = (found for found in spec.get("initContainers") or () if found.get("restartPolicy") == "Always")
    for container in [*(spec.get("containers") or ()), *beside]:
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    return None


def hostname(service: Object, pod: Object) -> str:
    """The pod's name in DNS below the service's, if it has one there."""
    spec = spec_of(pod)
    return str(spec.get("hostname") or "") if spec.get("subdomain") == name_of(service) else ""


def is_serving(service: Object, pod: Object) -> bool:
    return is_ready(pod) or bool(spec_of(service).get("publishNotReadyAddresses"))


def target_reference(pod: Object) -> Object:
    return {
        "kind": "Pod",
        "namespace": namespace_of(pod),
        "name": name_of(pod),
        "uid": pod["metadata"].get("uid", ""),
    }


def wake_services(_resource: str, old: Object | None, new: Object | None, observed: Observed) -> Iterator[Key]:
    """The services that select the pod, before or after the change, if anything changed that endpoints show."""
    if old is not None and new is not None and _shown(old) == _shown(new):
        return
    seen: set[Key] = set()
    for pod in states(old, new):
        for service in observed.may_select(SERVICES, pod):
            key = key_of(service)
            chosen = selector_of_labels(spec_of(service).get("selector")).matches(labels(pod))
            if chosen and key not in seen:
                seen.add(key)
                yield key


def _shown(pod: Object) -> tuple[Any, ...]:
    spec = spec_of(pod)
    places = (spec.get("nodeName"), spec.get("hostname"), spec.get("subdomain"))
    return labels(pod), addresses(pod), is_ready(pod), is_finished(pod), is_deleting(pod), places
