"""Columns of what is reachable: Services, Endpoints, EndpointSlices, Ingresses, NetworkPolicies."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from control.api.cells.words import NONE, UNSET, dig, selector_text, some
from control.api.schema import Object


def _cluster_ip(service: Object, now: datetime) -> str:
    addresses = dig(service, "spec", "clusterIPs")
    return (addresses[0] if addresses else dig(service, "spec", "clusterIP")) or NONE


def _external_ip(service: Object, now: datetime) -> str:
    spec = service.get("spec") or {}
    match spec.get("type"):
        case "ExternalName":
            return spec.get("externalName") or NONE
        case "LoadBalancer":
            entries = dig(service, "status", "loadBalancer", "ingress") or ()
            given = [entry.get("ip") or entry.get("hostname", "") for entry in entries]
            return ",".join([*sorted(set(given)), *spec.get("externalIPs", ())]) or "<pending>"
    return ",".join(spec.get("externalIPs", ())) or NONE


def _ports(service: Object, now: datetime) -> str:
    return ",".join(_port(port) for port in dig(service, "spec", "ports") or ()) or NONE


def _port(port: Object) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port', 0)}{node}/{port.get('protocol', 'TCP')}"


def _endpoints(obj: Object, now: datetime) -> str:
    found: list[str] = []
    for subset in obj.get("subsets", ()):
        ports = [f":{port.get('port', 0)}" for port in subset.get("ports", ())] or [""]
        addresses = [address.get("ip", "") for address in subset.get("addresses", ())]
        found += [_joined(address, port) for port in ports for address in addresses]
    return some(found)


def _joined(address: str, port: str) -> str:
    return f"[{address}]{port}" if port and ":" in address else f"{address}{port}"


def _slice_ports(obj: Object, now: datetime) -> str:
    ports = [str(port.get("port") or "*") for port in obj.get("ports", ())]
    return some(ports, empty=UNSET)


def _slice_endpoints(obj: Object, now: datetime) -> str:
    return some([a for endpoint in obj.get("endpoints", ()) for a in endpoint.get("addresses", ())], empty=UNSET)


def _ingress_class(obj: Object, now: datetime) -> str:
    return dig(obj, "spec", "ingressClassName") or NONE


def _ingress_hosts(obj: Object, now: datetime) -> str:
    return some([rule["host"] for rule in dig(obj, "spec", "rules") or () if rule.get("host")], empty="*")


def _ingress_address(obj: Object, now: datetime) -> str:
    entries = dig(obj, "status", "loadBalancer", "ingress") or ()
    return ",".join(entry.get("ip") or entry.get("hostname", "") for entry in entries)


def _ingress_ports(obj: Object, now: datetime) -> str:
    return "80, 443" if dig(obj, "spec", "tls") else "80"


def _ingress_parameters(obj: Object, now: datetime) -> str:
    parameters = dig(obj, "spec", "parameters")
    if not parameters:
        return NONE
    group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
    return f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"


def _pod_selector(obj: Object, now: datetime) -> str:
    return selector_text(dig(obj, "spec", "podSelector") or {})


CELLS: Final = {
    "service_cluster_ip": _cluster_ip,
    "service_external_ip": _external_ip,
    "service_ports": _ports,
    "endpoints": _endpoints,
    "slice_ports": _slice_ports,
    "slice_endpoints": _slice_endpoints,
    "ingress_class": _ingress_class,
    "ingress_hosts": _ingress_hosts,
    "ingress_address": _ingress_address,
    "ingress_ports": _ingress_ports,
    "ingress_parameters": _ingress_parameters,
    "pod_selector": _pod_selector,
}
