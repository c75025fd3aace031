"""Deployment: a ReplicaSet for every pod template it ever had, and pods moved from the old ones to the newest.

Invariants: while rolling, never more than replicas + maxSurge pods exist and never fewer than replicas - maxUnavailable
are available by what was observed; a paused deployment scales but does not roll. The parts: deployment_sets (which
it has, and changes to them), deployment_revisions (new sets, revisions, history), deployment_rollout (recreate,
rolling), deployment_scale (proportional), deployment_status. Source: "Deployments" in Kubernetes' documentation.
"""

from __future__ import annotations

from datetime import datetime

from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.controllers.reconcilers.deployment.revisions import clean_up, make_new_set, number_revisions
from control.controllers.reconcilers.deployment.rollout import recreate, roll
from control.controllers.reconcilers.deployment.scale import is_scaling, scale
from control.controllers.reconcilers.deployment.sets import RESOURCE, SETS, Rollout
from control.controllers.reconcilers.deployment.status import report
from control.controllers.values.actions import NOTHING, Decision, Event, Key, Plan, UpdateStatus
from control.controllers.values.objects import cause, generation_of, is_deleting, spec_of, status_of, with_status
from control.controllers.values.observed import Observed
from control.controllers.values.ownership import claim


def reconcile(key: Key, observed: Observed, now: datetime) -> Decision:
    """One step of whatever the deployment needs: a new set, a scaled set, fewer old sets, its status."""
    deployment = observed.get(RESOURCE, key.namespace, key.name)
    if deployment is None:
        return NOTHING
    selector = label_selector_of(spec_of(deployment).get("selector"))
    if selector.everything:
        return _selects_everything(deployment)
    claimed = claim(observed, RESOURCE, deployment, SETS, selector)
    if claimed.reads:
        return Decision(reads=claimed.reads)
    rollout = Rollout.of(deployment, claimed.owned)
    plan = Plan(list(claimed.actions))
    if not is_deleting(deployment):
        _advance(plan, observed, rollout)
    report(plan, rollout, observed.failure, now)
    return plan.decision()


def _advance(plan: Plan, observed: Observed, rollout: Rollout) -> None:
    if rollout.paused or is_scaling(rollout):
        number_revisions(plan, rollout)
        scale(rollout)
    elif not rollout.recreates or recreate(observed, rollout):
        if rollout.new is None:
            make_new_set(plan, observed, rollout)
            return
        number_revisions(plan, rollout)
        roll(rollout, rollout.new)
    plan.actions += rollout.changes()
    if rollout.paused or rollout.complete:
        clean_up(plan, rollout)


def _selects_everything(deployment: Object) -> Decision:
    text = "This deployment is selecting all pods. A non-empty selector is required."
    events = (Event(deployment, "SelectingAll", text, "Warning"),)
    status = status_of(deployment)
    if status.get("observedGeneration", 0) >= generation_of(deployment):
        return Decision(events=events)
    seen = with_status(deployment, {**status, "observedGeneration": generation_of(deployment)})
    return Decision((UpdateStatus(RESOURCE, seen, cause(RESOURCE, deployment, "status: selects all pods")),), events)
