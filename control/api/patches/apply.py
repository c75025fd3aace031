"""Server-side apply, and the ownership that every other write leaves behind.

    apply(live, config, write)   the object after PATCH application/apply-patch+yaml
    track(old, new, write)       `new`, as any other create, update or patch made it, with its managedFields

An applier owns what it applies. It may not change what another manager owns, unless it forces. What it applied before,
applies no longer and nobody else owns is removed. Whoever changes a field by another verb owns it from then on.

Time comes in as an argument; nothing given is changed. Source: "Server-Side Apply" in Kubernetes' documentation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

from control.api import status
from control.api.patches import managed as ledger
from control.api.patches.fieldsets import EMPTY, FieldSet, of_paths, text
from control.api.patches.managed import APPLY, UPDATE, Entry, Managed
from control.api.patches.structured import Difference, compare, fields_of, merge, prune
from control.api.patches.values import check, equal
from control.api.patches.views import View
from control.api.status import Cause

Json = Any
Object = dict[str, Json]

CONTENT_TYPE: Final = "application/apply-patch+yaml"
LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
MAX_ANNOTATIONS: Final = 256 * 1024  # bytes; Kubernetes' limit of all annotations together
MAX_MANAGER: Final = 128  # characters of a field manager's name

# Never owned: who an object is, and what the server alone writes.
UNOWNED: Final = of_paths(
    "apiVersion", "kind", "metadata", "metadata.name", "metadata.namespace", "metadata.creationTimestamp",
    "metadata.selfLink", "metadata.uid", "metadata.clusterName", "metadata.generation", "metadata.managedFields",
    "metadata.resourceVersion",
)  # fmt: skip

# What the main resource of a kind with a status subresource leaves alone, and what /status does.
STATUS: Final = of_paths("status")
SPEC: Final = of_paths("spec")


@dataclass(frozen=True, slots=True)
class Write:
    """One write: by whom, through which view of the object, and when.

    manager: the fieldManager parameter, else manager_of(user agent). now: RFC 3339 in UTC, whole seconds.
    ignored: fields this endpoint does not write (STATUS on the object itself, SPEC on /status).
    """

    view: View
    manager: str
    api_version: str
    now: str
    subresource: str = ""
    force: bool = False
    ignored: FieldSet = EMPTY


def manager_of(user_agent: str) -> str:
    """The manager's name of a client that gives none: its user agent up to the slash."""
    return user_agent.partition("/")[0][:MAX_MANAGER] or "unknown"


def track(old: Object | None, new: Object, write: Write) -> Object:
    """`new` with metadata.managedFields brought up to date. old: what is stored; None: `new` is created.

    A client may change managedFields itself; an empty list or [{}] makes the server forget all managers.
    """
    before = _bare(old) if old is not None else {}
    after = _bare(new)
    entries = _given(old, new, write)
    if old is not None and not entries:
        return after
    _record(entries, compare(before, after, write.view).without(write.ignored), write)
    ledger.cap(entries)
    return _with(after, entries)


def _given(old: Object | None, new: Object, write: Write) -> Managed:
    own = (old or {}).get("metadata", {}).get("managedFields")
    asked = new.get("metadata", {}).get("managedFields")
    if not write.subresource:
        if ledger.is_reset(asked):
            return Managed()
        entries = _lenient(asked)
        if entries:
            return entries
    return _lenient(own)


def _lenient(entries: Json) -> Managed:
    try:
        return ledger.read(entries)
    except ValueError:
        return Managed()


def _record(entries: Managed, difference: Difference, write: Write, operation: str = UPDATE) -> None:
    changed = difference.changed
    entries.take(changed | difference.removed)
    own = changed - UNOWNED
    if own:
        mine = Entry(write.manager or "unknown", operation, write.api_version, own, write.subresource, write.now)
        previous = entries.get(mine.identity)
        entries.put(replace(mine, fields=previous.fields | own) if previous else mine)


def apply(live: Object | None, config: Object, write: Write) -> Object:
    """The object after server-side apply. live: what is stored; None: it is created.

    The result may equal `live` in everything: then nothing is to be written. Nulls and defaults are the caller's.
    StatusError 400: wrong apiVersion, managedFields in config; 409: conflicts; 422: config does not fit the schema.
    """
    _admissible(config, write)
    before = _bare(live) if live is not None else {}
    entries = _stored(live, before, write)
    mine = Entry(write.manager, APPLY, write.api_version, EMPTY, write.subresource, write.now)
    last = entries[mine.identity].fields if mine.identity in entries else EMPTY
    own = (fields_of(config, write.view) - UNOWNED).without_trees(write.ignored)
    merged = merge(before, config, write.view)
    difference = _arbitrate(entries, own, last, before, merged, config, write)
    result, change = difference
    entries.take(change.changed | change.removed, spare=mine.identity)
    entries.put(replace(mine, fields=own, time=_time(entries, mine, not equal(before, result))))
    return _with(_synced(result, config, write), entries)


