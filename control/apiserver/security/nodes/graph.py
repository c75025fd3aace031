"""Which objects belong to which node, by the pods that are bound to it. Pure; kept by the changes of pods.

Invariant: a count is the number of the node's pods that name the object: a reference ends with the last of them.
Cost: a change costs what the one pod names; a question is one look-up.
"""

from __future__ import annotations

from collections import Counter

from control.api import meta
from control.api.schema import Object
from control.apiserver.security.nodes.references import references

MIRROR = "kubernetes.io/config.mirror"
_Entry = tuple[str, str, str]  # (resource, namespace, name)


class NodeGraph:
    """Pods and what they name, by node."""

    def __init__(self) -> None:
        self._nodes: dict[str, Counter[_Entry]] = {}

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod came, changed or went."""
        before, after = _entries(old), _entries(new)
        if before == after:
            return
        for node, entry in before - after:
            self._remove(node, entry)
        for node, entry in after - before:
            self._nodes.setdefault(node, Counter())[entry] += 1

    def has(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Whether a pod of the node names that object, or is it (resource "pods")."""
        return (resource, namespace, name) in self._nodes.get(node, ())

    def _remove(self, node: str, entry: _Entry) -> None:
        counts = self._nodes[node]
        counts[entry] -= 1
        if not counts[entry]:
            del counts[entry]
        if not counts:
            del self._nodes[node]


def _entries(pod: Object | None) -> set[tuple[str, _Entry]]:
    node = str((pod or {}).get("spec", {}).get("nodeName") or "")
    if pod is None or not node:
        return set()
    namespace, name = meta.key(pod)
    found = {(node, ("pods", namespace, name))}
    if MIRROR not in meta.annotations(pod):  # the node made it itself: it must not gain rights by that
        found |= {(node, (resource, namespace, named)) for resource, named in references(pod)}
    return found
