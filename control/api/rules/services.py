"""Rules for Services, Endpoints, EndpointSlices, Ingresses and NetworkPolicies.

Source: ServiceSpec, EndpointSlice, IngressSpec and NetworkPolicySpec in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from control.api import names
from control.api.fielderrors import duplicate, forbidden, invalid, not_supported, required
from control.api.rules.checks import (
    Causes,
    between,
    cidr,
    ip_address,
    is_ip,
    labels,
    named,
    port_number,
    port_or_name,
    unchanged,
    unique,
)
from control.api.schema import Object

_ADDRESS_TYPES: Final = ("IPv4", "IPv6", "FQDN")
_PATH_TYPES: Final = ("Exact", "ImplementationSpecific", "Prefix")
_MAX_ENDPOINTS: Final = 1000


def check_service(obj: Object) -> Causes:
    spec = obj.get("spec")
    if spec is None:
        yield required("spec")
        return
    kind, ports = spec.get("type"), spec.get("ports", ())
    if kind == "ExternalName":
        yield from _external_name(spec)
    elif not ports and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    yield from labels(spec.get("selector"), "spec.selector")
    yield from _cluster_ips(spec)
    for index, address in enumerate(spec.get("externalIPs", ())):
        yield from ip_address(address, f"spec.externalIPs[{index}]")
    for index, source in enumerate(spec.get("loadBalancerSourceRanges", ())):
        yield from cidr(source, f"spec.loadBalancerSourceRanges[{index}]")
    seconds = spec.get("sessionAffinityConfig", {}).get("clientIP", {}).get("timeoutSeconds")
    yield from between(seconds, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", 1, 86400)
    yield from _service_ports(spec, ports)
    if spec.get("externalTrafficPolicy") and kind not in ("NodePort", "LoadBalancer") and not spec.get("externalIPs"):
        words = "may only be set for externally-accessible services"
        yield invalid("spec.externalTrafficPolicy", spec["externalTrafficPolicy"], words)


def _external_name(spec: Object) -> Causes:
    name = spec.get("externalName", "").removesuffix(".")
    if not name:
        yield required("spec.externalName")
    else:
        yield from named(names.dns_subdomain, name, "spec.externalName")
    if spec.get("clusterIP"):
        yield forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'")


def _cluster_ips(spec: Object) -> Causes:
    addresses = spec.get("clusterIPs", ())
    if spec.get("clusterIP") and addresses and addresses[0] != spec["clusterIP"]:
        yield invalid("spec.clusterIPs", addresses, "first value must match `clusterIP`")
    for index, address in enumerate(addresses):
        if address == "None":
            if len(addresses) > 1:
                yield invalid(f"spec.clusterIPs[{index}]", address, "'None' must be the first and only value")
            if spec.get("type") in ("NodePort", "LoadBalancer"):
                words = f"may not be set to 'None' for {spec['type']} services"
                yield invalid("spec.clusterIPs[0]", address, words)
        elif not is_ip(address):
            yield invalid(f"spec.clusterIPs[{index}]", address, "must be a valid IP address, (e.g. 10.9.8.7)")


def _service_ports(spec: Object, ports: Iterable[Object]) -> Causes:
    numbered = [(f"spec.ports[{index}]", port) for index, port in enumerate(ports)]
    for at, port in numbered:
        if port.get("name"):
            yield from named(names.dns_label, port["name"], f"{at}.name")
        elif len(numbered) > 1:
            yield required(f"{at}.name")
        yield from port_number(port.get("port"), f"{at}.port")
        yield from port_or_name(port.get("targetPort"), f"{at}.targetPort")
        if port.get("nodePort"):
            yield from port_number(port["nodePort"], f"{at}.nodePort")
            if spec.get("type") in ("ClusterIP", "ExternalName"):
                yield forbidden(f"{at}.nodePort", f"may not be used when `type` is '{spec['type']}'")
    yield from unique((f"{at}.name", port.get("name")) for at, port in numbered)
    yield from _node_ports(numbered)


def _node_ports(numbered: Iterable[tuple[str, Object]]) -> Causes:
    seen: set[tuple[str, int]] = set()
    for at, port in numbered:
        key = (port.get("protocol", "TCP"), port.get("nodePort", 0))
        if key[1] and key in seen:
            yield duplicate(f"{at}.nodePort", key[1])
        seen.add(key)


def check_service_update(new: Object, old: Object) -> Causes:
    """The address stays, unless the service has none by its type."""
    spec, before = new.get("spec", {}), old.get("spec", {})
    if "ExternalName" in (spec.get("type"), before.get("type")) or not before.get("clusterIP"):
        return
    if spec.get("clusterIP") != before["clusterIP"]:
        yield invalid("spec.clusterIPs[0]", spec.get("clusterIPs"), "may not change once set")


def check_endpoints(obj: Object) -> Causes:
    for index, subset in enumerate(obj.get("subsets", ())):
        at = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            yield required(at, "must specify `addresses` or `notReadyAddresses`")
        for field in ("addresses", "notReadyAddresses"):
            for number, address in enumerate(subset.get(field, ())):
                yield from ip_address(address.get("ip"), f"{at}.{field}[{number}].ip")
        ports = subset.get("ports", ())
        for number, port in enumerate(ports):
            yield from port_number(port.get("port"), f"{at}.ports[{number}].port")
            if len(ports) > 1 and not port.get("name"):
                yield required(f"{at}.ports[{number}].name")


def check_endpoint_slice(obj: Object) -> Causes:
    kind = obj.get("addressType")
    if kind and kind not in _ADDRESS_TYPES:
        yield not_supported("addressType", kind, _ADDRESS_TYPES)
    endpoints = obj.get("endpoints", ())
    if len(endpoints) > _MAX_ENDPOINTS:
        yield invalid("endpoints", len(endpoints), f"must have at most {_MAX_ENDPOINTS} items")
    for index, endpoint in enumerate(endpoints):
        at = f"endpoints[{index}].addresses"
        if not endpoint.get("addresses"):
            yield required(at, "must contain at least 1 address")
        for number, address in enumerate(endpoint.get("addresses", ())):
            if kind == "FQDN":
                yield from named(names.dns_subdomain, address, f"{at}[{number}]")
            elif kind in _ADDRESS_TYPES and (not is_ip(address) or (":" in address) != (kind == "IPv6")):
                yield invalid(f"{at}[{number}]", address, f"must be a valid {kind} address")
    yield from unique((f"ports[{index}].name", port.get("name")) for index, port in enumerate(obj.get("ports", ())))


def check_endpoint_slice_update(new: Object, old: Object) -> Causes:
    yield from unchanged(new.get("addressType"), old.get("addressType"), "addressType")


def check_ingress(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    if not spec.get("rules") and "defaultBackend" not in spec:
        yield invalid("spec", [], "either `defaultBackend` or `rules` must be specified")
    for index, rule in enumerate(spec.get("rules", ())):
        yield from _host(rule.get("host"), f"spec.rules[{index}].host")
        for number, path in enumerate(rule.get("http", {}).get("paths", ())):
            yield from _ingress_path(path, f"spec.rules[{index}].http.paths[{number}]")
    for index, tls in enumerate(spec.get("tls", ())):
        for number, host in enumerate(tls.get("hosts", ())):
            yield from _host(host, f"spec.tls[{index}].hosts[{number}]")


def _host(host: str | None, at: str) -> Causes:
    if not host:
        return
    if is_ip(host):
        yield invalid(at, host, "must be a DNS name, not an IP address")
    else:
        yield from named(names.wildcard_subdomain if "*" in host else names.dns_subdomain, host, at)


def _ingress_path(path: Object, at: str) -> Causes:
    kind, text = path.get("pathType"), path.get("path", "")
    if kind is not None and kind not in _PATH_TYPES:
        yield not_supported(f"{at}.pathType", kind, _PATH_TYPES)
    if (kind in ("Exact", "Prefix") or text) and not text.startswith("/"):
        yield invalid(f"{at}.path", text, "must be an absolute path")
    if kind in ("Exact", "Prefix"):
        for part in ("//", "/./", "/../"):
            if part in text:
                yield invalid(f"{at}.path", text, f"must not contain '{part}'")


def check_backend(backend: Object, at: str) -> Causes:
    """Where an Ingress sends requests."""
    if ("service" in backend) == ("resource" in backend):
        yield required(at, "exactly one of `service` and `resource` must be specified")
    service = backend.get("service")
    if service is None:
        return
    if service.get("name"):
        yield from named(names.dns_1035_label, service["name"], f"{at}.service.name")
    port = service.get("port", {})
    if bool(port.get("name")) == bool(port.get("number")):
        yield required(f"{at}.service.port", "exactly one of port name and number must be specified")
    elif port.get("number"):
        yield from port_number(port["number"], f"{at}.service.port.number")
    else:
        yield from named(names.port_name, port["name"], f"{at}.service.port.name")


def check_network_policy(obj: Object) -> Causes:
    spec = obj.get("spec", {})
    for field, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(field, ())):
            at = f"spec.{field}[{index}]"
            for number, port in enumerate(rule.get("ports", ())):
                yield from _policy_port(port, f"{at}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers, ())):
                yield from _peer(peer, f"{at}.{peers}[{number}]")
    if len(spec.get("policyTypes", ())) > 2:
        yield invalid("spec.policyTypes", spec["policyTypes"], "may not specify more than two policyTypes")


def _policy_port(port: Object, at: str) -> Causes:
    yield from port_or_name(port.get("port"), f"{at}.port")
    end = port.get("endPort")
    if end is None:
        return
    if not isinstance(port.get("port"), int):
        yield required(f"{at}.port", "must be specified as a number when `endPort` is set")
    elif end < port["port"]:
        yield invalid(f"{at}.endPort", end, "must be greater than or equal to `port`")


def _peer(peer: Object, at: str) -> Causes:
    if not peer:
        yield required(at, "must specify a peer")
    block = peer.get("ipBlock")
    if block is None:
        return
    if len(peer) > 1:
        yield forbidden(at, "may not specify both ipBlock and another peer")
    yield from cidr(block.get("cidr", ""), f"{at}.ipBlock.cidr")
    for index, excepted in enumerate(block.get("except", ())):
        yield from cidr(excepted, f"{at}.ipBlock.except[{index}]")