def _admissible(config: Object, write: Write) -> None:
    check(config, "applied configuration")
    version = config.get("apiVersion")
    if version != write.api_version:
        message = "Incorrect version specified in apply patch. "
        raise status.bad_request(f"{message}Specified patch version: {version}, expected: {write.api_version}")
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise status.bad_request("metadata.managedFields must be nil")
    if not write.manager:
        raise status.bad_request(
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
        )


def _stored(live: Object | None, before: Object, write: Write) -> Managed:
    """The live object's managers; an object nobody managed belongs to BEFORE_FIRST_APPLY as it is."""
    entries = _lenient((live or {}).get("metadata", {}).get("managedFields"))
    if live is not None and not entries:
        earlier = replace(write, manager=BEFORE_FIRST_APPLY, subresource="")
        _record(entries, compare({}, before, write.view).without(write.ignored), earlier)
    return entries


def _arbitrate(
    entries: Managed, own: FieldSet, last: FieldSet, before: Object, merged: Object, config: Object, write: Write
) -> tuple[Object, Difference]:
    """The merged object without what nobody owns any more, and how it differs. StatusError 409: conflicts."""
    mine = (write.manager, APPLY, "", write.subresource)
    others = [entry for entry in entries.values() if entry.identity != mine]
    owned = own
    for entry in others:
        owned |= entry.fields
    result = prune(merged, write.view, last, owned)
    change = compare(before, result, write.view).without(write.ignored)
    if not write.force:
        conflicts = [(entry, path) for entry in others for path in (entry.fields & change.changed).paths()]
        if conflicts and not _upgrades(conflicts, before, write):
            raise conflict(conflicts)
    return result, change


def _upgrades(conflicts: list[tuple[Entry, tuple[str, ...]]], live: Object, write: Write) -> bool:
    """Whether all conflicts are with what kubectl itself applied from the client's side before."""
    if write.manager != "kubectl":
        return False
    try:
        last = json.loads(_annotations(live).get(LAST_APPLIED) or "")
        check(last, "last-applied annotation")
        if not isinstance(last, dict) or last.get("apiVersion") != write.api_version:
            return False
        allowed = fields_of(last, write.view)
    except (ValueError, RecursionError, status.StatusError):
        return False
    difference = compare(last, live, write.view)
    allowed = allowed - difference.changed - difference.removed
    remaining = [(entry, path) for entry, path in conflicts if not allowed.has(path)]
    if remaining and len(remaining) < len(conflicts):
        raise conflict(remaining)
    return not remaining


def conflict(conflicts: list[tuple[Entry, tuple[str, ...]]]) -> status.StatusError:
    """409 with one cause for each field another manager owns, in Kubernetes' words."""
    ordered = sorted(conflicts, key=lambda c: (c[0].shown(), c[1]))
    causes = [Cause("FieldManagerConflict", f"conflict with {entry.shown()}", text(path)) for entry, path in ordered]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
        return status.apply_conflict(causes, message)
    lines: list[str] = []
    for entry, path in ordered:
        head = f"conflicts with {entry.shown()}:"
        lines += [f"- {text(path)}"] if head in lines else [head, f"- {text(path)}"]
    return status.apply_conflict(causes, f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines))


def _time(entries: Managed, mine: Entry, changed: bool) -> str:
    previous = entries.get(mine.identity)
    return previous.time if previous is not None and not changed else mine.time


def _synced(result: Object, config: Object, write: Write) -> Object:
    """The result with kubectl's own annotation renewed, so that `kubectl apply` without --server-side still merges."""
    if write.manager != "kubectl" or not _annotations(result).get(LAST_APPLIED):
        return result
    stripped = dict(config)
    if "annotations" in (config.get("metadata") or {}):
        annotations = {k: v for k, v in _annotations(config).items() if k != LAST_APPLIED}
        stripped["metadata"] = dict(config["metadata"], annotations=annotations)
    value = json.dumps(stripped, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"
    mine = dict(_annotations(result))
    mine.pop(LAST_APPLIED)
    if sum(len(k) + len(str(v)) for k, v in mine.items()) + len(value) <= MAX_ANNOTATIONS:
        mine[LAST_APPLIED] = value
    return dict(result, metadata=dict(result["metadata"], annotations=mine))


def _annotations(value: Object) -> dict[str, Json]:
    metadata = value.get("metadata")
    found = metadata.get("annotations") if isinstance(metadata, dict) else None
    return found if isinstance(found, dict) else {}


def _bare(value: Object) -> Object:
    metadata = value.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return value
    return dict(value, metadata={k: v for k, v in metadata.items() if k != "managedFields"})


def _with(value: Object, entries: Managed) -> Object:
    if not entries:
        return value
    return dict(value, metadata=dict(value.get("metadata") or {}, managedFields=ledger.write(entries)))
