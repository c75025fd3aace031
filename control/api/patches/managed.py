"""metadata.managedFields: who set which fields, by which operation and when.

An entry's identity is its manager, operation and subresource, for updates also the API version: one applier keeps one
entry even when it changes the version it applies.

Source: ManagedFieldsEntry in the API reference; "Field management" in "Server-Side Apply".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from control.api.patches.fieldsets import EMPTY, FieldSet, known, serialise

Json = Any
Object = dict[str, Json]

APPLY: Final = "Apply"
UPDATE: Final = "Update"
MAX_UPDATERS: Final = 10
ANCIENT: Final = "ancient-changes"

Identity = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's entry. time: RFC 3339 in UTC, "" when it is not known."""

    manager: str
    operation: str
    api_version: str
    fields: FieldSet = EMPTY
    subresource: str = ""
    time: str = ""

    @property
    def identity(self) -> Identity:
        version = "" if self.operation == APPLY else self.api_version
        return (self.manager, self.operation, version, self.subresource)

    def shown(self) -> str:
        """As conflicts name it: "kubectl-client-side-apply" using apps/v1."""
        name = f'"{self.manager}"' + (f' with subresource "{self.subresource}"' if self.subresource else "")
        return f"{name} using {self.api_version}" if self.operation == UPDATE else name


class Managed(dict[Identity, Entry]):
    """The entries of an object by identity."""

    def put(self, entry: Entry) -> None:
        """Adds or replaces an entry; one without fields goes."""
        if entry.fields:
            self[entry.identity] = entry
        else:
            self.pop(entry.identity, None)

    def take(self, paths: FieldSet, spare: Identity | None = None) -> None:
        """Removes those paths from all entries but one."""
        for entry in list(self.values()):
            left = entry.fields - paths
            if left is not entry.fields and entry.identity != spare:
                self.put(replace(entry, fields=left))

    def owned(self) -> FieldSet:
        """What all managers have."""
        fields = EMPTY
        for entry in self.values():
            fields |= entry.fields
        return fields


def read(entries: Json) -> Managed:
    """The entries of a metadata.managedFields list. ValueError: malformed."""
    if entries is None:
        return Managed()
    if not isinstance(entries, list):
        raise ValueError("managedFields must be a list")
    return Managed((entry.identity, entry) for entry in map(_entry, entries))


def _entry(raw: Json) -> Entry:
    if not isinstance(raw, dict):
        raise ValueError("an entry of managedFields must be an object")
    texts = [raw.get(name) or "" for name in ("manager", "operation", "apiVersion", "subresource", "time")]
    manager, operation, api_version, subresource, time = texts
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("the texts of a managedFields entry must be strings")
    if operation not in (APPLY, UPDATE):
        raise ValueError("operation must be `Apply` or `Update`")
    if not api_version:
        raise ValueError("apiVersion must not be empty")
    if raw.get("fieldsType") != "FieldsV1":
        raise ValueError(f"invalid fieldsType {raw.get('fieldsType')!r}: it must be FieldsV1")
    return Entry(manager, operation, api_version, known(raw.get("fieldsV1") or {}), subresource, time)


def write(managed: Managed) -> list[Object]:
    """The metadata.managedFields list: appliers first, then by time and name."""
    return [_raw(entry) for entry in sorted(managed.values(), key=_order)]


def _order(entry: Entry) -> tuple[str, str, str, str, str]:
    return (entry.operation, entry.time, entry.manager, entry.api_version, entry.subresource)


def _raw(entry: Entry) -> Object:
    raw: Object = {"manager": entry.manager, "operation": entry.operation, "apiVersion": entry.api_version}
    if entry.time:
        raw["time"] = entry.time
    raw |= {"fieldsType": "FieldsV1", "fieldsV1": serialise(entry.fields)}
    if entry.subresource:
        raw["subresource"] = entry.subresource
    return raw


def is_reset(entries: Json) -> bool:
    """Whether a client asks to forget all managers: an empty list, or one empty entry."""
    return isinstance(entries, list) and (not entries or (len(entries) == 1 and not entries[0]))


def cap(managed: Managed) -> None:
    """Merges the oldest updates of one version into one entry while there are more than MAX_UPDATERS."""
    updaters = sorted((e for e in managed.values() if e.operation == UPDATE), key=lambda e: (e.time, e.manager))
    surplus = len(updaters) - MAX_UPDATERS
    first: dict[str, Entry] = {}
    for entry in updaters:
        if surplus <= 0:
            return
        bucket = first.get(entry.api_version)
        if bucket is None:
            first[entry.api_version] = entry
            continue
        del managed[entry.identity]
        managed.pop(bucket.identity, None)
        merged = Entry(ANCIENT, UPDATE, entry.api_version, bucket.fields | entry.fields, "", entry.time)
        first[entry.api_version] = merged
        managed.put(merged)
        surplus -= 1
