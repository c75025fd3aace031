"""Columns of nodes, events, quotas, role bindings, webhooks and metrics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from control.api.cells.words import NONE, UNKNOWN, dig, since
from control.api.quantity import ZERO, Quantity
from control.api.schema import Object

_ROLE_PREFIX: Final = "node-role.kubernetes.io/"
_ROLE_LABEL: Final = "kubernetes.io/role"
_ACCOUNT, _USER, _GROUP = "ServiceAccount", "User", "Group"


def _node_status(node: Object, now: datetime) -> str:
    conditions = dig(node, "status", "conditions") or ()
    ready = next((c.get("status") for c in conditions if c.get("type") == "Ready"), None)
    word = "Unknown" if ready is None else "Ready" if ready == "True" else "NotReady"
    return f"{word},SchedulingDisabled" if dig(node, "spec", "unschedulable") else word


def _node_roles(node: Object, now: datetime) -> str:
    labels = dig(node, "metadata", "labels") or {}
    roles = {label.removeprefix(_ROLE_PREFIX) for label in labels if label.startswith(_ROLE_PREFIX)}
    roles.add(labels.get(_ROLE_LABEL, ""))
    return ",".join(sorted(role for role in roles if role)) or NONE


def _address(kind: str) -> Callable[[Object, datetime], str]:
    def cell(node: Object, now: datetime) -> str:
        addresses = dig(node, "status", "addresses") or ()
        return next((a.get("address", "") for a in addresses if a.get("type") == kind), NONE)

    return cell


def _info(field: str) -> Callable[[Object, datetime], str]:
    def cell(node: Object, now: datetime) -> str:
        return dig(node, "status", "nodeInfo", field) or UNKNOWN

    return cell


def _about(event: Object) -> Object:
    """The object an event is about; the two versions of Event name it differently."""
    return event.get("involvedObject") or event.get("regarding") or {}


def _last_seen(event: Object, now: datetime) -> str:
    times = (
        dig(event, "series", "lastObservedTime"),
        event.get("lastTimestamp") or event.get("deprecatedLastTimestamp"),
        event.get("eventTime"),
    )
    return since(next((time for time in times if time), None), now)


def _first_seen(event: Object, now: datetime) -> str:
    first = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime")
    return since(first, now)


def _event_count(event: Object, now: datetime) -> int:
    return dig(event, "series", "count") or event.get("count") or event.get("deprecatedCount") or 1


def _event_object(event: Object, now: datetime) -> str:
    about = _about(event)
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}" if about.get("kind") else about.get("name", "")


def _event_subobject(event: Object, now: datetime) -> str:
    return str(_about(event).get("fieldPath", ""))


def _event_source(event: Object, now: datetime) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = source.get("component") or event.get("reportingComponent") or event.get("reportingController") or ""
    host = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


def _event_message(event: Object, now: datetime) -> str:
    return str(event.get("message") or event.get("note") or "").strip()


def _field(name: str) -> Callable[[Object, datetime], str]:
    def cell(obj: Object, now: datetime) -> str:
        return str(obj.get(name) or "")

    return cell


def _quota(limits: bool) -> Callable[[Object, datetime], str]:
    def cell(quota: Object, now: datetime) -> str:
        hard = dig(quota, "status", "hard") or dig(quota, "spec", "hard") or {}
        used = dig(quota, "status", "used") or {}
        names = [name for name in sorted(hard) if name.startswith("limits.") == limits]
        return ", ".join(f"{name}: {used.get(name, 0)}/{hard[name]}" for name in names)

    return cell


def _binding_role(binding: Object, now: datetime) -> str:
    role = binding.get("roleRef") or {}
    return f"{role.get('kind', '')}/{role.get('name', '')}"


def _subjects(kind: str) -> Callable[[Object, datetime], str]:
    def cell(binding: Object, now: datetime) -> str:
        found = [subject for subject in binding.get("subjects", ()) if subject.get("kind") == kind]
        start = [f"{subject.get('namespace', '')}/" if kind == _ACCOUNT else "" for subject in found]
        return ", ".join(prefix + subject.get("name", "") for prefix, subject in zip(start, found, strict=True))

    return cell


def _webhook_count(obj: Object, now: datetime) -> int:
    return len(obj.get("webhooks") or ())


def _usage(resource: str) -> Callable[[Object, datetime], str]:
    def cell(metrics: Object, now: datetime) -> str:
        amounts = [dig(entry, "usage", resource) for entry in metrics.get("containers", ())]
        return str(sum((Quantity.parse(amount) for amount in amounts if amount), start=ZERO))

    return cell


def _component(obj: Object) -> Object:
    return next((c for c in obj.get("conditions") or () if c.get("type") == "Healthy"), {})


def _component_status(obj: Object, now: datetime) -> str:
    return {"True": "Healthy", "False": "Unhealthy"}.get(_component(obj).get("status", ""), "Unknown")


def _component_message(obj: Object, now: datetime) -> str:
    return str(_component(obj).get("message", ""))


def _component_error(obj: Object, now: datetime) -> str:
    return str(_component(obj).get("error", ""))


CELLS: Final[dict[str, Callable[[Object, datetime], Any]]] = {
    "node_status": _node_status,
    "component_status": _component_status,
    "component_message": _component_message,
    "component_error": _component_error,
    "node_roles": _node_roles,
    "node_internal_ip": _address("InternalIP"),
    "node_external_ip": _address("ExternalIP"),
    "node_os_image": _info("osImage"),
    "node_kernel": _info("kernelVersion"),
    "node_runtime": _info("containerRuntimeVersion"),
    "event_last_seen": _last_seen,
    "event_first_seen": _first_seen,
    "event_type": _field("type"),
    "event_reason": _field("reason"),
    "event_object": _event_object,
    "event_subobject": _event_subobject,
    "event_source": _event_source,
    "event_message": _event_message,
    "event_count": _event_count,
    "quota_requests": _quota(limits=False),
    "quota_limits": _quota(limits=True),
    "binding_role": _binding_role,
    "binding_users": _subjects(_USER),
    "binding_groups": _subjects(_GROUP),
    "binding_accounts": _subjects(_ACCOUNT),
    "webhook_count": _webhook_count,
    "pod_cpu": _usage("cpu"),
    "pod_memory": _usage("memory"),
}
