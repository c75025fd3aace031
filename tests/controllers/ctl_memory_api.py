"""An API server in memory, for reconcilers: it does actions as the real one would, at once, and shows what is there.

It is no model of the whole server: what it leaves out (validation, admission) no reconciler relies on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

from control.api.status import StatusError, already_exists, conflict, not_found
from control.client.objects import ObjectStore
from control.controllers.values.actions import (
    Action,
    Answer,
    Create,
    Decision,
    Delete,
    Event,
    Key,
    Patch,
    Read,
    Update,
    UpdateStatus,
)
from control.controllers.values.objects import format_time, labels
from control.controllers.values.observed import KnownKind, Observed, indexes_of

Object = dict[str, Any]
Reconcile = Callable[[Key, Observed, datetime], Decision]
START = datetime(2026, 1, 1, tzinfo=UTC)
GRACEFUL = 30


class MemoryApi:
    """Objects by resource. events: what was told, oldest first; actions: what was done; now, uptime: moved by hand."""

    def __init__(self, *resources: str, kinds: Mapping[tuple[str, str], KnownKind] | None = None) -> None:
        self.stores = {resource: ObjectStore(indexes_of(resource)) for resource in resources}
        self.kinds = dict(kinds or {})
        self.events: list[tuple[str, str, str]] = []
        self.actions: list[Action] = []
        self.now = START
        self.answers: dict[Read, Answer] = {}
        self.refuse: Callable[[Action], StatusError | None] = lambda _action: None
        self.heard: dict[str, float] = {}
        self.uptime = 1000.0
        self._revision = 100
        self._uids = 0
        self._failures: dict[tuple[Any, Key], str] = {}

    def put(self, resource: str, obj: Object) -> Object:
        """Store an object as it is, with the metadata that a server adds."""
        metadata = {"creationTimestamp": format_time(self.now), "generation": 1, **obj["metadata"]}
        if "name" not in metadata:
            metadata["name"] = f"{metadata.pop('generateName')}{self._uids:05d}"
        if "uid" not in metadata:
            self._uids += 1
            metadata["uid"] = f"uid-{self._uids:04d}"
        metadata["resourceVersion"] = self._next()
        stored = {**deepcopy(obj), "metadata": deepcopy(metadata)}
        self.stores[resource].put(stored)
        return stored

    def change(self, resource: str, namespace: str, name: str, changes: Object) -> Object:
        """What a user or an agent does: merge changes; a changed spec makes a new generation."""
        old = self.get(resource, namespace, name)
        new = _merged(old, changes)
        metadata = {**new["metadata"], "resourceVersion": self._next()}
        if new.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        new["metadata"] = metadata
        self.stores[resource].put(new)
        self._drop_if_final(resource, new)
        return new

    def get(self, resource: str, namespace: str, name: str) -> Object:
        found = self.stores[resource].objects.get((namespace, name))
        if found is None:
            raise not_found(resource, name)
        return found

    def list(self, resource: str) -> list[Object]:
        return list(self.stores[resource].objects.values())

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.uptime += seconds

    def step_clock(self, seconds: float) -> None:
        """The time of day is set; no time passes."""
        self.now += timedelta(seconds=seconds)

    def observed(self) -> Observed:
        return Observed(self.stores, self.kinds, heard=self.heard, uptime=self.uptime)

    def reconcile(self, reconcile: Reconcile, name: str, namespace: str = "default", resource: str = "") -> Decision:
        """One pass for a key as the shell makes it: reads are answered, actions done, failures remembered."""
        key = Key(namespace, name, resource)
        slot = (reconcile, key)
        observed = self.observed().after({}, self._failures.pop(slot, ""))
        decision = reconcile(key, observed, self.now)
        answers: dict[Read, Answer] = {}
        while decision.reads:
            answers.update({read: self.answer(read) for read in decision.reads})
            decision = reconcile(key, observed.after(answers, observed.failure), self.now)
        self.tell(*decision.events)
        failure = self.do(*decision.actions)
        if failure:
            self._failures[slot] = failure
        return decision

    def settle(self, reconcile: Reconcile, name: str, namespace: str = "default", resource: str = "") -> None:
        """Passes until one does nothing."""
        for _ in range(100):
            if not self.reconcile(reconcile, name, namespace, resource).actions:
                return
        raise AssertionError(f"{name} does not come to rest")

    def answer(self, read: Read) -> Answer:
        """What the server says: what a test put into `answers`, else what is stored."""
        if read in self.answers:
            return self.answers[read]
        if read.resource not in self.stores:
            return Answer(None, 404, f"the server could not find the requested resource {read.resource}")
        if read.name:
            found = self.stores[read.resource].objects.get((read.namespace, read.name))
            return Answer(found) if found else Answer(None, 404, "not found")
        items = [
            obj
            for (namespace, _), obj in self.stores[read.resource].objects.items()
            if read.namespace in ("", namespace)
        ]
        return Answer({"items": items[: read.limit or None]})

    def tell(self, *events: Event) -> None:
        self.events += [(event.type, event.reason, event.message) for event in events]

    def do(self, *actions: Action) -> str:
        """Do actions in order; the message of the first failure, after which only statuses are written."""
        failure = ""
        written: dict[tuple[str, tuple[str, str]], str] = {}
        for action in actions:
            if failure and not isinstance(action, UpdateStatus):
                continue
            try:
                refused = self.refuse(action)
                if refused:
                    raise refused
                done = self._do(action, written)
                self.actions.append(action)
                if action.tell and action.tell.done:
                    text = action.tell.done_message.format(name=done["metadata"]["name"])
                    self.events.append(("Normal", action.tell.done, text))
            except StatusError as problem:
                failure = failure or problem.message
                if action.tell and action.tell.failed:
                    text = action.tell.failed_message.format(name="", error=problem.message)
                    self.events.append(("Warning", action.tell.failed, text))
        return failure

    def perform(self, action: Action) -> Object:
        """One action on its own, as a client's request; StatusError: refused."""
        return self._do(action, {})

    def _do(self, action: Action, written: dict[tuple[str, tuple[str, str]], str]) -> Object:
        match action:
            case Create(resource, obj):
                place = self._place(obj)
                if obj["metadata"].get("name") and place in self.stores[resource].objects:
                    raise already_exists(resource, place[1])
                fresh = deepcopy(obj)
                fresh.pop("status", None)
                return self.put(resource, fresh)
            case UpdateStatus(resource, obj) | Update(resource, obj, subresource="status"):
                old = self._unchanged(resource, obj, written)
                # As the real server, it takes these of metadata with it.
                own = {} if (resource, self._place(obj)) in written else obj["metadata"]
                taken = {field: own[field] for field in ("labels", "annotations", "finalizers") if field in own}
                metadata = {**old["metadata"], **taken}
                new = self._replace(resource, old, {**old, "metadata": metadata, "status": obj["status"]})
            case Update(resource, obj, subresource=subresource):
                old = self._unchanged(resource, obj, written)
                kept = obj if subresource == "finalize" else {**obj, "status": old.get("status", {})}
                new = self._replace(resource, old, {k: v for k, v in kept.items() if v != {}})
            case Patch(resource, namespace, name, patch, kind=kind):
                old = self.get(resource, namespace, name)
                self._same_uid(resource, old, (patch.get("metadata") or {}).get("uid"))
                new = self._replace(resource, old, _patched(old, patch, kind))
                written[(resource, (namespace, name))] = old["metadata"]["resourceVersion"]
            case Delete(resource, namespace, name, uid):
                old = self.get(resource, namespace, name)
                self._same_uid(resource, old, uid)
                return self._delete(action, old)
        written.setdefault((resource, self._place(new)), old["metadata"]["resourceVersion"])
        return new

    def _delete(self, action: Delete, old: Object) -> Object:
        metadata = dict(old["metadata"])
        finalizers = list(metadata.get("finalizers") or [])
        if action.propagation == "Foreground":
            finalizers.append("foregroundDeletion")
        elif action.propagation == "Orphan":
            finalizers.append("orphan")
        graceful = action.resource == "pods" and (old.get("spec") or {}).get("nodeName") and action.grace != 0
        if not finalizers and not graceful:
            self.stores[action.resource].remove(old)
            return old
        metadata["deletionTimestamp"] = metadata.get("deletionTimestamp") or format_time(self.now)
        if finalizers:
            metadata["finalizers"] = list(dict.fromkeys(finalizers))
        return self._replace(action.resource, old, {**old, "metadata": metadata})

    def _unchanged(self, resource: str, obj: Object, written: dict[tuple[str, tuple[str, str]], str]) -> Object:
        """The stored object, if the one given is based on it (or on what this very pass wrote)."""
        place = self._place(obj)
        old = self.get(resource, *place)
        base = obj["metadata"].get("resourceVersion")
        if base not in (old["metadata"]["resourceVersion"], written.get((resource, place), "-")):
            raise conflict(resource, place[1])
        return old

    def _same_uid(self, resource: str, old: Object, uid: str | None) -> None:
        if uid and uid != old["metadata"]["uid"]:
            raise conflict(resource, old["metadata"]["name"], "uid mismatch")

    def _replace(self, resource: str, old: Object, new: Object) -> Object:
        stored = deepcopy(new)
        metadata = {**stored["metadata"], "resourceVersion": self._next()}
        if stored.get("spec") != old.get("spec"):
            metadata["generation"] = old["metadata"].get("generation", 0) + 1
        stored["metadata"] = metadata
        self.stores[resource].put(stored)
        self._drop_if_final(resource, stored)
        return stored

    def _drop_if_final(self, resource: str, obj: Object) -> None:
        metadata = obj["metadata"]
        running = resource == "pods" and (obj.get("spec") or {}).get("nodeName")
        if resource == "namespaces" and (obj.get("spec") or {}).get("finalizers"):
            return
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers") and not running:
            self.stores[resource].remove(obj)

    def kill(self, namespace: str, name: str) -> None:
        """A pod is gone, as when its node's agent has ended it."""
        self.stores["pods"].remove(self.get("pods", namespace, name))

    def _place(self, obj: Object) -> tuple[str, str]:
        return obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")

    def _next(self) -> str:
        self._revision += 1
        return str(self._revision)


def _merged(old: Any, changes: Any) -> Any:
    """RFC 7386."""
    if not isinstance(changes, dict) or not isinstance(old, dict):
        return deepcopy(changes)
    merged = dict(old)
    for name, value in changes.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value) if name in merged else deepcopy(value)
    return merged


def _patched(old: Object, patch: Object, kind: str) -> Object:
    """A merge patch; of strategic ones, lists of owner references by uid."""
    references = (patch.get("metadata") or {}).get("ownerReferences")
    if kind != "strategic" or references is None:
        return _merged(old, patch)
    kept = {ref["uid"]: ref for ref in old["metadata"].get("ownerReferences") or []}
    for reference in references:
        kept.pop(reference["uid"], None)
        if reference.get("$patch") != "delete":
            kept[reference["uid"]] = reference
    changed = {**patch, "metadata": {**patch["metadata"], "ownerReferences": list(kept.values()) or None}}
    return _merged(old, changed)


def selected(objects: list[Object], **wanted: str) -> list[Object]:
    """The objects with those labels."""
    return [obj for obj in objects if wanted.items() <= labels(obj).items()]
