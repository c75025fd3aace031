"""DefaultStorageClass: a claim that names no class gets the default one. Pure but for the caches.

A claim that says "" wants none, and keeps it.
"""

from __future__ import annotations

from control.api import meta
from control.api.storage_classes import RESOURCE, default_of
from control.apiserver.request import Caches, Review

_ANNOTATION = "volume.beta.kubernetes.io/storage-class"


class DefaultStorageClass:
    """Sets storageClassName of new claims."""

    name = "DefaultStorageClass"

    def __init__(self, caches: Caches) -> None:
        self._caches = caches

    def mutate(self, review: Review) -> None:
        claim = review.object
        if review.resource != "persistentvolumeclaims" or review.info.subresource or review.operation != "CREATE":
            return
        if claim is None or _ANNOTATION in (claim["metadata"].get("annotations") or {}):
            return
        spec = claim.setdefault("spec", {})
        if spec.get("storageClassName") is None:
            found = default_of(self._caches.list(RESOURCE))
            if found is not None:
                spec["storageClassName"] = meta.name(found)
