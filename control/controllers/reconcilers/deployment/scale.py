"""Another number of replicas, also in the middle of a rollout: then every set gets its share.

Invariant: after scaling, the sizes add up to replicas + maxSurge at most. Source: "Deployments: Proportional scaling".
"""

from __future__ import annotations

from control.api.schema import Object
from control.controllers.reconcilers.deployment.sets import DESIRED, MOST, Rollout, number_in
from control.controllers.values.objects import created_at, name_of, status_of

_RULE = "scale"


def is_scaling(rollout: Rollout) -> bool:
    """Whether spec.replicas changed since the sets got their sizes."""
    noted = [number_in(rs, DESIRED) for rs in rollout.active]
    return any(desired is not None and desired != rollout.replicas for desired in noted)


def scale(rollout: Rollout) -> None:
    """Give the sets the sizes that the deployment's replicas mean now."""
    only = _only_one(rollout)
    if only is not None:
        rollout.resize(only, rollout.replicas, _RULE)
    elif _is_saturated(rollout):
        for rs in rollout.old:
            if rollout.size(rs):
                rollout.resize(rs, 0, _RULE)
    else:
        _in_proportion(rollout)


def _only_one(rollout: Rollout) -> Object | None:
    """The one set that has pods; without any, the new or the latest; None when several have."""
    active = rollout.active
    if len(active) > 1:
        return None
    if active:
        return active[0]
    return rollout.new or (rollout.old[-1] if rollout.old else None)


def _is_saturated(rollout: Rollout) -> bool:
    rs = rollout.new
    if rs is None:
        return False
    counts = (rollout.size(rs), number_in(rs, DESIRED), status_of(rs).get("availableReplicas", 0))
    return all(count == rollout.replicas for count in counts)


def _in_proportion(rollout: Rollout) -> None:
    allowed = rollout.replicas + rollout.surge if rollout.replicas else 0
    missing = allowed - rollout.total(rollout.active)
    sizes = _shares(rollout, missing)
    for rs, size in sizes:
        rollout.resize(rs, size, _RULE)


def _shares(rollout: Rollout, missing: int) -> list[tuple[Object, int]]:
    """New sizes; what rounding leaves over goes to the biggest set (of equals the newest grows, the oldest shrinks)."""
    newest_first = -1.0 if missing > 0 else 1.0
    ordered = sorted(
        rollout.active,
        key=lambda rs: (-rollout.size(rs), newest_first * created_at(rs).timestamp(), name_of(rs)),
    )
    given, sizes = 0, []
    for rs in ordered:
        share = _share(rollout, rs, missing - given) if missing else 0
        given += share
        sizes.append(rollout.size(rs) + share)
    if sizes and missing:
        sizes[0] = max(0, sizes[0] + missing - given)
    return list(zip(ordered, sizes, strict=True))


def _share(rollout: Rollout, rs: Object, left: int) -> int:
    """How many of the missing pods a set gets: as its size is to what the deployment was allowed before."""
    size = rollout.size(rs)
    if rollout.replicas == 0:
        return max(-size, left)
    before = number_in(rs, MOST) or int(status_of(rollout.deployment).get("replicas") or 0)
    if before <= 0:
        return 0
    share = round(size * (rollout.replicas + rollout.surge) / before) - size
    return min(share, left) if left > 0 else max(share, left)
