"""OwnerReferencesPermissionEnforcement: who hangs an object on an owner must be allowed to delete it, and who lets it
block the owner's deletion must be allowed to set finalizers of the owner. Off by default, as in Kubernetes. Pure.
"""

from __future__ import annotations

from control.api import meta
from control.api.catalogue import BUILTIN
from control.api.schema import Object
from control.api.status import StatusError, forbidden
from control.apiserver.request import Attributes, Authorizer, Review

_NO_BLOCK = "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"


class OwnerReferencesPermissionEnforcement:
    """Asks the authorizer."""

    name = "OwnerReferencesPermissionEnforcement"

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def validate(self, review: Review) -> None:
        """StatusError 403."""
        if review.object is None or review.operation not in ("CREATE", "UPDATE"):
            return
        before, after = meta.owner_references(review.old or {}), meta.owner_references(review.object)
        if before == after:
            return
        if review.operation == "UPDATE" and not self._may_delete(review):
            raise _refusal(review, "cannot set an ownerRef on a resource you can't delete")
        for owner in after:
            if owner.get("blockOwnerDeletion") and owner not in before and not self._may_block(review, owner):
                raise _refusal(review, _NO_BLOCK)

    def _may_delete(self, review: Review) -> bool:
        info = review.info
        asked = Attributes("delete", info.group, info.version, info.resource, namespace=info.namespace, name=info.name)
        return self._authorizer.authorize(review.user, asked).allowed

    def _may_block(self, review: Review, owner: Object) -> bool:
        kind = BUILTIN.by_kind(str(owner.get("apiVersion")), str(owner.get("kind")))
        if kind is None:
            group, _, version = str(owner.get("apiVersion")).rpartition("/")
            asked = Attributes("update", group, version, "*", "finalizers", review.info.namespace)
        else:
            namespace = review.info.namespace if kind.namespaced else ""
            name = str(owner.get("name"))
            asked = Attributes("update", kind.group, kind.version, kind.plural, "finalizers", namespace, name)
        return self._authorizer.authorize(review.user, asked).allowed


def _refusal(review: Review, why: str) -> StatusError:
    return forbidden(review.resource, meta.name(review.object or {}), why)
