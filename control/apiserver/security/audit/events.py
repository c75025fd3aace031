"""One request's audit events (audit.k8s.io/v1 Event): pure, what the log writes as lines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

from control.api import meta
from control.api.schema import Object
from control.apiserver.request import Headers, RequestInfo, User
from control.apiserver.security.impersonation import ImpersonatedUser
from control.apiserver.security.user_info import user_info

_AGENT_BYTES = 1024


def begin_event(
    audit_id: str, level: str, info: RequestInfo, user: User, headers: Headers, source: str, received: float
) -> Object:
    """What all events of the request have in common. received: seconds since 1970."""
    by = user.by if isinstance(user, ImpersonatedUser) and user.by is not None else None
    event: Object = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": level,
        "auditID": audit_id,
        "stage": "",
        "requestURI": _uri(info),
        "verb": info.verb,
        "user": user_info(by or user),
        "sourceIPs": [source] if source else [],
        "userAgent": headers.get("user-agent", "")[:_AGENT_BYTES],
        "requestReceivedTimestamp": _time(received),
    }
    if by is not None:
        event["impersonatedUser"] = user_info(user)
    if info.is_resource:
        event["objectRef"] = _reference(info)
    return event


def staged(event: Object, stage: str, at: float) -> Object:
    """The event of one stage."""
    return {**event, "stage": stage, "stageTimestamp": _time(at)}


def completed(event: Object, at: float, code: int, response: Object | None, annotations: Mapping[str, str]) -> Object:
    """The event of the end. The object's uid and revision are taken over from the answer, whatever the level is."""
    found = staged(event, "ResponseComplete", at)
    status: Object = {"metadata": {}, "code": code}
    if response is not None and response.get("kind") == "Status":
        status |= {field: response[field] for field in ("status", "reason", "message") if response.get(field)}
    elif response is not None and "objectRef" in found:
        found["objectRef"] = {**found["objectRef"], **_identity(response)}
    found["responseStatus"] = status
    if annotations:
        found["annotations"] = dict(annotations)
    return found


def without_managed_fields(obj: Object) -> Object:
    """The object, or the list, without metadata.managedFields; the object itself stays as it is."""
    if isinstance(obj.get("items"), list):
        return {**obj, "items": [without_managed_fields(item) for item in obj["items"] if isinstance(item, dict)]}
    if "managedFields" not in meta.metadata(obj):
        return obj
    return {**obj, "metadata": {k: v for k, v in meta.metadata(obj).items() if k != "managedFields"}}


def _identity(response: Object) -> Object:
    found = {"uid": meta.uid(response), "resourceVersion": meta.resource_version(response), "name": meta.name(response)}
    return {field: value for field, value in found.items() if value}


def _reference(info: RequestInfo) -> Object:
    found = {
        "resource": info.resource,
        "namespace": info.namespace,
        "name": info.name,
        "apiGroup": info.group,
        "apiVersion": info.version,
        "subresource": info.subresource,
    }
    return {field: value for field, value in found.items() if value}


def _uri(info: RequestInfo) -> str:
    query = urlencode({name: list(values) for name, values in info.query.items()}, doseq=True)
    return f"{info.path}?{query}" if query else info.path


def _time(seconds: float) -> str:
    return meta.micro_timestamp(datetime.fromtimestamp(seconds, UTC))
