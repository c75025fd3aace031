"""NamespaceLifecycle: nothing is created in a namespace that is not there or is going, and some never go."""

from __future__ import annotations

from control.api import meta
from control.api.schema import Object
from control.api.status import Cause, StatusError, forbidden
from control.apiserver.request import Caches, Objects, Review

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
# Questions, which create nothing.
_EXEMPT = frozenset({"localsubjectaccessreviews.authorization.k8s.io"})


class NamespaceLifecycle:
    """The cache answers; what it does not know is looked up in the store, so that a new namespace is known at once."""

    name = "NamespaceLifecycle"

    def __init__(self, caches: Caches, objects: Objects) -> None:
        self._caches = caches
        self._objects = objects

    async def validate(self, review: Review) -> None:
        """StatusError 404 or 403."""
        if review.resource == "namespaces":
            name = review.info.name or meta.name(review.old or {})
            if review.operation == "DELETE" and name in IMMORTAL:
                raise forbidden("namespaces", name, "this namespace may not be deleted")
            return
        if not review.info.namespace or not review.kind.namespaced or review.resource in _EXEMPT:
            return
        found = await self._find(review)
        if review.operation == "CREATE" and is_terminating(found) and review.info.subresource in ("", "token"):
            raise _terminating(review, review.info.namespace)

    async def _find(self, review: Review) -> Object:
        """The namespace; noted in the review when only the store knows it, so that its labels count at once."""
        name = review.info.namespace
        found = self._caches.get("namespaces", "", name) or review.place
        if found is None:
            try:
                found = review.place = await self._objects.get("namespaces", "", name)
            except StatusError as problem:
                if problem.code != 404 or review.operation == "CREATE":
                    raise
                return {}  # what is left in a namespace that is gone may still be changed and removed
        return found

    async def mutate(self, review: Review) -> None:
        """The same, before anybody works for nothing."""
        await self.validate(review)


def namespace_of(review: Review, caches: Caches) -> Object:
    """The namespace that the write is in; {} for cluster-scoped objects. Pure."""
    name = review.info.namespace
    return (caches.get("namespaces", "", name) or review.place or {}) if name else {}


def is_terminating(namespace: Object) -> bool:
    """Whether a namespace is going. Pure."""
    return meta.is_deleting(namespace) or (namespace.get("status") or {}).get("phase") == "Terminating"


def _terminating(review: Review, namespace: str) -> StatusError:
    name = meta.name(review.object or {})
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    refusal = forbidden(review.resource, name, why)
    cause = Cause("NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace")
    refusal.details["causes"] = [cause.to_object()]
    return refusal
