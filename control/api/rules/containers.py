"""Rules for containers: image, ports, environment, mounts, probes, resources.

Source: the fields of Container in Kubernetes' API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from control.api import names
from control.api.fielderrors import forbidden, invalid, not_found, not_supported, required
from control.api.quantity import ZERO, Quantity
from control.api.rules.checks import (
    Causes,
    amounts,
    at_least,
    between,
    exactly_one,
    named,
    port_number,
    port_or_name,
    qualified,
    relative_path,
    unique,
)
from control.api.schema import Object

_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_ENV_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_FIELDS: Final = frozenset(
    {
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    }
)  # fmt: skip
_VOLUME_FIELDS: Final = frozenset(
    {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
)
_SUBSCRIPT = re.compile(r"metadata\.(annotations|labels)\['([^']+)'\]")
_STANDARD_RESOURCES: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
_MAX_ID: Final = 2**31 - 1


def check_container(container: Object, at: str) -> Causes:
    """What one container says by itself. Names in required fields are checked by the schema."""
    if container.get("name"):
        yield from named(names.dns_label, container["name"], f"{at}.name")
    image = container.get("image", "")
    if not image:
        yield required(f"{at}.image")
    elif image != image.strip():
        yield invalid(f"{at}.image", image, "must not have leading or trailing whitespace")
    yield from _ports(container.get("ports", ()), f"{at}.ports")
    for index, source in enumerate(container.get("envFrom", ())):
        yield from exactly_one(source, ("configMapRef", "secretRef"), f"{at}.envFrom[{index}]", "source")
    yield from _resources(container.get("resources", {}), f"{at}.resources")
    yield from _security(container.get("securityContext", {}), f"{at}.securityContext")
    yield from _restart(container, at)


def _ports(ports: Iterable[Object], at: str) -> Causes:
    numbered = [(f"{at}[{index}]", port) for index, port in enumerate(ports)]
    for place, port in numbered:
        if port.get("name"):
            yield from named(names.port_name, port["name"], f"{place}.name")
        if not port.get("containerPort"):
            yield required(f"{place}.containerPort")
        else:
            yield from port_number(port["containerPort"], f"{place}.containerPort")
        if port.get("hostPort"):
            yield from port_number(port["hostPort"], f"{place}.hostPort")
    yield from unique((f"{place}.name", port.get("name")) for place, port in numbered)


def check_env(variable: Object, at: str) -> Causes:
    """An environment variable: a name, and a value or one place where it comes from."""
    if variable.get("name"):
        yield from named(names.env_name, variable["name"], f"{at}.name")
    source = variable.get("valueFrom")
    if source is None:
        return
    if not source:
        yield invalid(f"{at}.valueFrom", "", f"must specify one of: {', '.join(f'`{s}`' for s in _ENV_SOURCES)}")
    if variable.get("value"):
        yield invalid(f"{at}.valueFrom", "", "may not be specified when `value` is not empty")
    if len(source) > 1:
        yield invalid(f"{at}.valueFrom", "", "may not have more than one field specified at a time")
    if "fieldRef" in source:
        yield from check_field_path(source["fieldRef"], f"{at}.valueFrom.fieldRef", _ENV_FIELDS)


def check_field_path(reference: Object, at: str, allowed: frozenset[str] = _VOLUME_FIELDS) -> Causes:
    """A field of the pod that a container may see: the downward API."""
    path = reference.get("fieldPath", "")
    if not path:
        return
    subscript = _SUBSCRIPT.fullmatch(path)
    if subscript:
        yield from qualified(subscript[2], f"{at}.fieldPath")
    elif path not in allowed:
        yield not_supported(f"{at}.fieldPath", path, allowed)


def check_mounts(container: Object, volumes: Object, at: str) -> Causes:
    """Mounts name volumes of the pod, each at a place of its own."""
    mounts = container.get("volumeMounts", ())
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        place = f"{at}.volumeMounts[{index}]"
        if mount.get("name") and mount["name"] not in volumes:
            yield not_found(f"{place}.name", mount["name"])
        path = mount.get("mountPath", "")
        if path and path in seen:
            yield invalid(f"{place}.mountPath", path, "must be unique")
        seen.add(path)
        for field in ("subPath", "subPathExpr"):
            if mount.get(field):
                yield from relative_path(mount[field], f"{place}.{field}")
        if mount.get("subPath") and mount.get("subPathExpr"):
            yield invalid(
                f"{place}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive"
            )


def check_probe(probe: Object, at: str) -> Causes:
    """A probe of any purpose."""
    yield from _one_handler(probe, at)
    yield from at_least(
        probe, at, 0, "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"
    )
    yield from at_least(probe, at, 1, "terminationGracePeriodSeconds")


def check_handler(handler: Object, at: str) -> Causes:
    """What a lifecycle hook does."""
    yield from _one_handler(handler, at)


def _one_handler(holder: Object, at: str) -> Causes:
    given = [name for name in _HANDLERS if name in holder]
    if not given:
        yield required(at, "must specify a handler type")
    for name in given[1:]:
        yield forbidden(f"{at}.{name}", "may not specify more than 1 handler type")
    for name in given:
        yield from _handler(name, holder[name], f"{at}.{name}")


def _handler(name: str, action: Object, at: str) -> Causes:
    match name:
        case "exec":
            if not action.get("command"):
                yield required(f"{at}.command")
        case "httpGet":
            yield from port_or_name(action.get("port"), f"{at}.port")
            for index, header in enumerate(action.get("httpHeaders", ())):
                yield from named(names.header_name, header.get("name", ""), f"{at}.httpHeaders[{index}].name")
        case "tcpSocket":
            yield from port_or_name(action.get("port"), f"{at}.port")
        case "grpc":
            yield from port_number(action.get("port"), f"{at}.port")
        case "sleep":
            yield from at_least(action, at, 0, "seconds")


def check_purpose(container: Object, at: str) -> Causes:
    """What only the container knows of its probes: which of them may wait for several successes."""
    for name in ("livenessProbe", "startupProbe"):
        if container.get(name, {}).get("successThreshold", 1) != 1:
            yield invalid(f"{at}.{name}.successThreshold", container[name]["successThreshold"], "must be 1")
    readiness = container.get("readinessProbe", {})
    if "terminationGracePeriodSeconds" in readiness:
        value = readiness["terminationGracePeriodSeconds"]
        yield invalid(
            f"{at}.readinessProbe.terminationGracePeriodSeconds", value, "must not be set for readinessProbes"
        )


def _resources(resources: Object, at: str) -> Causes:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    for field, given in (("limits", limits), ("requests", requests)):
        yield from amounts(given, f"{at}.{field}")
        for name in given:
            yield from check_resource_name(name, f"{at}.{field}[{name}]")
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is not None and Quantity.parse(amount) > Quantity.parse(limit):
            yield invalid(f"{at}.requests", amount, f"must be less than or equal to {name} limit of {limit}")
        if is_extended(name) and limit != amount:
            yield invalid(f"{at}.requests[{name}]", amount, f"must be equal to {name} limit")
    for name, amount in {**requests, **limits}.items():
        if is_extended(name) and Quantity.parse(amount).milli() % 1000:
            yield invalid(f"{at}.limits[{name}]", amount, "must be an integer")


def is_extended(name: str) -> bool:
    """Whether a resource is none of Kubernetes' own, as "example.com/gpu"."""
    return "/" in name and "kubernetes.io/" not in name


