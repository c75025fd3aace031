"""NodeRestriction: what a node writes is about itself and its pods. The other half of the Node authorizer. Pure.

Source: "NodeRestriction" of the Kubernetes documentation; the list of labels is that of 1.32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from control.api import meta
from control.api.schema import Object
from control.api.status import StatusError, forbidden
from control.apiserver.admission.certificates import REQUESTS, common_names, signer_of
from control.apiserver.admission.pods import is_mirror
from control.apiserver.request import Caches, Review
from control.apiserver.security.nodes.authorizer import LEASES, node_of
from control.apiserver.security.nodes.references import references

# Labels of Kubernetes' domains that a node may set of itself; those of other domains it may set as well.
_OWN_LABELS = frozenset(
    {
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/arch",
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "node.kubernetes.io/windows-build",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    }
)
_NODE_SIGNERS = ("kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving")
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")


class NodeRestriction:
    """Looks at writes of users that are nodes."""

    name = "NodeRestriction"

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._checks: Mapping[str, Callable[[str, Review], str]] = {
            "pods": self._pod,
            "nodes": self._node,
            "serviceaccounts": self._token,
            "leases.coordination.k8s.io": self._lease,
            "persistentvolumeclaims": self._claim,
            REQUESTS: _certificate,
        }

    def validate(self, review: Review) -> None:
        """StatusError 403."""
        node = node_of(review.user)
        if node is None:
            return
        if not node:
            raise _refusal(review, f'could not determine node from user "{review.user.name}"')
        check = self._checks.get(review.resource)
        why = check(node, review) if check is not None else ""
        if why:
            raise _refusal(review, why)

    def _pod(self, node: str, review: Review) -> str:
        match review.info.subresource, review.operation:
            case "", "CREATE":
                return self._mirror_pod(node, review.object or {})
            case "", "DELETE":
                mine = _bound_to(review.old or self._pod_of(review), node)
                return "" if mine else f'node "{node}" can only delete pods with spec.nodeName set to itself'
            case "status", "UPDATE":
                return _pod_status(node, review.old or {}, review.object or {})
            case "eviction", "CREATE":
                mine = _bound_to(self._pod_of(review), node)
                return "" if mine else f"node {node} can only evict pods with spec.nodeName set to itself"
        return f"unexpected pod operation, node {node} can only create and delete mirror pods and update pod status"

    def _pod_of(self, review: Review) -> Object:
        return self._caches.get("pods", review.info.namespace, review.info.name) or {}

    def _mirror_pod(self, node: str, pod: Object) -> str:
        if not is_mirror(pod):
            return (
                f'pod does not have "kubernetes.io/config.mirror" annotation, node "{node}" can only create mirror pods'
            )
        if not _bound_to(pod, node):
            return f'node "{node}" can only create pods with spec.nodeName set to itself'
        owners = meta.owner_references(pod)
        if len(owners) != 1 or not self._is_itself(node, owners[0]):
            return f'node "{node}" can only create pods with one controller owner reference, set to itself'
        # Naming an object would let the node read it.
        named = sorted(references(pod))
        return f'node "{node}" can not create pods that reference {named[0][0]}' if named else ""

    def _is_itself(self, node: str, owner: Object) -> bool:
        known = self._caches.get("nodes", "", node) or {}
        says = (owner.get("apiVersion"), owner.get("kind"), owner.get("name"), owner.get("uid"))
        return says == ("v1", "Node", node, meta.uid(known)) and owner.get("controller") is True

    def _node(self, node: str, review: Review) -> str:
        new, old = review.object or {}, review.old or {}
        name = review.info.name or meta.name(new)
        if name != node:
            return f'node "{node}" is not allowed to modify node "{name}"'
        if review.operation == "DELETE":
            return f'node "{node}" is not allowed to delete itself'
        wrong = _forbidden_labels(old, new)
        if wrong:
            return f"is not allowed to modify labels: {', '.join(wrong)}"
        if review.operation == "UPDATE" and _taints(old) != _taints(new):
            return f'node "{node}" is not allowed to modify taints'
        if review.operation == "UPDATE" and meta.owner_references(old) != meta.owner_references(new):
            return f'node "{node}" is not allowed to modify ownerReferences'
        return ""

    def _token(self, node: str, review: Review) -> str:
        """A node gets tokens for its pods only, bound to them."""
        if review.info.subresource != "token" or review.operation != "CREATE":
            return f'node "{node}" can only create tokens of service accounts'
        reference = ((review.object or {}).get("spec") or {}).get("boundObjectRef") or {}
        if reference.get("kind") != "Pod" or not reference.get("name"):
            return "node requested token not bound to a pod"
        if not reference.get("uid"):
            return "node requested token bound to a pod, but missing pod uid"
        pod = self._caches.get("pods", review.info.namespace, reference["name"])
        if pod is None or meta.uid(pod) != reference["uid"] or not _bound_to(pod, node):
            return "node requested token bound to a pod scheduled on a different node"
        return ""

    def _lease(self, node: str, review: Review) -> str:
        name = review.info.name or meta.name(review.object or {})
        if review.info.namespace != LEASES or name != node:
            return f'node "{node}" can only touch its own lease in {LEASES}'
        return ""

    def _claim(self, node: str, review: Review) -> str:
        return "may only update PVC status" if review.info.subresource != "status" else ""


def _certificate(node: str, review: Review) -> str:
    """A node asks for certificates in its own name; what else they say is looked at before they are approved."""
    if review.operation != "CREATE" or signer_of(review.object) not in _NODE_SIGNERS:
        return ""
    mine = common_names(review.object) == [f"system:node:{node}"]
    return "" if mine else f"can only create a node CSR with CN=system:node:{node}"


def _bound_to(pod: Object, node: str) -> bool:
    return (pod.get("spec") or {}).get("nodeName") == node


def _pod_status(node: str, old: Object, new: Object) -> str:
    if not _bound_to(old, node):
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    if meta.labels(old) != meta.labels(new):
        return f'node "{node}" cannot update labels through pod status'
    return ""


def _taints(node: Object) -> list[Object]:
    return (node.get("spec") or {}).get("taints") or []


def _forbidden_labels(old: Object, new: Object) -> list[str]:
    """Labels that decide which pods a node gets are set by those who run the cluster."""
    before, after = meta.labels(old), meta.labels(new)
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    return sorted(key for key in changed if not _may_set(key))


def _may_set(label: str) -> bool:
    domain, slash, _ = label.partition("/")
    if not slash or label in _OWN_LABELS:
        return True
    if domain == "node-restriction.kubernetes.io" or domain.endswith(".node-restriction.kubernetes.io"):
        return False
    if any(domain == prefix or domain.endswith(f".{prefix}") for prefix in _OWN_PREFIXES):
        return True
    return not any(domain == reserved or domain.endswith(f".{reserved}") for reserved in ("kubernetes.io", "k8s.io"))


def _refusal(review: Review, why: str) -> StatusError:
    return forbidden(review.resource, review.info.name or meta.name(review.object or {}), why)
