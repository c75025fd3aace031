"""Whether an object may be stored: the schema's demands, the rules of its parts and of its kind, and what an update may
change. All that is wrong is found at once, each with its path.

The object has passed decode, defaults and prepare, so types are right and defaults are there.

Source: the validation of Kubernetes' API server, as its users meet it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from control.api.kind import Kind
from control.api.rules import (
    access,
    certificates,
    crds,
    data,
    jobs,
    pods,
    scaling,
    scheduling,
    services,
    volumes,
    workloads,
)
from control.api.rules.checks import Causes
from control.api.rules.generic import check_type
from control.api.rules.metadata import check_metadata, check_metadata_update
from control.api.schema import Object
from control.api.status import Cause, invalid

Check = Callable[[Object], Causes]
UpdateCheck = Callable[[Object, Object], Causes]
_MAX_CAUSES: Final = 100
_RBAC: Final = "rbac.authorization.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"
_REGISTRATION: Final = "admissionregistration.k8s.io"

KIND_RULES: Final[dict[str, Check]] = {
    "nodes": scheduling.check_node,
    "services": services.check_service,
    "endpoints": services.check_endpoints,
    "configmaps": data.check_config_map,
    "secrets": data.check_secret,
    "namespaces": data.check_namespace,
    "bindings": data.check_binding,
    "events": data.check_event,
    "events.events.k8s.io": data.check_new_event,
    "resourcequotas": scaling.check_quota,
    "limitranges": scaling.check_limit_range,
    "replicationcontrollers": workloads.check_replication_controller,
    "deployments.apps": workloads.check_deployment,
    "replicasets.apps": workloads.check_replica_set,
    "statefulsets.apps": workloads.check_stateful_set,
    "daemonsets.apps": workloads.check_daemon_set,
    "controllerrevisions.apps": workloads.check_controller_revision,
    "jobs.batch": jobs.check_job,
    "cronjobs.batch": jobs.check_cron_job,
    "horizontalpodautoscalers.autoscaling": scaling.check_autoscaler,
    "poddisruptionbudgets.policy": scaling.check_budget,
    "endpointslices.discovery.k8s.io": services.check_endpoint_slice,
    "leases.coordination.k8s.io": data.check_lease,
    "priorityclasses.scheduling.k8s.io": scheduling.check_priority_class,
    "ingresses.networking.k8s.io": services.check_ingress,
    "networkpolicies.networking.k8s.io": services.check_network_policy,
    f"roles.{_RBAC}": access.check_role,
    f"rolebindings.{_RBAC}": access.check_binding,
    f"clusterrolebindings.{_RBAC}": access.check_binding,
    f"validatingwebhookconfigurations.{_REGISTRATION}": access.check_webhooks,
    f"mutatingwebhookconfigurations.{_REGISTRATION}": access.check_webhooks,
    f"subjectaccessreviews.{_AUTHORIZATION}": access.check_access_review,
    f"selfsubjectaccessreviews.{_AUTHORIZATION}": access.check_access_review,
    f"localsubjectaccessreviews.{_AUTHORIZATION}": access.check_local_review,
    "customresourcedefinitions.apiextensions.k8s.io": crds.check_definition,
    "certificatesigningrequests.certificates.k8s.io": certificates.check_request,
}
"""By resource: what holds whenever the object is written."""

VIEWS: Final[dict[str, Callable[[Object], Object]]] = {"statefulsets.apps": workloads.with_claims}
"""By resource: what the rules of an object's parts see, where the object means more than it says."""

BODY_RULES: Final[dict[str, Check]] = {"Scale": scaling.check_scale, "TokenRequest": access.check_token_request}
"""By kind: bodies of subresources."""

CREATE_RULES: Final[dict[str, Check]] = {"pods": pods.check_pod}
"""By resource: what holds for new objects only."""

