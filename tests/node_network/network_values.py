"""Services, EndpointSlices and Nodes as plain values."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]


def service(name: str, ip: str = "10.96.0.5", namespace: str = "default", **spec: Any) -> Object:
    ports = spec.pop("ports", [{"name": "http", "port": 80}])
    made = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ports": ports, **spec}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": made}


def endpoint(ip: str, node: str = "n1", **more: Any) -> Object:
    conditions = {"ready": more.pop("ready", True), "serving": more.pop("serving", True), "terminating": False}
    return {"addresses": [ip], "nodeName": node, "conditions": conditions, **more}


def slice_of(name: str, *endpoints: Object, namespace: str = "default", **more: Any) -> Object:
    labels = {"kubernetes.io/service-name": name}
    return {
        "metadata": {"name": more.pop("slice", f"{name}-1"), "namespace": namespace, "labels": labels},
        "addressType": more.pop("family", "IPv4"),
        "ports": more.pop("ports", [{"name": "http", "port": 8080, "protocol": "TCP"}]),
        "endpoints": list(endpoints),
    }


def node(name: str, ip: str, cidr: str) -> Object:
    status = {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]}
    return {"metadata": {"name": name}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}, "status": status}


class Cluster:
    """What dns.zone asks for, from lists."""

    def __init__(self, services: list[Object], slices: list[Object]) -> None:
        self._services, self._slices = services, slices

    def service(self, namespace: str, name: str) -> Object | None:
        found = (s for s in self._services if (s["metadata"]["namespace"], s["metadata"]["name"]) == (namespace, name))
        return next(found, None)

    def slices(self, namespace: str, name: str) -> list[Object]:
        label = "kubernetes.io/service-name"
        own = [s for s in self._slices if s["metadata"]["namespace"] == namespace]
        return [s for s in own if s["metadata"]["labels"][label] == name]

    def has_namespace(self, name: str) -> bool:
        return any(s["metadata"]["namespace"] == name for s in self._services)

    def services_at(self, address: str) -> list[Object]:
        return [s for s in self._services if address in (s["spec"].get("clusterIPs") or ())]

    def slices_at(self, address: str) -> list[Object]:
        return [s for s in self._slices if any(address in e["addresses"] for e in s["endpoints"])]
