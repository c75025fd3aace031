"""The environment of a container. Pure.

Later ones win: variables of services, then envFrom in its order, then env in its order. $(NAME) sees what was set
before it. Source: "Define Environment Variables for a Container" and "Accessing the Service" in the documentation.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from node_agent.pod import spec
from node_agent.pod.expand import expand
from node_agent.pod.fields import ConfigProblem, field_value, resource_value
from node_agent.pod.needs import Sources
from node_agent.pod.spec import Object


@dataclass(slots=True)
class Environment:
    """variables in the order of their first setting; skipped: keys of envFrom that can be no names, by source."""

    variables: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)


def environment(pod: Object, container: Object, sources: Sources, allocatable: Mapping[str, str]) -> Environment:
    """Raises ConfigProblem when something that is not optional is missing."""
    services = service_variables(pod, sources)
    found = Environment()
    for source in container.get("envFrom") or []:
        _take_all(found, pod, source, sources)
    for variable in container.get("env") or []:
        value = _value(pod, container, variable, sources, allocatable, {**services, **found.variables})
        if value is not None:
            found.variables[variable["name"]] = value
    found.variables = {**services, **found.variables}
    return found


def _take_all(found: Environment, pod: Object, source: Object, sources: Sources) -> None:
    for field_name, resource, kind in (
        ("configMapRef", "configmaps", "configMap"),
        ("secretRef", "secrets", "secret"),
    ):
        reference = source.get(field_name)
        if reference is None:
            continue
        holder = _holder(resource, reference, sources)
        bad: list[str] = []
        for key, value in (entries(holder, resource) if holder else {}).items():
            name = f"{source.get('prefix') or ''}{key}"
            if _can_be_name(name):
                found.variables[name] = value.decode(errors="replace")
            else:
                bad.append(key)
        if bad:
            where = f"{kind} {spec.namespace(pod)}/{reference['name']}"
            found.skipped.append(
                f"Keys [{', '.join(sorted(bad))}] from the EnvFrom {where} were skipped since they are considered "
                "invalid environment variable names."
            )


def _can_be_name(name: str) -> bool:
    return bool(name) and "=" not in name and all(32 <= ord(c) < 127 for c in name)


def _holder(resource: str, reference: Object, sources: Sources) -> Object | None:
    found = sources.find(resource, reference["name"])
    if found is None and not reference.get("optional") and not sources.lenient:
        raise ConfigProblem(f'{resource.removesuffix("s")} "{reference["name"]}" not found')
    return found


def entries(holder: Object, resource: str) -> dict[str, bytes]:
    """The keys and values of a config map or secret. ConfigProblem: its base64 is none."""
    encoded = holder.get("data" if resource == "secrets" else "binaryData") or {}
    plain = {} if resource == "secrets" else holder.get("data") or {}
    found = {key: str(value).encode() for key, value in plain.items()}
    for key, value in encoded.items():
        try:
            found[key] = base64.b64decode(value or "", validate=True)
        except ValueError:
            name = spec.name(holder)
            raise ConfigProblem(f"the value of key {key} in {resource.removesuffix('s')} {name} is no base64") from None
    return found


def _value(
    pod: Object,
    container: Object,
    variable: Object,
    sources: Sources,
    allocatable: Mapping[str, str],
    known: Mapping[str, str],
) -> str | None:
    """None: an optional source is missing, the variable is not set."""
    source = variable.get("valueFrom")
    if not source:
        return expand(str(variable.get("value") or ""), known)
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_value(pod, container, source["resourceFieldRef"], allocatable)
    for name, resource, kind in (
        ("configMapKeyRef", "configmaps", "ConfigMap"),
        ("secretKeyRef", "secrets", "Secret"),
    ):
        if name in source:
            return _key(pod, source[name], resource, kind, sources)
    raise ConfigProblem(f"environment variable {variable['name']}: this agent does not know its source")


def _key(pod: Object, reference: Object, resource: str, kind: str, sources: Sources) -> str | None:
    holder = _holder(resource, reference, sources)
    value = entries(holder, resource).get(reference["key"]) if holder is not None else None
    if value is None and not reference.get("optional") and not sources.lenient:
        where = f"{spec.namespace(pod)}/{reference['name']}"
        raise ConfigProblem(f"couldn't find key {reference['key']} in {kind} {where}")
    return None if value is None else value.decode(errors="replace")


def service_variables(pod: Object, sources: Sources) -> dict[str, str]:
    """NAME_SERVICE_HOST, NAME_SERVICE_PORT and NAME_PORT_… of the services that the pod may know by variables."""
    found: dict[str, str] = {}
    linked = spec.spec(pod).get("enableServiceLinks", True) is not False
    for service in sources.services:
        of_master = spec.namespace(service) == "default" and spec.name(service) == "kubernetes"
        if of_master or (linked and spec.namespace(service) == spec.namespace(pod)):
            found.update(_of_service(service))
    return found


def _of_service(service: Object) -> dict[str, str]:
    address, ports = spec.spec(service).get("clusterIP"), spec.spec(service).get("ports") or []
    if not address or address == "None" or not ports:
        return {}
    host = f"[{address}]" if ":" in address else address
    prefix = spec.name(service).upper().replace("-", "_")
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for number, port in enumerate(ports):
        if port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
        protocol = port.get("protocol") or "TCP"
        url = f"{protocol.lower()}://{host}:{port['port']}"
        if number == 0:
            found[f"{prefix}_PORT"] = url
        start = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        found[start] = url
        found |= {f"{start}_PROTO": protocol.lower(), f"{start}_PORT": str(port["port"]), f"{start}_ADDR": address}
    return found
