"""Cluster IPs and node ports of Services: one key each, claimed in the transaction that stores the Service.

    /registry/ranges/serviceips/<ip>      /registry/ranges/nodeports/<protocol>/<port>     value: <namespace>/<name>

Invariant: a key is there exactly as long as the Service that holds it. Two writers that choose the same free address
meet in the compare of the key: one wins, the other chooses again. Source: "Service ClusterIP allocation" and "NodePort"
in the Kubernetes documentation.
"""

from __future__ import annotations

import random
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Final

from control.api.schema import Object
from control.api.status import Cause, StatusError, internal_error, invalid
from control.apiserver.server import Server
from control.apiserver.storage import Claimed, Extra

IPS: Final = "/registry/ranges/serviceips/"
PORTS: Final = "/registry/ranges/nodeports/"
_SCAN: Final = 4096
_TRIES: Final = 20


class ServiceAddresses:
    """The hook of Services."""

    async def before_create(self, server: Server, obj: Object, extra: Extra) -> None:
        """Choose what the client did not."""
        await self._allocate(server, obj, {}, extra)

    def prepare_update(self, new: Object, old: Object) -> None:
        """See carry_over."""
        carry_over(new, old)

    async def after_create(self, server: Server, obj: Object, revision: int) -> None:
        """Nothing to wait for."""

    async def before_update(self, server: Server, new: Object, old: Object, extra: Extra) -> None:
        """Claim what is new, release what is no longer used."""
        await self._allocate(server, new, old, extra)

    async def before_delete(self, server: Server, obj: Object, extra: Extra) -> None:
        """Release all; what is deleted was stored with these."""
        extra.releases = [*extra.releases, *sorted(held(obj))]

    def claim_lost(self, obj: Object, taken: Claimed) -> None:
        """Refuse a choice of the client's; a choice of ours is made again. obj: as the client gave it."""
        if taken.key in held(obj):
            raise _refused(obj, taken)

    async def _allocate(self, server: Server, new: Object, old: Object, extra: Extra) -> None:
        owner = f"{new['metadata'].get('namespace', '')}/{new['metadata']['name']}".encode()
        before = held(old) if old else frozenset()
        await _choose_ip(server, new)
        await _choose_ports(server, new)
        wanted = held(new)
        for key in sorted(wanted - before):
            extra.claims[key] = owner
        extra.releases = [*extra.releases, *sorted(before - wanted)]


def _refused(service: Object, taken: Claimed) -> StatusError:
    """422 in Kubernetes' words."""
    name, text = service["metadata"]["name"], taken.key.decode()
    if text.startswith(IPS):
        ip = text.removeprefix(IPS)
        message = f'Invalid value: ["{ip}"]: failed to allocate IP {ip}: provided IP is already allocated'
        return invalid("Service", name, [Cause("FieldValueInvalid", message, "spec.clusterIPs")])
    port = text.rpartition("/")[2]
    numbers = [str(entry.get("nodePort")) for entry in _ports(service)]
    field = f"spec.ports[{numbers.index(port)}].nodePort" if port in numbers else "spec.healthCheckNodePort"
    message = f"Invalid value: {port}: provided port is already allocated"
    return invalid("Service", name, [Cause("FieldValueInvalid", message, field)])


def _ports(service: Object) -> list[Object]:
    return (service.get("spec") or {}).get("ports") or []


def needs_ip(service: Object) -> bool:
    """Whether the Service has a cluster IP at all: not ExternalName, not headless."""
    spec = service.get("spec") or {}
    return spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None"


def needs_ports(service: Object) -> bool:
    """Whether its ports get node ports."""
    spec = service.get("spec") or {}
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def held(service: Object) -> frozenset[bytes]:
    """The keys that a Service holds."""
    spec = service.get("spec") or {}
    keys: set[bytes] = set()
    if spec.get("type") != "ExternalName":
        ips = spec.get("clusterIPs") or [spec.get("clusterIP")]
        keys.update(f"{IPS}{ip}".encode() for ip in ips if ip and ip != "None")
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        keys.update(_port_key(port) for port in _ports(service) if port.get("nodePort"))
        if spec.get("healthCheckNodePort"):
            keys.add(f"{PORTS}TCP/{spec['healthCheckNodePort']}".encode())
    return frozenset(keys)


def _port_key(port: Object) -> bytes:
    return f"{PORTS}{port.get('protocol') or 'TCP'}/{port['nodePort']}".encode()


def carry_over(new: Object, old: Object) -> None:
    """A client that leaves the addresses out means the present ones; what the new type does not have goes, in place.

    What goes is only what was there before and the client did not touch: anything else is validation's to refuse.
    """
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    _carry_ip(spec, before)
    if not needs_ports(new):
        if needs_ports(old):
            _drop_ports(spec, before)
        return
    known = {(p.get("protocol") or "TCP", p.get("port")): p.get("nodePort") for p in _ports(old)}
    for port in _ports(new):
        number = known.get((port.get("protocol") or "TCP", port.get("port")))
        if not port.get("nodePort") and number and needs_ports(old):
            port["nodePort"] = number


