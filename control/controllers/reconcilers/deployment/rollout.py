"""The two strategies: take all old pods away and then start new ones, or exchange them a few at a time.

Invariants of rolling: never more than replicas + maxSurge pods exist, those still to be deleted included; old sets
shrink only by as many pods as are available above replicas - maxUnavailable, those that are not available first.
Source: "Deployments: Strategy" in Kubernetes' documentation.
"""

from __future__ import annotations

from control.api.schema import Object
from control.controllers.reconcilers.deployment.revisions import first_size
from control.controllers.reconcilers.deployment.sets import Rollout, available
from control.controllers.values.objects import uid_of
from control.controllers.values.observed import Observed
from control.controllers.values.pods import is_finished


def recreate(observed: Observed, rollout: Rollout) -> bool:
    """Take the old sets down; whether all their pods have ended, so that the new set may start."""
    if rollout.total(rollout.old):
        for rs in rollout.old:
            rollout.resize(rs, 0, "recreate")
        return False
    return not any(not is_finished(pod) for rs in rollout.old for pod in observed.controlled("pods", uid_of(rs)))


def roll(rollout: Rollout, new: Object) -> None:
    """Grow the new set as far as surge allows; if it need not grow, shrink the old ones as availability allows."""
    if not _grow(rollout, new) and rollout.total(rollout.old):
        _shrink(rollout, new)


def _grow(rollout: Rollout, new: Object) -> bool:
    size = rollout.size(new)
    wanted = first_size(rollout) if rollout.recreates else _new_size(rollout, size)
    if wanted == size:
        rollout.note(new, rollout.sizes())
        return False
    rollout.resize(new, wanted, "rolling update" if rollout.old else "replicas")
    return True


def _new_size(rollout: Rollout, size: int) -> int:
    if size > rollout.replicas:
        return rollout.replicas
    return size + min(rollout.room(), rollout.replicas - size)


def _shrink(rollout: Rollout, new: Object) -> None:
    least = rollout.replicas - rollout.unavailable
    new_unavailable = max(0, rollout.size(new) - available(new))
    allowed = rollout.total(rollout.sets) - least - new_unavailable
    if allowed > 0:
        _drop_unhealthy(rollout, allowed)
        _drop_available(rollout, least)


def _drop_unhealthy(rollout: Rollout, allowed: int) -> None:
    """Pods of old sets that are not available are no loss."""
    for rs in rollout.old:
        count = min(allowed, rollout.size(rs) - available(rs))
        if count > 0:
            rollout.resize(rs, rollout.size(rs) - count, "rolling update: not available")
            allowed -= count


def _drop_available(rollout: Rollout, least: int) -> None:
    spare = sum(map(available, rollout.sets)) - least
    for rs in rollout.old:
        count = min(spare, rollout.size(rs))
        if count > 0:
            rollout.resize(rs, rollout.size(rs) - count, "rolling update")
            spare -= count
