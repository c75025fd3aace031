"""Which webhooks a write is shown to: pure. Source: "Dynamic Admission Control" (matching requests)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from control.api import meta
from control.api.kind import Kind
from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.apiserver.admission.namespace_lifecycle import namespace_of
from control.apiserver.request import Caches, Review

VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
# A webhook must not be able to keep people from removing it; and questions are no writes.
_NEVER = frozenset({"admissionregistration.k8s.io", "authentication.k8s.io", "authorization.k8s.io"})


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook of one configuration. as_kind: the version of the object that its rules ask for."""

    configuration: str
    webhook: Object
    as_kind: Kind

    @property
    def name(self) -> str:
        return str(self.webhook.get("name") or "")

    @property
    def fails_closed(self) -> bool:
        return self.webhook.get("failurePolicy") != "Ignore"

    @property
    def seconds(self) -> int:
        return int(self.webhook.get("timeoutSeconds") or 10)


def hooks_for(review: Review, resource: str, caches: Caches) -> Iterator[Hook]:
    """The webhooks of VALIDATING or MUTATING that want to see the write, in the order of their configurations' names.

    Each is matched when it is asked for: the ones before it may have changed the object.
    """
    if review.kind.group in _NEVER:
        return
    others = [kind for kind in caches.forms(review.kind) if kind.api_version != review.kind.api_version]
    for configuration in sorted(caches.list(resource), key=meta.name):
        for webhook in configuration.get("webhooks") or ():
            kind = _matched_kind(webhook, review, others)
            if kind is not None and selected(webhook, review, caches):
                yield Hook(meta.name(configuration), webhook, kind)


def _matched_kind(webhook: Object, review: Review, others: Sequence[Kind]) -> Kind | None:
    rules = webhook.get("rules") or ()
    if any(matches(rule, review, review.kind) for rule in rules):
        return review.kind
    if webhook.get("matchPolicy") == "Exact":
        return None
    return next((kind for kind in others if any(matches(rule, review, kind) for rule in rules)), None)


def matches(rule: Object, review: Review, kind: Kind) -> bool:
    """Whether one rule names the write of an object of that kind."""
    return (
        _names(rule.get("operations"), review.operation)
        and _names(rule.get("apiGroups"), kind.group)
        and _names(rule.get("apiVersions"), kind.version)
        and any(resource_matches(name, kind.plural, review.info.subresource) for name in rule.get("resources") or ())
        and rule.get("scope", "*") in ("*", "Namespaced" if kind.namespaced else "Cluster")
    )


def resource_matches(pattern: str, plural: str, subresource: str) -> bool:
    """ "pods", "*" (all, without subresources), "pods/*", "*/status", "*/*" (all)."""
    name, slash, below = pattern.partition("/")
    if name not in ("*", plural):
        return False
    return below in ("*", subresource) if slash else not subresource


def _names(values: list[str] | None, value: str) -> bool:
    return "*" in (values or ()) or value in (values or ())


def selected(webhook: Object, review: Review, caches: Caches) -> bool:
    """Whether its selectors choose the object as it is now, and its namespace. Options of a connect are no object with
    labels, not even with none, so no objectSelector chooses them."""
    objects = [obj for obj in (review.object, review.old) if obj is not None and review.operation != "CONNECT"]
    if not _any_selected(webhook.get("objectSelector"), objects):
        return False
    if review.resource == "namespaces":
        return _any_selected(webhook.get("namespaceSelector"), objects)
    if not review.info.namespace:
        return True
    return _any_selected(webhook.get("namespaceSelector"), [namespace_of(review, caches)])


def _any_selected(selector: Object | None, objects: list[Object]) -> bool:
    if not selector:
        return True
    parsed = label_selector_of(selector)
    return any(parsed.matches(meta.labels(obj)) for obj in objects)
