"""The roles and bindings that every cluster begins with, as data.

A rule is (verbs, groups, resources[, names]), words between spaces; "core" is the core group. A URL rule is
(verbs, urls).
The aggregated roles admin, edit and view are made of the parts labelled for them, and of what others label so.

Source: "Default roles and role bindings" of the RBAC documentation, for 1.32, reduced to the kinds we have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from control.api.schema import Object

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_API = "rbac.authorization.k8s.io/v1"
_DEFAULTS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ, _WRITE = "get list watch", "create delete deletecollection patch update"
_ALL = f"{_READ} {_WRITE}"
_EVENTS: tuple[str, ...] = ("create patch update", "core events.k8s.io", "events")
_AUTHENTICATED, _UNAUTHENTICATED = "system:authenticated", "system:unauthenticated"
_CERTIFICATES = "certificates.k8s.io"
_SIGNERS = (
    "kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving"
)
_HEALTH = "/healthz /livez /readyz /version /version/"
_DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"

RULES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "cluster-admin": (("*", "*", "*"), ("*", "*")),
    "system:discovery": (("get", _DISCOVERY),),
    "system:public-info-viewer": (("get", _HEALTH),),
    "system:monitoring": (("get", "/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),),
    "system:basic-user": (
        ("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        ("create", "authentication.k8s.io", "selfsubjectreviews"),
    ),
    "system:auth-delegator": (
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    "system:service-account-issuer-discovery": (("get", "/.well-known/openid-configuration /openid/v1/jwks"),),
    "system:aggregate-to-admin": (
        ("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        (_ALL, "rbac.authorization.k8s.io", "roles rolebindings"),
    ),
    "system:aggregate-to-edit": (
        (_READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
        ("impersonate", "core", "serviceaccounts"),
        (_WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
        ("create", "core", "pods/eviction"),
        (
            _WRITE,
            "core",
            "configmaps events persistentvolumeclaims podtemplates replicationcontrollers replicationcontrollers/scale "
            "secrets serviceaccounts services services/proxy",
        ),
        ("create", "core", "serviceaccounts/token"),
        (
            _WRITE,
            "apps",
            "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
            "statefulsets/scale",
        ),
        (_WRITE, "autoscaling", "horizontalpodautoscalers"),
        (_WRITE, "batch", "cronjobs jobs"),
        (_WRITE, "policy", "poddisruptionbudgets"),
        (_WRITE, "networking.k8s.io", "ingresses networkpolicies"),
        (_ALL, "coordination.k8s.io", "leases"),
    ),
    "system:aggregate-to-view": (
        (
            _READ,
            "core",
            "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods podtemplates "
            "replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status",
        ),
        (
            _READ,
            "core",
            "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
            "resourcequotas resourcequotas/status",
        ),
        (_READ, "core", "namespaces"),
        (_READ, "discovery.k8s.io", "endpointslices"),
        (_READ, "events.k8s.io", "events"),
        (
            _READ,
            "apps",
            "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status "
            "replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
        ),
        (_READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        (_READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        (_READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        (_READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
        (_READ, "metrics.k8s.io", "pods nodes"),
    ),
    # What the Node authorizer allows nodes on top is theirs alone; the binding of this role has no subjects.
    "system:node": (
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
        (_READ, "core", "services"),
        ("create get list watch", "core", "nodes"),
        ("patch update", "core", "nodes nodes/status"),
        _EVENTS,
        (_READ, "core", "pods"),
        ("create delete", "core", "pods"),
        ("patch update", "core", "pods/status"),
        ("create", "core", "pods/eviction"),
        (_READ, "core", "configmaps secrets"),
        ("get", "core", "persistentvolumeclaims persistentvolumes"),
        ("get", "core", "endpoints"),
        ("create", "core", "serviceaccounts/token"),
        ("create delete get patch update", "coordination.k8s.io", "leases"),
        (_READ, "discovery.k8s.io", "endpointslices"),
        ("create get list watch", _CERTIFICATES, "certificatesigningrequests"),
    ),
    "system:node-proxier": (
        ("list watch", "core", "endpoints services"),
        (_READ, "core", "nodes"),
        _EVENTS,
        ("list watch", "discovery.k8s.io", "endpointslices"),
    ),
    "system:kubelet-api-admin": (
        (_READ, "core", "nodes"),
        ("proxy", "core", "nodes"),
        ("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
    ),
    "system:kube-scheduler": (
        _EVENTS,
        (_ALL, "coordination.k8s.io", "leases"),
        (_READ, "core", "namespaces nodes"),
        ("delete get list watch", "core", "pods"),
        ("create", "core", "bindings pods/binding"),
        ("patch update", "core", "pods/status"),
        (_READ, "core", "persistentvolumeclaims persistentvolumes replicationcontrollers services"),
        ("patch update", "core", "persistentvolumeclaims persistentvolumes"),
        (_READ, "storage.k8s.io", "storageclasses"),
        (_READ, "apps", "daemonsets replicasets statefulsets"),
        (_READ, "policy", "poddisruptionbudgets"),
        (_READ, "scheduling.k8s.io", "priorityclasses"),
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    # Kubernetes gives each controller a service account; ours run as one user, who has what all of them have.
    "system:kube-controller-manager": (
        _EVENTS,
        (_ALL, "coordination.k8s.io", "leases"),
        (_READ, "*", "*"),
        ("create", "core", "configmaps endpoints secrets serviceaccounts serviceaccounts/token pods pods/eviction"),
        (_WRITE, "core", "configmaps endpoints persistentvolumeclaims pods secrets serviceaccounts"),
        ("patch update", "core", "nodes nodes/status pods/status pods/finalizers namespaces namespaces/status"),
        ("delete", "core", "namespaces nodes"),
        ("update", "core", "namespaces/finalize services/status resourcequotas/status replicationcontrollers/status"),
        ("patch update", "core", "persistentvolumeclaims/status persistentvolumes/status resourcequotas/status"),
        ("create", "core", "pods/binding"),
        (_WRITE, "apps", "controllerrevisions replicasets"),
        (
            "patch update",
            "apps",
            "daemonsets daemonsets/status deployments deployments/status replicasets/status statefulsets "
            "statefulsets/status",
        ),
        (
            "update",
            "apps",
            "daemonsets/finalizers deployments/finalizers replicasets/finalizers statefulsets/finalizers",
        ),
        (_WRITE, "batch", "jobs"),
        ("patch update", "batch", "cronjobs cronjobs/status jobs/status"),
        ("update", "batch", "cronjobs/finalizers jobs/finalizers"),
        ("get patch update", "*", "*/scale"),
        ("patch update", "autoscaling", "horizontalpodautoscalers/status"),
        ("patch update", "policy", "poddisruptionbudgets/status"),
        (_WRITE, "discovery.k8s.io", "endpointslices"),
        ("update", _CERTIFICATES, "certificatesigningrequests/approval certificatesigningrequests/status"),
        ("approve sign", _CERTIFICATES, "signers", _SIGNERS),
        ("delete deletecollection patch update", "*", "*"),  # garbage collector, namespaces: they must remove anything
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    "system:persistent-volume-provisioner": (
        ("create delete get list watch", "core", "persistentvolumes"),
        ("get list update watch", "core", "persistentvolumeclaims"),
        (_READ, "storage.k8s.io", "storageclasses"),
        ("create list patch update watch", "core", "events"),
    ),
    "system:node-bootstrapper": (("create get list watch", _CERTIFICATES, "certificatesigningrequests"),),
}

_TO = "rbac.authorization.k8s.io/aggregate-to-"
_AGGREGATED = {"admin": "admin", "edit": "edit", "view": "view"}
# Roles that are part of others.
_LABELS: Mapping[str, Mapping[str, str]] = {
    "system:aggregate-to-admin": {f"{_TO}admin": "true"},
    "system:aggregate-to-edit": {f"{_TO}edit": "true"},
    "system:aggregate-to-view": {f"{_TO}view": "true"},
    "edit": {f"{_TO}admin": "true"},
    "view": {f"{_TO}edit": "true"},
}

# role → (users, groups)
BINDINGS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "cluster-admin": ((), ("system:masters",)),
    "system:discovery": ((), (_AUTHENTICATED,)),
    "system:basic-user": ((), (_AUTHENTICATED,)),
    "system:public-info-viewer": ((), (_AUTHENTICATED, _UNAUTHENTICATED)),
    "system:monitoring": ((), ("system:monitoring",)),
    "system:node": ((), ()),
    # Agents proxy Services and lead to other nodes' pods themselves, with their node's credentials.
    "system:node-proxier": (("system:kube-proxy",), ("system:nodes",)),
    "system:kube-scheduler": (("system:kube-scheduler",), ()),
    "system:kube-controller-manager": (("system:kube-controller-manager",), ()),
    "system:service-account-issuer-discovery": ((), ("system:serviceaccounts",)),
}


def cluster_roles() -> Iterator[Object]:
    """ClusterRoles as they are to be created."""
    for name, rules in RULES.items():
        yield _role(name, rules=[_rule(rule) for rule in rules])
    for name, part in _AGGREGATED.items():
        selector = {"matchLabels": {f"{_TO}{part}": "true"}}
        yield _role(name, aggregationRule={"clusterRoleSelectors": [selector]}, rules=[])


def cluster_role_bindings() -> Iterator[Object]:
    """ClusterRoleBindings as they are to be created."""
    for role, (users, groups) in BINDINGS.items():
        subjects = [("User", user) for user in users] + [("Group", group) for group in groups]
        yield {
            "apiVersion": _API,
            "kind": "ClusterRoleBinding",
            "metadata": _metadata(role, {}),
            "subjects": [{"kind": kind, "apiGroup": "rbac.authorization.k8s.io", "name": n} for kind, n in subjects],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        }


def node_rules() -> list[Object]:
    """What the Node authorizer allows every node, before it looks at which objects are the node's."""
    return [_rule(rule) for rule in RULES["system:node"]]


def _role(name: str, **fields: Any) -> Object:
    metadata = _metadata(name, _LABELS.get(name, {}))
    return {"apiVersion": _API, "kind": "ClusterRole", "metadata": metadata, **fields}


def _metadata(name: str, labels: Mapping[str, str]) -> Object:
    return {"name": name, "labels": {**_DEFAULTS, **labels}, "annotations": {AUTOUPDATE: "true"}}


def _rule(words: tuple[str, ...]) -> Object:
    if len(words) == 2:
        return {"verbs": words[0].split(), "nonResourceURLs": words[1].split()}
    groups = ["" if group == "core" else group for group in words[1].split()]
    rule: Object = {"verbs": words[0].split(), "apiGroups": groups, "resources": words[2].split()}
    return rule | {"resourceNames": words[3].split()} if len(words) == 4 else rule
