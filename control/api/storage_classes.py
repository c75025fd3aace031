"""Which storage class a claim gets that names none. Pure. Source: "Storage Classes: Default StorageClass"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from control.api import meta
from control.api.schema import Object

RESOURCE: Final = "storageclasses.storage.k8s.io"
# The second one is what it was called before.
_DEFAULT: Final = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def is_default(storage_class: Object) -> bool:
    """Whether it is marked as the one for claims that name none."""
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in _DEFAULT)


def default_of(classes: Iterable[Object]) -> Object | None:
    """Of several defaults the newest; of those of one second, the first by name."""
    marked = sorted((each for each in classes if is_default(each)), key=meta.name)
    return max(marked, key=lambda each: str(each["metadata"].get("creationTimestamp", "")), default=None)
