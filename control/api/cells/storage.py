"""Columns of volumes, claims, and of what only holds data."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from control.api.cells.words import UNSET, dig
from control.api.schema import Object
from control.api.storage_classes import is_default

_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"


def _modes(modes: Iterable[str] | None) -> str:
    given = set(modes or ())
    return ",".join(short for mode, short in _MODES.items() if mode in given)


def _volume_capacity(obj: Object, now: datetime) -> str:
    return dig(obj, "spec", "capacity", "storage") or "0"


def _claim_capacity(obj: Object, now: datetime) -> str:
    return (dig(obj, "status", "capacity", "storage") or "0") if dig(obj, "spec", "volumeName") else ""


def _volume_access_modes(obj: Object, now: datetime) -> str:
    return _modes(dig(obj, "spec", "accessModes"))


def _claim_access_modes(obj: Object, now: datetime) -> str:
    return _modes(dig(obj, "status", "accessModes")) if dig(obj, "spec", "volumeName") else ""


def _status(obj: Object, now: datetime) -> str:
    return "Terminating" if dig(obj, "metadata", "deletionTimestamp") else dig(obj, "status", "phase") or ""


def _claim(obj: Object, now: datetime) -> str:
    reference = dig(obj, "spec", "claimRef")
    return f"{reference.get('namespace', '')}/{reference.get('name', '')}" if reference else ""


def _storage_class(obj: Object, now: datetime) -> str:
    annotation = (dig(obj, "metadata", "annotations") or {}).get(_CLASS_ANNOTATION)
    return annotation or dig(obj, "spec", "storageClassName") or ""


def _attributes_class(obj: Object, now: datetime) -> str:
    return dig(obj, "spec", "volumeAttributesClassName") or UNSET


def _volume_mode(obj: Object, now: datetime) -> str:
    return dig(obj, "spec", "volumeMode") or UNSET


def _data_count(obj: Object, now: datetime) -> int:
    return len(obj.get("data") or ()) + len(obj.get("binaryData") or ())


def _secrets_count(obj: Object, now: datetime) -> int:
    return len(obj.get("secrets") or ())


def _class_name(obj: Object, now: datetime) -> str:
    return f"{dig(obj, 'metadata', 'name')}{' (default)' if is_default(obj) else ''}"


def _volume_expansion(obj: Object, now: datetime) -> bool:
    return bool(obj.get("allowVolumeExpansion"))


CELLS: Final = {
    "storage_class_name": _class_name,
    "volume_expansion": _volume_expansion,
    "volume_capacity": _volume_capacity,
    "claim_capacity": _claim_capacity,
    "volume_access_modes": _volume_access_modes,
    "claim_access_modes": _claim_access_modes,
    "volume_status": _status,
    "volume_claim": _claim,
    "storage_class": _storage_class,
    "volume_attributes_class": _attributes_class,
    "volume_mode": _volume_mode,
    "data_count": _data_count,
    "secrets_count": _secrets_count,
}