def check_resource_name(name: str, at: str) -> Causes:
    """A resource that containers can ask for."""
    yield from qualified(name, at)
    if "/" not in name and name not in _STANDARD_RESOURCES and not name.startswith("hugepages-"):
        yield invalid(at, name, "must be a standard resource for containers")


def _security(context: Object, at: str) -> Causes:
    for field in ("runAsUser", "runAsGroup"):
        yield from between(context.get(field), f"{at}.{field}", 0, _MAX_ID)
    if context.get("allowPrivilegeEscalation") is False and context.get("privileged"):
        yield invalid(at, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")


def _restart(container: Object, at: str) -> Causes:
    policy = container.get("restartPolicy")
    if policy is not None and policy not in ("Always", "OnFailure", "Never"):
        yield not_supported(f"{at}.restartPolicy", policy, ("Always", "OnFailure", "Never"))


def check_init_container(container: Object, at: str) -> Causes:
    """Init containers that end need no probes and no hooks."""
    if container.get("restartPolicy") == "Always":
        return
    for field in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if field in container:
            yield forbidden(f"{at}.{field}", "may not be set for init containers without restartPolicy=Always")


def check_amount(value: str | None, at: str) -> Causes:
    """A single quantity that must not be negative."""
    if value is not None and Quantity.parse(value) < ZERO:
        yield invalid(at, value, "must be greater than or equal to 0")
