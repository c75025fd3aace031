"""TaintNodesByCondition: a new node takes no pods before it has said that it is ready. Pure."""

from __future__ import annotations

from control.apiserver.admission.default_tolerations import NOT_READY
from control.apiserver.request import Review


class TaintNodesByCondition:
    """The node lifecycle controller removes the taint when the node is ready."""

    name = "TaintNodesByCondition"

    def mutate(self, review: Review) -> None:
        if review.resource != "nodes" or review.info.subresource or review.operation != "CREATE":
            return
        if review.object is None:
            return
        spec = review.object.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
            spec["taints"] = [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]
