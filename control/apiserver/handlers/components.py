"""ComponentStatus: the store's health, as `kubectl get componentstatuses` shows it. Deprecated since Kubernetes 1.19.

Controllers and scheduler are not listed: they run on every master, and which of them are well is not this server's to
know (their /healthz is). Source: the ComponentStatus API reference.
"""

from __future__ import annotations

from typing import Final

from control.api.schema import Object
from control.api.selectors import parse_label_selector
from control.api.status import method_not_allowed, not_found
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.handlers.health import store_trouble
from control.apiserver.negotiate import form_of
from control.apiserver.rendering import show, show_objects

_STORE: Final = "etcd-0"


async def serve(call: Call) -> Answer:
    """StatusError 404: there is no such component."""
    if call.info.verb not in ("get", "list"):
        raise method_not_allowed(call.of.resource, call.info.verb)
    if call.info.verb == "get" and call.info.name != _STORE:
        raise not_found(call.of.resource, call.info.name)
    form = form_of(call.headers.get("accept", ""))
    found = _status(_STORE, await store_trouble(call.server))
    if call.info.verb == "get":
        return show(call.of, found, form)
    chosen = [found] if parse_label_selector(call.info.parameter("labelSelector")).matches({}) else []
    return show_objects(call.of, chosen, form, call.info.parameter("includeObject") or "Metadata")


def _status(name: str, trouble: str) -> Object:
    condition = {"type": "Healthy", "status": "False" if trouble else "True", "message": trouble or "ok"}
    return {
        "apiVersion": "v1",
        "kind": "ComponentStatus",
        "metadata": {"name": name},
        "conditions": [condition],
    }
