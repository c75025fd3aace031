"""ResourceQuota: a write that would use more than the namespace may is refused; one that fits is reserved first.

Source: "Resource Quotas" of the Kubernetes documentation; the wording of the refusals is Kubernetes'.
"""

from __future__ import annotations

from dataclasses import dataclass

from control.api import meta
from control.api import quota as quotas
from control.api.pod_resources import Amounts, amounts
from control.api.quantity import ZERO
from control.api.schema import Object
from control.api.status import forbidden
from control.apiserver.admission.quota_ledger import RESOURCE, QuotaLedger, settle
from control.apiserver.request import Caches, Objects, Review

Held = list[tuple[tuple[str, str], Amounts]]
# An update of other kinds changes nothing that is counted.
_UPDATABLE = frozenset({"pods", "services", "persistentvolumeclaims"})


class ResourceQuota:
    """Last of all plugins: after it only the store may refuse."""

    name = "ResourceQuota"

    def __init__(self, caches: Caches, objects: Objects) -> None:
        self._caches = caches
        self._ledger = QuotaLedger(caches, objects)

    async def validate(self, review: Review) -> None:
        """StatusError 403; those of the store."""
        if review.object is None or review.info.subresource or not review.info.namespace:
            return
        if review.operation == "UPDATE" and review.resource not in _UPDATABLE:
            return
        found = sorted(self._caches.list(RESOURCE, review.info.namespace), key=meta.name)
        if any(isinstance(callback, _GiveBack) for callback in review.after_failure):
            return  # a second try under another generated name
        held: Held = []
        try:
            for quota, delta in concerned(review, found):
                await self._reserve(review, quota, delta)
                held.append((meta.key(quota), delta))
        except BaseException:
            self.give_back(review, held)
            raise
        if held and not review.dry_run:
            review.after_failure.append(_GiveBack(self, review, held))

    async def _reserve(self, review: Review, quota: Object, delta: Amounts) -> None:
        if review.dry_run:
            _, [why] = settle(quota, [delta], lambda _: {})
        else:
            why = await self._ledger.reserve(meta.key(quota), delta)
        if why:
            raise forbidden(review.resource, meta.name(review.object or {}), why)

    def give_back(self, review: Review, held: Held) -> None:
        """Take reservations back."""
        if not review.dry_run:
            for key, delta in held:
                self._ledger.give_back(key, delta)


@dataclass(frozen=True, slots=True)
class _GiveBack:
    """What is to be done when the write does not happen."""

    plugin: ResourceQuota
    review: Review
    held: Held

    def __call__(self) -> None:
        self.plugin.give_back(self.review, self.held)


def concerned(review: Review, found: list[Object]) -> list[tuple[Object, Amounts]]:
    """The quotas that the write changes, with by how much. StatusError 403: a pod does not say what it takes."""
    new = review.object or {}
    result = []
    for quota in found:
        if review.operation == "CREATE" and review.resource == "pods" and quotas.concerns(quota, "pods", new):
            _require_requests(quota, new)
        delta = _delta(quota, review.resource, review.old if review.operation == "UPDATE" else None, new)
        if delta:
            result.append((quota, delta))
    return result


def _delta(quota: Object, resource: str, old: Object | None, new: Object) -> Amounts:
    hard = amounts((quota.get("spec") or {}).get("hard"))
    after = quotas.usage(resource, new) if quotas.concerns(quota, resource, new) else {}
    before = quotas.usage(resource, old) if old is not None and quotas.concerns(quota, resource, old) else {}
    changes = {name: after.get(name, ZERO) - before.get(name, ZERO) for name in hard}
    return {name: amount for name, amount in changes.items() if amount}


def _require_requests(quota: Object, pod: Object) -> None:
    missing = quotas.missing_requests(quota, pod)
    if missing:
        listed = "; ".join(f"{name} for: {','.join(missing[name])}" for name in sorted(missing))
        raise forbidden("pods", meta.name(pod), f"failed quota: {meta.name(quota)}: must specify {listed}")
