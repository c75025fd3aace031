"""Reading and writing what all objects have: names, owners, labels, finalizers, conditions, times.

Functions read a missing field as its empty value and never create fields as they read. Times are RFC 3339 in UTC;
clocks and chance come in as arguments (`now` is an aware datetime; entropy is bytes).
(No future annotations here: their import would be a second meaning of the name `annotations`.)

Source: "Object metadata" and "Typical status properties" of Kubernetes' API conventions.
"""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

Object = dict[str, Any]

_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
UID_BYTES: Final = 16
# What is fixed in a UUID's 128 bits: the version and the variant, and their values in one of chance.
_UUID_FIXED: Final = 0xF << 76 | 0x3 << 62
_UUID_4: Final = 0x4 << 76 | 0x2 << 62


def metadata(obj: Mapping[str, Any]) -> Object:
    """The object's metadata; an empty dict of its own when there is none."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def name(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("name") or "")


def namespace(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("namespace") or "")


def key(obj: Mapping[str, Any]) -> tuple[str, str]:
    """(namespace, name), as informers file objects."""
    return namespace(obj), name(obj)


def uid(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("uid") or "")


def resource_version(obj: Mapping[str, Any]) -> str:
    return str(metadata(obj).get("resourceVersion") or "")


def generation(obj: Mapping[str, Any]) -> int:
    return int(metadata(obj).get("generation") or 0)


def labels(obj: Mapping[str, Any]) -> dict[str, str]:
    """The labels, to read; write with set_label."""
    return metadata(obj).get("labels") or {}


def annotations(obj: Mapping[str, Any]) -> dict[str, str]:
    """The annotations, to read; write with set_annotation."""
    return metadata(obj).get("annotations") or {}


def set_label(obj: Object, label: str, value: str | None) -> None:
    """Set a label; None removes it."""
    _set(obj, "labels", label, value)


def set_annotation(obj: Object, annotation: str, value: str | None) -> None:
    """Set an annotation; None removes it."""
    _set(obj, "annotations", annotation, value)


def _set(obj: Object, field: str, entry: str, value: str | None) -> None:
    of = obj.setdefault("metadata", {})
    entries = dict(of.get(field) or {})
    if value is None:
        entries.pop(entry, None)
    else:
        entries[entry] = value
    of[field] = entries
    if not entries:
        del of[field]


def finalizers(obj: Mapping[str, Any]) -> list[str]:
    return list(metadata(obj).get("finalizers") or [])


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether a deletion was asked for: it has a deletionTimestamp."""
    return bool(metadata(obj).get("deletionTimestamp"))


def reference(obj: Mapping[str, Any]) -> Object:
    """An ObjectReference to it, as Events and Endpoints carry."""
    found = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "namespace": namespace(obj),
        "name": name(obj),
        "uid": uid(obj),
        "resourceVersion": resource_version(obj),
    }
    return {field: value for field, value in found.items() if value}


def owner_reference(owner: Mapping[str, Any], *, controller: bool = True) -> Object:
    """An owner reference to that object; controller: it manages the dependent, and its deletion waits for it."""
    of = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner)}
    return {**of, "controller": True, "blockOwnerDeletion": True} if controller else of


def owner_references(obj: Mapping[str, Any]) -> list[Object]:
    return metadata(obj).get("ownerReferences") or []


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The owner reference of the controller that manages the object, if one does."""
    return next((owner for owner in owner_references(obj) if owner.get("controller")), None)


def is_controlled_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    found = controller_of(obj)
    return found is not None and found.get("uid") == uid(owner)


def is_owned_by(obj: Mapping[str, Any], owner_uid: str) -> bool:
    return any(owner.get("uid") == owner_uid for owner in owner_references(obj))


def conditions(obj: Mapping[str, Any]) -> list[Object]:
    """The conditions of its status, to read."""
    return (obj.get("status") or {}).get("conditions") or []


def condition(obj: Mapping[str, Any], kind: str) -> Object | None:
    """The condition of that type, if the status has one."""
    return next((entry for entry in conditions(obj) if entry.get("type") == kind), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether the condition of that type is "True"."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def set_condition(
    present: Iterable[Object],
    kind: str,
    status: str,
    now: datetime,
    *,
    reason: str = "",
    message: str = "",
    **more: Any,
) -> list[Object]:
    """The conditions with one set: lastTransitionTime moves only when the status changes. Gives a new list."""
    entries = [dict(entry) for entry in present]
    entry = next((found for found in entries if found.get("type") == kind), None)
    if entry is None:
        entry = {"type": kind}
        entries.append(entry)
    if entry.get("status") != status or not entry.get("lastTransitionTime"):
        entry["lastTransitionTime"] = timestamp(now)
    entry.update({"status": status, "reason": reason, "message": message, **more})
    for field in ("reason", "message"):
        if not entry[field]:
            del entry[field]
    return entries


def without_condition(present: Iterable[Object], kind: str) -> list[Object]:
    return [entry for entry in present if entry.get("type") != kind]


def timestamp(now: datetime) -> str:
    """As "2026-01-02T03:04:05Z"."""
    return _second(math.floor(now.timestamp()))


@lru_cache(64)
def _second(seconds: int) -> str:
    """A write asks for the time thrice, thousands of writes a second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(now: datetime) -> str:
    """As "2026-01-02T03:04:05.000006Z": Leases and events.k8s.io."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(4096)
def parse_time(text: str) -> datetime:
    """The instant a timestamp names, to the microsecond. ValueError: it is no RFC 3339 time."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no RFC 3339 time, as 2026-01-02T03:04:05Z")
    year, month, day, hour, minute, second, fraction, sign, off_hours, off_minutes = match.groups()
    moment = datetime(
        int(year),
        int(month),
        int(day),
        int(hour),
        int(minute),
        int(second),
        int((fraction or "0")[:6].ljust(6, "0")),
        UTC,
    )
    if not sign:
        return moment
    offset = timedelta(hours=int(off_hours), minutes=int(off_minutes))
    return moment - offset if sign == "+" else moment + offset


def creation_time(obj: Mapping[str, Any]) -> datetime | None:
    """When it was created; None for an object that was not stored."""
    text = metadata(obj).get("creationTimestamp")
    return parse_time(text) if text else None


def new_uid(entropy: bytes) -> str:
    """A random UUID (version 4) of UID_BYTES bytes of chance."""
    drawn = int.from_bytes(entropy[:UID_BYTES], "big")
    text = f"{drawn & ~_UUID_FIXED | _UUID_4:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