def _carry_ip(spec: Object, before: Object) -> None:
    if spec.get("type") == "ExternalName":
        if before.get("type") != "ExternalName":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if spec.get(field) == before.get(field):
                    spec.pop(field, None)
        return
    if before.get("type") == "ExternalName":
        return
    for field in ("clusterIP", "clusterIPs"):
        if not spec.get(field) and before.get(field):
            spec[field] = before[field]


def _drop_ports(spec: Object, before: Object) -> None:
    """Node ports, and what only Services reachable from outside have."""
    numbers = {port.get("nodePort") for port in before.get("ports") or []}
    for port in spec.get("ports") or []:
        if port.get("nodePort") in numbers:
            port.pop("nodePort", None)
    for field in ("externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"):
        if spec.get(field) == before.get(field):
            spec.pop(field, None)


async def _choose_ip(server: Server, service: Object) -> None:
    spec = service["spec"]
    if not needs_ip(service):
        if spec.get("clusterIP") == "None":
            spec["clusterIPs"] = ["None"]
        return
    network = server.settings.service_cluster_ip_range
    if spec.get("clusterIP"):
        spec["clusterIPs"] = spec.get("clusterIPs") or [spec["clusterIP"]]
        _check_ip(service, network)
    else:
        ip = await _free_ip(server, network)
        spec["clusterIP"], spec["clusterIPs"] = ip, [ip]
    spec.setdefault("ipFamilies", ["IPv6" if network.version == 6 else "IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")


def _check_ip(service: Object, network: IPv4Network | IPv6Network) -> None:
    """StatusError 422: the address is none, or lies outside of the range."""
    for text in service["spec"]["clusterIPs"]:
        try:
            inside = ip_address(text) in network
        except ValueError:
            inside = False
        if not inside:
            message = f'Invalid value: ["{text}"]: failed to allocate IP {text}: '
            message += f"the provided IP ({text}) is not in the valid range. The range of valid IPs is {network}"
            cause = Cause("FieldValueInvalid", message, "spec.clusterIPs")
            raise invalid("Service", service["metadata"]["name"], [cause])


async def _free_ip(server: Server, network: IPv4Network | IPv6Network) -> str:
    """An address that nobody has at the moment. StatusError 500: the range is full."""
    # The first address is the API server's own, the last one the broadcast address.
    low, high = 2, network.num_addresses - 2
    if high < low:
        raise internal_error(f"failed to allocate a serviceIP: range {network} has no addresses")
    for _ in range(_TRIES):
        ip = str(network[random.randint(low, high)])
        if await server.storage.get(f"{IPS}{ip}".encode()) is None:
            return ip
    taken = {key.rpartition("/")[2] for key in await _keys(server, IPS)}
    start = random.randint(low, high)
    for offset in range(min(high - low + 1, len(taken) + _SCAN)):
        ip = str(network[low + (start - low + offset) % (high - low + 1)])
        if ip not in taken:
            return ip
    raise internal_error("failed to allocate a serviceIP: range is full")


async def _choose_ports(server: Server, service: Object) -> None:
    if not needs_ports(service):
        return
    low, high = server.settings.node_ports
    own = {port["nodePort"] for port in _ports(service) if port.get("nodePort")}
    missing = [port for port in _ports(service) if not port.get("nodePort")]
    spec: dict[str, Any] = service["spec"]
    local = spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    for index, port in enumerate(_ports(service)):
        number = port.get("nodePort")
        if number and not low <= number <= high:
            message = f"Invalid value: {number}: provided port is not in the valid range. "
            message += f"The range of valid ports is {low}-{high}"
            cause = Cause("FieldValueInvalid", message, f"spec.ports[{index}].nodePort")
            raise invalid("Service", service["metadata"]["name"], [cause])
    if not missing and not (local and not spec.get("healthCheckNodePort")):
        return
    taken = {int(key.rpartition("/")[2]) for key in await _keys(server, PORTS)} | own
    free = [number for number in range(low, high + 1) if number not in taken]
    if len(free) < len(missing) + local:
        raise internal_error("failed to allocate a nodePort: range is full")
    for port, number in zip(missing, random.sample(free, len(missing)), strict=True):
        port["nodePort"] = number
        taken.add(number)
    if local and not spec.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = next(number for number in free if number not in taken)


async def _keys(server: Server, prefix: str) -> list[str]:
    page = await server.storage.page(prefix.encode())
    return [stored.key.decode() for stored in page.items]
