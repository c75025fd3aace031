"""StorageObjectInUseProtection: claims and volumes are made with a finalizer, so that none goes while it is in use.

Controllers take it off (`controllers/reconcilers/volumeprotection.py`).
"""

from __future__ import annotations

from control.api import meta
from control.api.volume_protection import PROTECTION
from control.apiserver.request import Review


class StorageObjectInUseProtection:
    """Gives new claims and volumes their finalizers."""

    name = "StorageObjectInUseProtection"

    def mutate(self, review: Review) -> None:
        finalizer, made = PROTECTION.get(review.resource), review.object
        if finalizer is None or review.info.subresource or review.operation != "CREATE" or made is None:
            return
        if finalizer not in meta.finalizers(made):
            made["metadata"]["finalizers"] = [*meta.finalizers(made), finalizer]
