"""Whether a node satisfies a pod's node selector and its required node affinity. Pure.

Source: NodeSelector in the Kubernetes API reference.
"""

from __future__ import annotations

from collections.abc import Mapping

from node_agent.pod import spec
from node_agent.pod.spec import Object


def matches_node(pod: Object, node: Object) -> bool:
    labels: Mapping[str, str] = spec.metadata(node).get("labels") or {}
    wanted = spec.spec(pod).get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = (spec.spec(pod).get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": spec.name(node)}
    return any(_term(term, labels, fields) for term in required.get("nodeSelectorTerms") or [])


def _term(term: Object, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """An empty term matches nothing."""
    on_labels, on_fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not on_labels and not on_fields:
        return False
    return all(_holds(r, labels) for r in on_labels) and all(_holds(r, fields) for r in on_fields)


def _holds(requirement: Object, values: Mapping[str, str]) -> bool:
    have, wanted = values.get(requirement["key"]), requirement.get("values") or []
    match requirement["operator"]:
        case "In":
            return have in wanted
        case "NotIn":
            return have not in wanted
        case "Exists":
            return have is not None
        case "DoesNotExist":
            return have is None
        case "Gt" | "Lt" as operator:
            return _compared(operator, have, wanted)
    return False


def _compared(operator: str, have: str | None, wanted: list[str]) -> bool:
    try:
        left, right = int(have or ""), int(wanted[0])
    except (ValueError, IndexError):
        return False
    return left > right if operator == "Gt" else left < right
