"""What a pending pod is told: how many nodes failed which filter, in kube-scheduler's words."""

from __future__ import annotations

from control.scheduler.cycle import Diagnosis

NO_NODES = "no nodes available to schedule pods"


def unschedulable(diagnosis: Diagnosis, preemption: str = "") -> str:
    """The message of the event and of the PodScheduled condition. preemption: why it did not help either."""
    if not diagnosis.nodes:
        return NO_NODES
    why = diagnosis.refusal or _counted(diagnosis.reasons)
    text = f"0/{diagnosis.nodes} nodes are available: {why}."
    return f"{text} preemption: {preemption}" if preemption else text


def no_preemption(nodes: int, hopeless: int, without_victims: int) -> str:
    """Why nobody could be preempted: nodes where it would not help, and nodes where nobody may be."""
    reasons = {
        "No preemption victims found for incoming pod": without_victims,
        "Preemption is not helpful for scheduling": hopeless,
    }
    return f"0/{nodes} nodes are available: {_counted({r: n for r, n in reasons.items() if n})}."


NOT_ELIGIBLE = "not eligible due to preemptionPolicy=Never."
STILL_LEAVING = "not eligible due to a terminating pod on the nominated node."


def _counted(reasons: dict[str, int]) -> str:
    return ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
