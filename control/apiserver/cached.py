"""One object as the watch cache holds it, and one event: bytes for clients, and the little that selectors look at.

An object's JSON is kept as bytes, with its resourceVersion; labels and selectable fields are taken out of it the first
time a selector asks. Parsed objects are kept only where the cache is told to (`retain`), as for roles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import orjson

from control.api.fieldselectors import FieldSelector, field_text
from control.api.schema import Object
from control.api.selectors import LabelSelector
from control.apiserver.splice import with_revision

EventType = Literal["ADDED", "MODIFIED", "DELETED"]
NO_LABELS: Final[Mapping[str, str]] = {}


class Cached:
    """An object at one revision. data: its JSON with resourceVersion; fields: the paths that selectors may name."""

    __slots__ = ("_labels", "_paths", "_texts", "data", "kept", "key", "name", "namespace", "revision")

    def __init__(
        self, key: bytes, namespace: str, name: str, data: bytes, revision: int, paths: tuple[str, ...]
    ) -> None:
        self.key, self.namespace, self.name = key, namespace, name
        self.data, self.revision = data, revision
        self.kept: Object | None = None
        self._paths = paths
        self._labels: Mapping[str, str] | None = None
        self._texts: Mapping[str, str] = NO_LABELS

    def object(self) -> Object:
        """The object, read-only when it is `kept`."""
        return self.kept if self.kept is not None else orjson.loads(self.data)

    @property
    def labels(self) -> Mapping[str, str]:
        if self._labels is None:
            self._look()
        return self._labels or NO_LABELS

    @property
    def looked(self) -> bool:
        """Whether a selector can be applied without parsing."""
        return self._labels is not None

    def text(self, path: str) -> str:
        """A selectable field as text, "" when it is absent."""
        if path == "metadata.name":
            return self.name
        if path == "metadata.namespace":
            return self.namespace
        if self._labels is None:
            self._look()
        return self._texts.get(path, "")

    def _look(self) -> None:
        obj = self.object()
        self._labels = obj["metadata"].get("labels") or NO_LABELS
        texts = ((path, field_text(obj, path)) for path in self._paths)
        self._texts = {path: text for path, text in texts if text} or NO_LABELS

    def at(self, revision: int) -> Cached:
        """The same object under a later resourceVersion: what a deletion tells of it."""
        obj = orjson.loads(self.data)
        del obj["metadata"]["resourceVersion"]
        return Cached(
            self.key, self.namespace, self.name, with_revision(orjson.dumps(obj), revision), revision, self._paths
        )


class Change:
    """One event of the store: old and new state. `last` is what a DELETED event shows (only then)."""

    __slots__ = ("_last", "_lines", "new", "old", "revision")

    def __init__(self, old: Cached | None, new: Cached | None, revision: int) -> None:
        self.old, self.new, self.revision = old, new, revision
        self._last: Cached | None = None
        self._lines: dict[EventType, bytes] = {}

    @property
    def key(self) -> bytes:
        return self.new.key if self.new else self.old.key if self.old else b""

    @property
    def type(self) -> EventType:
        """What a watcher of everything hears."""
        if self.new is None:
            return "DELETED"
        return "MODIFIED" if self.old is not None else "ADDED"

    def shown(self, kind: EventType) -> Cached:
        """The object that an event of this type carries; a DELETED one has the last state, under this revision."""
        if kind != "DELETED" and self.new is not None:
            return self.new
        if self._last is None:
            of = self.old if self.old is not None else self.new
            assert of is not None
            self._last = of.at(self.revision)
        return self._last

    def line(self, kind: EventType) -> bytes:
        """The event as a line of a watch, made once."""
        made = self._lines.get(kind)
        if made is None:
            made = self._lines[kind] = event_line(kind, self.shown(kind).data)
        return made

    @property
    def size(self) -> int:
        """Roughly the bytes it keeps in memory; a deletion keeps the last state."""
        kept = self.new or self.old
        return 512 + (len(kept.data) if kept else 0)


def event_line(kind: str, data: bytes) -> bytes:
    """A watch event as Kubernetes frames it: one JSON object a line."""
    return b'{"type":"%b","object":%b}\n' % (kind.encode(), data)


class Selection:
    """Which objects a request is about: a namespace ("": all), labels, fields. Equal selections share their work."""

    __slots__ = ("fields", "identity", "labels", "namespace", "simple")

    def __init__(self, namespace: str, labels: LabelSelector, fields: FieldSelector) -> None:
        self.namespace, self.labels, self.fields = namespace, labels, fields
        self.simple = labels.everything and fields.everything
        self.identity = (namespace, labels, fields)

    def matches(self, cached: Cached | None) -> bool:
        if cached is None or (self.namespace and cached.namespace != self.namespace):
            return False
        if self.simple:
            return True
        for requirement, zero in zip(self.fields.requirements, self.fields.zeros, strict=True):
            if ((cached.text(requirement.field) or zero) == requirement.value) != requirement.equal:
                return False
        return self.labels.everything or self.labels.matches(cached.labels)

    def type_of(self, change: Change) -> EventType | None:
        """What a watcher of this selection hears of a change: coming into sight is ADDED, going out of it DELETED."""
        was, now = self.matches(change.old), self.matches(change.new)
        if now:
            return "MODIFIED" if was else "ADDED"
        return "DELETED" if was else None
