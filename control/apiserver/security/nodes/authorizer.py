"""The Node authorizer: a node reads its pods and what they name, and writes its own Node, Lease and pod statuses.

Pure. Source: "Using Node Authorization" of the Kubernetes documentation, with AuthorizeNodeWithSelectors (1.32).
NodeRestriction (admission/node_restriction.py) is its other half: it sees what is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from control.api.catalogue import BUILTIN
from control.api.fieldselectors import parse_field_selector
from control.api.status import StatusError
from control.apiserver.request import Attributes, Caches, Decision, User
from control.apiserver.security.nodes.graph import NodeGraph
from control.apiserver.security.rbac.bootstrap import node_rules
from control.apiserver.security.rbac.rules import Rule

NODES_GROUP, NODE_PREFIX = "system:nodes", "system:node:"
LEASES = "kube-node-lease"
_READ, _WRITE = ("get", "list", "watch"), ("update", "patch")
_UNRELATED = "no relationship found between node '{}' and this object"


def node_of(user: User) -> str | None:
    """The node's name; None: the user is no node."""
    if NODES_GROUP not in user.groups or not user.name.startswith(NODE_PREFIX):
        return None
    return user.name.removeprefix(NODE_PREFIX)


class NodeAuthorizer:
    """Has no opinion on users that are no nodes."""

    def __init__(self, graph: NodeGraph, caches: Caches) -> None:
        self._graph = graph
        self._caches = caches
        self._rules = [Rule.of(rule) for rule in node_rules()]
        self._special: Mapping[tuple[str, str], Callable[[str, Attributes], str]] = {
            ("", "secrets"): self._read_named,
            ("", "configmaps"): self._read_named,
            ("", "persistentvolumeclaims"): self._get_claim,
            ("", "persistentvolumes"): self._get_volume,
            ("", "serviceaccounts"): self._create_token,
            ("", "nodes"): self._own_node,
            ("", "pods"): self._own_pods,
            ("coordination.k8s.io", "leases"): self._own_lease,
        }

    def authorize(self, user: User, attributes: Attributes) -> Decision:
        node = node_of(user)
        if node is None:
            return Decision(False)
        if not node:
            return Decision(False, f'unknown node for user "{user.name}"')
        check = self._special.get((attributes.group, attributes.resource))
        if check is not None:
            why_not = check(node, attributes)
            return Decision(not why_not, why_not)
        return Decision(any(rule.allows(attributes) for rule in self._rules))

    def _read_named(self, node: str, asked: Attributes) -> str:
        if asked.verb not in _READ:
            return "can only read resources of this type"
        if asked.subresource:
            return "cannot read subresource"
        if not asked.name:
            return "No Object name found"
        return self._related(node, asked)

    def _get_claim(self, node: str, asked: Attributes) -> str:
        if asked.verb != "get" or asked.subresource:
            return "can only get individual resources of this type"
        return self._related(node, asked)

    def _get_volume(self, node: str, asked: Attributes) -> str:
        if asked.verb != "get" or asked.subresource:
            return "can only get individual resources of this type"
        volume = self._caches.get("persistentvolumes", "", asked.name) or {}
        claim = (volume.get("spec") or {}).get("claimRef") or {}
        named = (str(claim.get("namespace")), str(claim.get("name")))
        held = claim and self._graph.has(node, "persistentvolumeclaims", *named)
        return "" if held else _UNRELATED.format(node)

    def _create_token(self, node: str, asked: Attributes) -> str:
        if asked.verb == "get" and not asked.subresource:
            return self._related(node, asked)
        if asked.verb != "create" or asked.subresource != "token" or not asked.name:
            return "can only create tokens for individual service accounts"
        return self._related(node, asked)

    def _own_node(self, node: str, asked: Attributes) -> str:
        """Creates are checked by NodeRestriction: only there the name is known."""
        if asked.subresource not in ("", "status"):
            return "cannot access this subresource of nodes"
        if asked.verb == "create" and not asked.subresource:
            return ""
        if asked.verb not in (*_READ, *_WRITE):
            return "can only create, get, list, watch, update and patch its own node"
        return (
            "" if asked.name == node else f"node '{node}' cannot access node '{asked.name}', only its own Node object"
        )

    def _own_pods(self, node: str, asked: Attributes) -> str:
        """Creates (mirror pods) and the contents of writes are checked by NodeRestriction."""
        match asked.verb, asked.subresource:
            case ("create", ""):
                return ""
            case ("list" | "watch", ""):
                if asked.name:
                    return self._related(node, asked)
                selected = _selects(asked.field_selector, node)
                return "" if selected else "can only list/watch pods with spec.nodeName field selector"
            case ("get" | "delete", "") | ("update" | "patch" | "get", "status") | ("create", "eviction"):
                return self._related(node, asked)
        return f"cannot {asked.verb} this subresource of pods" if asked.subresource else "cannot write pods"

    def _own_lease(self, node: str, asked: Attributes) -> str:
        if asked.verb not in ("get", "create", "update", "patch", "delete"):
            return "can only get, create, update, patch, or delete a node lease"
        if asked.namespace != LEASES:
            return f'can only access leases in the "{LEASES}" system namespace'
        if asked.verb != "create" and asked.name != node:
            return "can only access node lease with the same name as the requesting node"
        return ""

    def _related(self, node: str, asked: Attributes) -> str:
        known = asked.name and self._graph.has(node, asked.resource, asked.namespace, asked.name)
        return "" if known else _UNRELATED.format(node)


def _selects(text: str, node: str) -> bool:
    """Whether a field selector admits the node's pods only."""
    try:
        return parse_field_selector(text, BUILTIN.by_resource("pods")).value_of("spec.nodeName") == node
    except StatusError:
        return False
