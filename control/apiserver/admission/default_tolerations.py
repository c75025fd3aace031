"""DefaultTolerationSeconds: a pod stays on a node that is not ready or not reachable for five minutes. Pure."""

from __future__ import annotations

from control.api.schema import Object
from control.apiserver.request import Review

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
SECONDS = 300


class DefaultTolerationSeconds:
    """For pods that say nothing of these taints; on updates, too: `kubectl apply` writes the author's list."""

    name = "DefaultTolerationSeconds"

    def mutate(self, review: Review) -> None:
        if review.resource != "pods" or review.info.subresource or review.operation not in ("CREATE", "UPDATE"):
            return
        if review.object is not None:
            add_tolerations(review.object.setdefault("spec", {}))


def add_tolerations(spec: Object) -> None:
    """Add the two that lack. Pure."""
    present = spec.get("tolerations") or []
    missing = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
        for key in (NOT_READY, UNREACHABLE)
        if not any(_covers(toleration, key) for toleration in present)
    ]
    if missing:
        spec["tolerations"] = [*present, *missing]


def _covers(toleration: Object, key: str) -> bool:
    return toleration.get("key", "") in (key, "") and toleration.get("effect", "") in ("NoExecute", "")
