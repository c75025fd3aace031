"""LimitRanger: what a namespace's LimitRanges say of containers, pods and claims: defaults first, then bounds. Pure.

Source: "Limit Ranges" of the Kubernetes documentation; the wording of the refusals is Kubernetes'.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from control.api import meta
from control.api.pod_resources import Amounts, amounts, container_amounts, limits, requests
from control.api.quantity import Quantity
from control.api.schema import Object
from control.api.status import forbidden
from control.apiserver.admission.pods import containers, created_pod
from control.apiserver.request import Caches, Review

_ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger:
    """Reads LimitRanges from the cache."""

    name = "LimitRanger"

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    def mutate(self, review: Review) -> None:
        """Defaults for containers that say nothing."""
        pod = created_pod(review)
        if pod is None:
            return
        said = [text for found in self._ranges(review) for text in add_defaults(pod, found)]
        if said:
            meta.set_annotation(pod, _ANNOTATION, f"LimitRanger plugin set: {'; '.join(said)}")

    def validate(self, review: Review) -> None:
        """StatusError 403 that names every bound that does not hold."""
        if review.object is None or review.info.subresource or review.operation not in ("CREATE", "UPDATE"):
            return
        if review.resource == "pods" and review.operation == "UPDATE":
            return  # a pod's resources do not change
        check = {"pods": pod_errors, "persistentvolumeclaims": claim_errors}.get(review.resource)
        if check is None:
            return
        errors = [error for found in self._ranges(review) for error in check(review.object, found)]
        if errors:
            why = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
            raise forbidden(review.resource, meta.name(review.object), why)

    def _ranges(self, review: Review) -> Iterable[Object]:
        return sorted(self._caches.list("limitranges", review.info.namespace), key=meta.name)


def add_defaults(pod: Object, limit_range: Object) -> Iterator[str]:
    """Fill in what containers do not say. Yields what was set, for the annotation."""
    default, default_request = _defaults(limit_range)
    for path, container in containers(pod):
        resources = container.get("resources") or {}
        own_limits = resources.get("limits") or {}
        new_limits = {**default, **own_limits}
        new_requests = {**default_request, **(resources.get("requests") or {})}
        kind = "init container" if path.startswith("spec.init") else "container"
        for field, before, after in (
            ("request", resources.get("requests") or {}, new_requests),
            ("limit", own_limits, new_limits),
        ):
            names = sorted(set(after) - set(before))
            if names:
                yield f"{', '.join(names)} {field} for {kind} {container.get('name')}"
                container["resources"] = {**(container.get("resources") or {}), f"{field}s": after}


def _defaults(limit_range: Object) -> tuple[Object, Object]:
    default: Object = {}
    default_request: Object = {}
    for item in _items(limit_range, "Container"):
        default |= item.get("default") or {}
        default_request |= item.get("defaultRequest") or {}
    return default, default_request


def pod_errors(pod: Object, limit_range: Object) -> Iterator[str]:
    """The bounds of one LimitRange that a pod or one of its containers breaks."""
    for item in _items(limit_range, "Container"):
        for _, container in containers(pod):
            yield from _bounds(
                item, "Container", container_amounts(container, "requests"), container_amounts(container, "limits")
            )
    for item in _items(limit_range, "Pod"):
        yield from _bounds(item, "Pod", requests(pod), limits(pod))


def claim_errors(claim: Object, limit_range: Object) -> Iterator[str]:
    """The bounds of one LimitRange that a PersistentVolumeClaim breaks."""
    asked = amounts(((claim.get("spec") or {}).get("resources") or {}).get("requests"))
    for item in _items(limit_range, "PersistentVolumeClaim"):
        yield from _minimum(item, "PersistentVolumeClaim", asked, {})
        for name, bound in amounts(item.get("max")).items():
            if name in asked and asked[name] > bound:
                yield f"maximum {name} usage per PersistentVolumeClaim is {bound}, but request is {asked[name]}"


def _bounds(item: Object, kind: str, asked: Amounts, limited: Amounts) -> Iterator[str]:
    yield from _minimum(item, kind, asked, limited)
    yield from _maximum(item, kind, asked, limited)
    yield from _ratio(item, kind, asked, limited)


def _minimum(item: Object, kind: str, asked: Amounts, limited: Amounts) -> Iterator[str]:
    for name, bound in amounts(item.get("min")).items():
        says = f"minimum {name} usage per {kind} is {bound}"
        if name not in asked:
            yield f"{says}.  No request is specified"
        elif asked[name] < bound:
            yield f"{says}, but request is {asked[name]}"
        elif name in limited and limited[name] < bound:
            yield f"{says}, but limit is {limited[name]}"


def _maximum(item: Object, kind: str, asked: Amounts, limited: Amounts) -> Iterator[str]:
    for name, bound in amounts(item.get("max")).items():
        says = f"maximum {name} usage per {kind} is {bound}"
        if name not in limited:
            yield f"{says}.  No limit is specified"
        elif limited[name] > bound:
            yield f"{says}, but limit is {limited[name]}"
        elif name in asked and asked[name] > bound:
            yield f"{says}, but request is {asked[name]}"


def _ratio(item: Object, kind: str, asked: Amounts, limited: Amounts) -> Iterator[str]:
    for name, bound in amounts(item.get("maxLimitRequestRatio")).items():
        says = f"{name} max limit to request ratio per {kind} is {bound}"
        if not asked.get(name):
            yield f"{says}, but no request is specified or request is 0"
        elif not limited.get(name):
            yield f"{says}, but no limit is specified or limit is 0"
        elif _exceeds(limited[name], asked[name], bound):
            yield f"{says}, but provided ratio is {limited[name].nanos / asked[name].nanos:f}"


def _exceeds(limit: Quantity, request: Quantity, ratio: Quantity) -> bool:
    return limit.nanos * Quantity.of(1).nanos > request.nanos * ratio.nanos


def _items(limit_range: Mapping[str, Object], kind: str) -> list[Object]:
    return [item for item in (limit_range.get("spec") or {}).get("limits") or () if item.get("type") == kind]
