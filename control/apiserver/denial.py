"""403: who may not do what, in Kubernetes' words."""

from __future__ import annotations

from control.api.status import StatusError, forbidden, quoted
from control.apiserver.request import RequestInfo, User


def denied(user: User, info: RequestInfo, reason: str) -> StatusError:
    """403 in Kubernetes' words."""
    if not info.is_resource:
        return forbidden(
            "", "", f"User {quoted(user.name)} cannot {info.verb} path {quoted(info.path)}{_because(reason)}"
        )
    resource = f"{info.resource}.{info.group}" if info.group else info.resource
    what = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    where = f"in the namespace {quoted(info.namespace)}" if info.namespace else "at the cluster scope"
    why = f'User {quoted(user.name)} cannot {info.verb} resource "{what}" in API group "{info.group}" {where}'
    return forbidden(resource, info.name, why + _because(reason))


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
