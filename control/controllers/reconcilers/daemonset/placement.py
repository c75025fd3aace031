"""Whether a pod may be on a node, as far as selectors, affinity and taints say. Used by DaemonSets.

Source: "Assigning Pods to Nodes" and "Taints and Tolerations" in Kubernetes' documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from control.api.schema import Object
from control.api.selectors import Requirement
from control.controllers.reconcilers.nodes.tainteviction import tolerates
from control.controllers.values.objects import labels, name_of, spec_of


def selects(pod_spec: Mapping[str, Any], node: Object) -> bool:
    """Whether nodeName, nodeSelector and required node affinity allow the node."""
    wanted = pod_spec.get("nodeName")
    if wanted and wanted != name_of(node):
        return False
    if not (pod_spec.get("nodeSelector") or {}).items() <= labels(node).items():
        return False
    affinity = (pod_spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: Mapping[str, Any], node: Object) -> bool:
    """A term without any requirement matches no node."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return _all(expressions, labels(node)) and _all(fields, {"metadata.name": name_of(node)})


def _all(requirements: Iterable[Mapping[str, Any]], values: Mapping[str, str]) -> bool:
    return all(
        Requirement(str(r.get("key")), str(r.get("operator")), tuple(r.get("values") or ())).matches(values)
        for r in requirements
    )


def tolerated(tolerations: Sequence[Mapping[str, Any]], node: Object, effects: Iterable[str]) -> bool:
    """Whether all the node's taints of those effects are tolerated."""
    wanted = set(effects)
    return all(
        any(tolerates(dict(toleration), taint) for toleration in tolerations)
        for taint in spec_of(node).get("taints") or ()
        if taint.get("effect") in wanted
    )
