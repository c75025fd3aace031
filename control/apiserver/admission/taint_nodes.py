"""TaintNodesByCondition: a new node takes no pods before it has said that it is ready; and since when a node evicts.

A NoExecute taint gets the time it was added at, unless it says one: pods that tolerate it for a while count from there,
whoever leads the controllers, and a client that writes the list again without times postpones nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from control.api.meta import timestamp
from control.api.schema import Object
from control.apiserver.admission.default_tolerations import NOT_READY
from control.apiserver.request import Review

_ADDED: Final = "timeAdded"


class TaintNodesByCondition:
    """The node lifecycle controller removes the taint when the node is ready. now: the clock."""

    name = "TaintNodesByCondition"

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now

    def mutate(self, review: Review) -> None:
        if review.resource != "nodes" or review.info.subresource or review.object is None:
            return
        spec = review.object.setdefault("spec", {})
        before = ((review.old or {}).get("spec") or {}).get("taints") or []
        if review.operation == "CREATE":
            spec["taints"] = _with_not_ready(spec.get("taints") or [])
        if spec.get("taints") and spec["taints"] != before:
            spec["taints"] = _dated(spec["taints"], before, timestamp(self._now()))


def _with_not_ready(taints: list[Object]) -> list[Object]:
    if any(taint.get("key") == NOT_READY and taint.get("effect") == "NoSchedule" for taint in taints):
        return taints
    return [*taints, {"key": NOT_READY, "effect": "NoSchedule"}]


def _dated(taints: Sequence[Object], before: Sequence[Object], now: str) -> list[Object]:
    known = {_what(taint): taint[_ADDED] for taint in before if taint.get(_ADDED)}
    return [
        {**taint, _ADDED: known.get(_what(taint), now)}
        if taint.get("effect") == "NoExecute" and not taint.get(_ADDED)
        else taint
        for taint in taints
    ]


def _what(taint: Object) -> tuple[str, str, str]:
    return taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
