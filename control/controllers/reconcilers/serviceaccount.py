"""What every namespace has: the service account `default`, and the cluster's CA for pods to trust.

Source: "Managing Service Accounts" in Kubernetes' documentation (ServiceAccount controller, kube-root-ca.crt).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from control.api.schema import Object
from control.controllers.values.actions import NOTHING, Create, Decision, Key, Update
from control.controllers.values.objects import cause, is_deleting, name_of, namespace_of
from control.controllers.values.observed import Observed

NAMESPACES: Final = "namespaces"
ACCOUNTS: Final = "serviceaccounts"
CONFIG_MAPS: Final = "configmaps"
ROOT_CA: Final = "kube-root-ca.crt"
_NOTE: Final = {
    "kubernetes.io/description": "The certificates of the cluster's API servers, for pods that talk to them."
}


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """Make the namespace's `default` service account if there is none."""
    namespace = _living(key, observed)
    if namespace is None or observed.get(ACCOUNTS, key.name, "default") is not None:
        return NOTHING
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "default", "namespace": key.name},
    }
    because = cause(NAMESPACES, namespace, "every namespace has a default service account")
    return Decision([Create(ACCOUNTS, account, because)])


def root_ca(certificates: str) -> Callable[[Key, Observed, datetime], Decision]:
    """The reconciler that keeps these certificates (PEM) in a config map of every namespace."""

    def reconcile_root_ca(key: Key, observed: Observed, now: datetime) -> Decision:
        namespace = _living(key, observed)
        if namespace is None:
            return NOTHING
        data = {"ca.crt": certificates}
        held = observed.get(CONFIG_MAPS, key.name, ROOT_CA)
        because = cause(NAMESPACES, namespace, "every namespace has the cluster's CA")
        if held is None:
            metadata = {"name": ROOT_CA, "namespace": key.name, "annotations": dict(_NOTE)}
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            return Decision([Create(CONFIG_MAPS, made, because)])
        if held.get("data") == data:
            return NOTHING
        return Decision([Update(CONFIG_MAPS, {**held, "data": data}, because)])

    return reconcile_root_ca


def _living(key: Key, observed: Observed) -> Object | None:
    namespace = observed.get(NAMESPACES, "", key.name)
    return None if namespace is None or is_deleting(namespace) else namespace


def wake(resource: str, old: Object | None, new: Object | None, _observed: Observed) -> Iterable[Key]:
    """The namespace: when it comes, or when what it must have changes or goes."""
    obj = new if new is not None else old
    if obj is None:
        return []
    if resource == NAMESPACES:
        return [Key("", name_of(obj))]
    return [Key("", namespace_of(obj))] if name_of(obj) in ("default", ROOT_CA) else []
