"""What an object uses of a ResourceQuota, and which quotas it falls under: pure. Source: "Resource Quotas".

Used by admission, which reserves, and by the controller, which counts again what is there. Names: "count/<resource>"
for every kind, and the older names of the table below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from control.api import pod_resources
from control.api.pod_resources import Amounts
from control.api.quantity import ZERO, Quantity

Object = Mapping[str, Any]
_COUNTED = ("configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services")
_ONE = Quantity.of(1)
_COMPUTE = ("cpu", "memory", "ephemeral-storage")
_DONE = ("Succeeded", "Failed")
# Scopes that concern pods only: a quota with one of them counts nothing else.
POD_SCOPES = (
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
)


def usage(resource: str, obj: Object) -> Amounts:
    """What the object uses, by quota name. resource: as "pods", "deployments.apps"."""
    used: Amounts = {f"count/{resource}": _ONE}
    if resource in _COUNTED:
        used[resource] = _ONE
    special = _SPECIAL.get(resource)
    if special is not None:
        used.update(special(obj))
    return used


def namespace_usage(quota: Object, objects: Iterable[tuple[str, Object]]) -> Amounts:
    """What is used of the quota's names by all objects of its namespace, as (resource, object)."""
    hard = pod_resources.amounts((quota.get("spec") or {}).get("hard"))
    total: Amounts = dict.fromkeys(hard, ZERO)
    for resource, obj in objects:
        if concerns(quota, resource, obj):
            total = {name: total[name] + used for name, used in _selected(total, usage(resource, obj)).items()}
    return total


def _selected(names: Amounts, used: Amounts) -> Amounts:
    return {name: used.get(name, ZERO) for name in names}


def counted_resources(quota: Object) -> set[str]:
    """The resources whose objects must be listed to count the quota's use."""
    found = set()
    for name in (quota.get("spec") or {}).get("hard") or {}:
        if name.startswith("count/"):
            found.add(name.removeprefix("count/"))
        elif name.startswith("services"):
            found.add("services")
        elif name == "requests.storage" or ".storageclass.storage.k8s.io/" in name:
            found.add("persistentvolumeclaims")
        else:
            found.add(name if name in _COUNTED else "pods")
    return found


def concerns(quota: Object, resource: str, obj: Object) -> bool:
    """Whether the object falls under the quota's scopes."""
    spec = quota.get("spec") or {}
    conditions = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    conditions += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    if not conditions:
        return True
    return resource == "pods" and all(_in_scope(condition, obj) for condition in conditions)


def missing_requests(quota: Object, pod: Object) -> dict[str, list[str]]:
    """Quota names that every container must say something about, and those that do not: {"limits.cpu": ["c1"]}.

    A quota on cpu or memory cannot be kept if a pod does not say how much it takes.
    """
    found: dict[str, list[str]] = {}
    spec = pod.get("spec") or {}
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for name in (quota.get("spec") or {}).get("hard") or {}:
        field, _, what = name.rpartition(".")
        if what not in _COMPUTE or field not in ("", "requests", "limits"):
            continue
        kind = "limits" if field == "limits" else "requests"
        lacking = [str(c.get("name")) for c in containers if what not in pod_resources.container_amounts(c, kind)]
        if lacking:
            found[name] = lacking
    return found


def _pod(pod: Object) -> Amounts:
    """A pod that has ended, or should have, uses nothing but its place among the objects."""
    if (pod.get("status") or {}).get("phase") in _DONE:
        return {}
    used: Amounts = {"pods": _ONE}
    for name, amount in pod_resources.requests(pod).items():
        used[f"requests.{name}"] = amount
        if name in _COMPUTE or name.startswith("hugepages-"):
            used[name] = amount
    for name, amount in pod_resources.limits(pod).items():
        if name in _COMPUTE:
            used[f"limits.{name}"] = amount
    return used


def _service(service: Object) -> Amounts:
    spec = service.get("spec") or {}
    kind, ports = spec.get("type"), len(spec.get("ports") or ())
    balanced = kind == "LoadBalancer"
    if balanced and spec.get("allocateLoadBalancerNodePorts") is False:
        ports = sum(1 for port in spec.get("ports") or () if port.get("nodePort"))
    return {
        "services.loadbalancers": _ONE if balanced else ZERO,
        "services.nodeports": Quantity.of(ports) if balanced or kind == "NodePort" else ZERO,
    }


def _claim(claim: Object) -> Amounts:
    spec = claim.get("spec") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    amount = Quantity.parse(asked) if asked is not None else ZERO
    used = {"requests.storage": amount}
    if spec.get("storageClassName"):
        prefix = f"{spec['storageClassName']}.storageclass.storage.k8s.io/"
        used |= {f"{prefix}requests.storage": amount, f"{prefix}persistentvolumeclaims": _ONE}
    return used


_SPECIAL = {"pods": _pod, "services": _service, "persistentvolumeclaims": _claim}


def _in_scope(condition: Object, pod: Object) -> bool:
    spec = pod.get("spec") or {}
    match condition.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return _best_effort(pod)
        case "NotBestEffort":
            return not _best_effort(pod)
        case "PriorityClass":
            return _class_matches(condition, str(spec.get("priorityClassName") or ""))
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec.get("affinity") or {})
    return False


def _best_effort(pod: Object) -> bool:
    return not any(pod_resources.requests(pod).values()) and not any(pod_resources.limits(pod).values())


def _class_matches(condition: Object, name: str) -> bool:
    values = condition.get("values") or ()
    match condition.get("operator"):
        case "In":
            return name in values
        case "NotIn":
            return name not in values
        case "DoesNotExist":
            return not name
    return bool(name)


def _crosses_namespaces(affinity: Object) -> bool:
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        terms = list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        weighted = found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [entry.get("podAffinityTerm") or {} for entry in weighted]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False
