"""What the server sets in a new or changed object of certain kinds, before it is validated. In place.

Source: the behaviour of the kinds' REST strategies, as the API reference of Kubernetes describes the fields.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Final

from control.api.rules.certificates import keep_request
from control.api.rules.qos import qos_class
from control.api.schema import Object

KEEPS_STATUS_ON_CREATE: Final = frozenset({"nodes"})
"""Kinds whose creator also reports their status: an agent registers its node."""

_CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
_JOB_LABELS: Final = (
    ("batch.kubernetes.io/job-name", "name"),
    ("job-name", "name"),
    (_CONTROLLER_UID, "uid"),
    ("controller-uid", "uid"),
)


def _pod(pod: Object) -> None:
    status = pod["status"] = {"phase": "Pending", "qosClass": qos_class(pod)}
    if pod.get("spec", {}).get("schedulingGates"):
        status["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }
        ]


def _namespace(namespace: Object) -> None:
    spec = namespace.setdefault("spec", {})
    if "kubernetes" not in spec.get("finalizers", ()):
        spec["finalizers"] = [*spec.get("finalizers", ()), "kubernetes"]


def _secret(secret: Object) -> None:
    """stringData is for writing only: it goes into data."""
    texts = secret.pop("stringData", None)
    if texts:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
        secret["data"] = {**secret.get("data", {}), **encoded}


def _job(job: Object) -> None:
    """A job's own selector and labels, by its uid, so that no other job's pods are taken for its own."""
    spec = job.get("spec")
    if spec is None or spec.get("manualSelector"):
        return
    metadata = job["metadata"]
    labels = spec.setdefault("template", {}).setdefault("metadata", {}).setdefault("labels", {})
    for label, field in _JOB_LABELS:
        labels[label] = metadata.get(field, "")
    selector = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    selector[_CONTROLLER_UID] = metadata["uid"]


def _disruption_budget(budget: Object) -> None:
    budget.setdefault("spec", {})


def _secret_update(new: Object, old: Object, subresource: str) -> None:
    _secret(new)
    new.setdefault("type", old.get("type", "Opaque"))


def _pod_update(new: Object, old: Object, subresource: str) -> None:
    """A pod's QoS class never changes; a status update without it keeps it."""
    kept = old.get("status", {}).get("qosClass")
    if kept and "status" in new:
        new["status"]["qosClass"] = kept


def _namespace_update(new: Object, old: Object, subresource: str) -> None:
    """Finalizers of a namespace's spec change through "finalize" only; with it, nothing else does."""
    if subresource == "finalize":
        finalizers = new.get("spec", {}).get("finalizers")
        new.update({field: value for field, value in old.items() if field not in ("metadata", "spec")})
        new["spec"] = {"finalizers": finalizers} if finalizers else {}
    elif "spec" in old:
        new["spec"] = dict(old["spec"])


def _service_update(new: Object, old: Object, subresource: str) -> None:
    """What the server has allocated stays when an update leaves it out."""
    spec, before = new.get("spec"), old.get("spec", {})
    if not spec or spec.get("type") == "ExternalName" or before.get("type") == "ExternalName":
        return
    for field in ("clusterIP", "clusterIPs"):
        if not spec.get(field) and before.get(field):
            spec[field] = before[field]
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        _keep_node_ports(spec, before)
    if not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort") and _is_local(spec):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]


def _is_local(spec: Object) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _keep_node_ports(spec: Object, before: Object) -> None:
    known = {(p.get("protocol", "TCP"), p.get("port")): p.get("nodePort") for p in before.get("ports", ())}
    taken = {port.get("nodePort") for port in spec.get("ports", ())}
    for port in spec.get("ports", ()):
        kept = known.get((port.get("protocol", "TCP"), port.get("port")))
        if not port.get("nodePort") and kept and kept not in taken:
            port["nodePort"] = kept


def _claim_update(new: Object, old: Object, subresource: str) -> None:
    spec, before = new.get("spec"), old.get("spec", {})
    if spec is not None and "volumeMode" not in spec and "volumeMode" in before:
        spec["volumeMode"] = before["volumeMode"]


CREATE_RULES: Final[dict[str, Callable[[Object], None]]] = {
    "pods": _pod,
    "namespaces": _namespace,
    "secrets": _secret,
    "jobs.batch": _job,
    "poddisruptionbudgets.policy": _disruption_budget,
}

UPDATE_RULES: Final[dict[str, Callable[[Object, Object, str], None]]] = {
    "pods": _pod_update,
    "secrets": _secret_update,
    "namespaces": _namespace_update,
    "services": _service_update,
    "persistentvolumeclaims": _claim_update,
    "certificatesigningrequests.certificates.k8s.io": keep_request,
}