UPDATE_RULES: Final[dict[str, UpdateCheck]] = {
    "pods": pods.check_pod_update,
    "nodes": scheduling.check_node_update,
    "services": services.check_service_update,
    "configmaps": data.check_frozen,
    "secrets": data.check_secret_update,
    "persistentvolumes": volumes.check_volume_update,
    "persistentvolumeclaims": volumes.check_claim_update,
    "resourcequotas": scaling.check_quota_update,
    "deployments.apps": workloads.check_selector_update,
    "replicasets.apps": workloads.check_selector_update,
    "daemonsets.apps": workloads.check_selector_update,
    "statefulsets.apps": workloads.check_stateful_set_update,
    "controllerrevisions.apps": workloads.check_controller_revision_update,
    "jobs.batch": jobs.check_job_update,
    "endpointslices.discovery.k8s.io": services.check_endpoint_slice_update,
    "priorityclasses.scheduling.k8s.io": scheduling.check_priority_class_update,
    "storageclasses.storage.k8s.io": volumes.check_storage_class_update,
    f"rolebindings.{_RBAC}": access.check_binding_update,
    f"clusterrolebindings.{_RBAC}": access.check_binding_update,
    "customresourcedefinitions.apiextensions.k8s.io": crds.check_definition_update,
    "certificatesigningrequests.certificates.k8s.io": certificates.check_request_update,
}
"""By resource: called with the new and the old object."""


STATUS_RULES: Final[dict[str, UpdateCheck]] = {
    "pods": pods.check_mirror_update,
    "certificatesigningrequests.certificates.k8s.io": certificates.check_status_update,
}
"""By resource: likewise, for updates of the status, with which most kinds' agents and controllers are trusted."""


def check_create(kind: Kind, obj: Object) -> None:
    """StatusError (422) unless the new object may be stored."""
    _refuse(kind, obj, create_causes(kind, obj))


def check_update(kind: Kind, new: Object, old: Object, subresource: str = "") -> None:
    """StatusError (422) unless the old object may become the new one."""
    _refuse(kind, new, update_causes(kind, new, old, subresource))


def create_causes(kind: Kind, obj: Object) -> list[Cause]:
    """What is wrong with a new object, the first hundred causes."""
    return _some(_create(kind, obj))


def update_causes(kind: Kind, new: Object, old: Object, subresource: str = "") -> list[Cause]:
    """What is wrong with a change."""
    return _some(_update(kind, new, old, subresource))


def check_body(kind: Kind, obj: Object) -> None:
    """StatusError (422) unless the body of a subresource (Scale, TokenRequest, Binding) or a review is valid."""
    _refuse(kind, obj, _some(_body(kind, obj)))


def _create(kind: Kind, obj: Object) -> Causes:
    yield from check_metadata(kind, obj)
    yield from _content(kind, obj)
    rule = CREATE_RULES.get(kind.resource)
    if rule is not None:
        yield from rule(obj)


def _update(kind: Kind, new: Object, old: Object, subresource: str) -> Causes:
    yield from check_metadata(kind, new)
    yield from check_metadata_update(new, old)
    if kind.custom:
        yield from kind.structural.update_causes(new, old)
        return
    if subresource != "status":
        yield from _content(kind, new)
    if subresource == "ephemeralcontainers":
        yield from pods.check_ephemeral_update(new, old)
        return
    rule = (STATUS_RULES if subresource == "status" else UPDATE_RULES).get(kind.resource)
    if rule is not None:
        yield from rule(new, old)


def _content(kind: Kind, obj: Object) -> Causes:
    if kind.custom:
        yield from kind.structural.causes(obj)
        return
    seen = VIEWS.get(kind.resource, _itself)(obj)
    yield from check_type(kind.type, seen, "")
    rule = KIND_RULES.get(kind.resource)
    if rule is not None:
        yield from rule(obj)


def _itself(obj: Object) -> Object:
    return obj


def _body(kind: Kind, obj: Object) -> Causes:
    yield from check_type(kind.type, obj, "")
    rule = BODY_RULES.get(kind.name) or KIND_RULES.get(kind.resource)
    if rule is not None:
        yield from rule(obj)


def _some(causes: Iterator[Cause]) -> list[Cause]:
    found: dict[Cause, None] = {}
    for cause in causes:
        found[cause] = None
        if len(found) >= _MAX_CAUSES:
            break
    return list(found)


def _refuse(kind: Kind, obj: Object, causes: Iterable[Cause]) -> None:
    found = list(causes)
    if found:
        metadata = obj.get("metadata") or {}
        raise invalid(kind.group_kind, metadata.get("name") or metadata.get("generateName") or "", found)
