"""POST of an Eviction: delete a pod unless its disruption budget says no.

The budget's allowance is taken down in the store before the pod goes, by compare and set, so that two evictions at once
never share one allowance. Source: "API-initiated Eviction" and "Specifying a Disruption Budget" in the Kubernetes
documentation; messages as kube-apiserver's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from control.api import meta
from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.api.status import Cause, StatusError, disruption_budget, forbidden, internal_error, success
from control.api.status import too_many_requests as too_many
from control.apiserver.answer import Answer, json_answer
from control.apiserver.bodies import checked, note, read_value
from control.apiserver.call import Call, is_dry_run
from control.apiserver.conditions import fence_lost, fence_of
from control.apiserver.deletion import delete_object, wish_of
from control.apiserver.handlers.get import find
from control.apiserver.objects import StoredObjects
from control.apiserver.request import Review
from control.apiserver.storage import Fenced

BUDGETS: Final = "poddisruptionbudgets.policy"
_VIOLATED: Final = "Cannot evict pod as it would violate the pod's disruption budget."
_MOST_DISRUPTED: Final = 2000
_UNCHECKED_PHASES: Final = frozenset({"Succeeded", "Failed", "Pending"})


async def create(call: Call) -> Answer:
    """A Status, 201. StatusError 429: not now; 404: there is no such pod."""
    value, duplicates = await read_value(call)
    version = value.get("apiVersion") if isinstance(value, dict) else None
    name = str(version) if version in ("policy/v1", "policy/v1beta1") else "policy/v1"
    kind = call.server.resources.catalogue.by_kind(name, "Eviction")
    assert kind is not None
    body = checked(call, kind, value, duplicates, name, "Eviction")
    note(call, body)
    options = body.get("deleteOptions") or {}
    wish = wish_of(call, options)
    dry_run = wish.dry_run or is_dry_run(options.get("dryRun") or [])
    review = Review(call.user, call.info, call.of, "CREATE", body, dry_run=dry_run, warnings=call.warnings)
    await call.server.security.admission.mutate(review)
    await call.server.security.admission.validate(review)
    pod = (await find(call, call.namespace, call.info.name)).object()
    await _check_budget(call, pod, dry_run)
    await delete_object(call, call.namespace, call.info.name, wish)
    return json_answer(success(), 201)


async def _check_budget(call: Call, pod: Object, dry_run: bool) -> None:
    """Take one disruption from the pod's budget. StatusError 429, 403, 500; 409: the writer leads no more."""
    status = pod.get("status") or {}
    if meta.is_deleting(pod) or status.get("phase") in _UNCHECKED_PHASES:
        return
    budgets = [budget for budget in await _budgets(call) if _covers(budget, pod)]
    if not budgets:
        return
    if len(budgets) > 1:
        raise internal_error(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    if not _ready(pod) and _may_go_unready(budgets[0]):
        return
    name = budgets[0]["metadata"]["name"]

    def take(budget: Object) -> Object | None:
        _take(budget, meta.name(pod))
        return None if dry_run else budget

    try:
        await StoredObjects(call.server).update(BUDGETS, call.namespace, name, take, fence=fence_of(call))
    except Fenced:
        raise fence_lost(call, call.of, meta.name(pod)) from None


async def _budgets(call: Call) -> list[Object]:
    resources = call.server.resources
    await resources.feed.confirm()
    cache = await resources.loaded(resources.catalogue.stored(resources.catalogue[BUDGETS]))
    return [cached.object() for cached in cache.snapshot(call.namespace)]


def _covers(budget: Object, pod: Object) -> bool:
    try:
        return label_selector_of((budget.get("spec") or {}).get("selector")).matches(meta.labels(pod))
    except StatusError:
        return False


def _ready(pod: Object) -> bool:
    return meta.is_true(pod, "Ready")


def _may_go_unready(budget: Object) -> bool:
    """Whether the budget lets pods go that are not ready anyway."""
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    status = budget.get("status") or {}
    desired = int(status.get("desiredHealthy") or 0)
    return desired > 0 and int(status.get("currentHealthy") or 0) >= desired


def _take(budget: Object, pod: str) -> None:
    """One disruption less, and the pod noted as disrupted. StatusError 429, 403."""
    status, name = budget.setdefault("status", {}), meta.name(budget)
    if int(status.get("observedGeneration") or 0) < meta.generation(budget):
        why = f"The disruption budget {name} is still being processed by the server."
        raise too_many(_VIOLATED, 10, [Cause("DisruptionBudget", why)])
    allowed = int(status.get("disruptionsAllowed") or 0)
    if allowed < 0:
        raise forbidden(BUDGETS, name, "pdb disruptions allowed is negative")
    disrupted = status.setdefault("disruptedPods", {})
    if len(disrupted) > _MOST_DISRUPTED:
        raise forbidden(BUDGETS, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        needs, has = int(status.get("desiredHealthy") or 0), int(status.get("currentHealthy") or 0)
        why = f"The disruption budget {name} needs {needs} healthy pods and has {has} currently"
        raise disruption_budget(_VIOLATED, why)
    status["disruptionsAllowed"] = allowed - 1
    disrupted[pod] = meta.timestamp(datetime.now(UTC))
