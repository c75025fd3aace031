"""What the network's parts know of the cluster: Services and EndpointSlices, followed once for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from control.client.informer import Informer, Source

Object = dict[str, Any]
SLICES = "endpointslices.discovery.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"


class ClusterView:
    """start(), then stop(); before the first lists are in, `synced` is False. See dns.zone.Cluster for the look-ups."""

    def __init__(self, client: Source) -> None:
        self._services = Informer(client, "services", indexes={"ip": _cluster_ips, "ns": _namespace}, transform=slim)
        self._slices = Informer(client, SLICES, indexes={"service": _service, "ip": _addresses}, transform=slim)

    async def start(self) -> None:
        """Returns when both lists are in. Raises StatusError when they are refused for good."""
        await asyncio.gather(self._services.start(), self._slices.start())

    async def stop(self) -> None:
        await asyncio.gather(self._services.stop(), self._slices.stop())

    @property
    def synced(self) -> bool:
        return self._services.has_synced and self._slices.has_synced

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call it after each change."""
        for informer in (self._services, self._slices):
            informer.subscribe(lambda old, new: changed())

    @property
    def services(self) -> list[Object]:
        return list(self._services.objects.values())

    @property
    def all_slices(self) -> list[Object]:
        return list(self._slices.objects.values())

    # ---- dns.zone.Cluster ----

    def service(self, namespace: str, name: str) -> Object | None:
        return self._services.get(name, namespace)

    def slices(self, namespace: str, name: str) -> Sequence[Object]:
        return self._slices.by_index("service", f"{namespace}/{name}")

    def has_namespace(self, name: str) -> bool:
        return bool(self._services.by_index("ns", name))

    def services_at(self, address: str) -> Sequence[Object]:
        return self._services.by_index("ip", address)

    def slices_at(self, address: str) -> Sequence[Object]:
        return self._slices.by_index("ip", address)


def slim(obj: Object) -> Object:
    """Without what nobody here reads: there may be thousands."""
    obj["metadata"].pop("managedFields", None)
    obj["metadata"].pop("annotations", None)
    return obj


def _namespace(obj: Object) -> list[str]:
    return [obj["metadata"].get("namespace", "")]


def _cluster_ips(service: Object) -> list[str]:
    spec = service.get("spec") or {}
    ips = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return [ip for ip in ips if ip and ip != "None"]


def _service(each: Object) -> list[str]:
    name = (each["metadata"].get("labels") or {}).get(SERVICE_NAME)
    return [f"{each['metadata'].get('namespace', '')}/{name}"] if name else []


def _addresses(each: Object) -> list[str]:
    found = {str(a) for endpoint in each.get("endpoints") or [] for a in endpoint.get("addresses") or []}
    return sorted(found)
