"""The memory of an informer: objects by namespace and name, with indexes. Pure.

Invariants: each index holds exactly what its function says of the objects that are here; every change is told once,
as (old, new) with None for "not there". Objects are shared with all readers and must not be changed by them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from control.api.schema import Object

Key = tuple[str, str]
Change = tuple[Object | None, Object | None]
IndexFunction = Callable[[Object], Iterable[str]]


def key_of(obj: Object) -> Key:
    """(namespace, name); the namespace of a cluster-scoped object is ""."""
    metadata: dict[str, Any] = obj.get("metadata") or {}
    return metadata.get("namespace", ""), metadata.get("name", "")


def version_of(obj: Object) -> str:
    """The resourceVersion."""
    return str((obj.get("metadata") or {}).get("resourceVersion", ""))


def slim(obj: Object) -> Object:
    """The object without the bookkeeping of field managers, often its bigger half: a transform for informers.

    Updates that leave it out keep it as it is.
    """
    metadata = obj.get("metadata")
    if metadata is not None:
        metadata.pop("managedFields", None)
    return obj


class ObjectStore:
    """Objects of one resource."""

    def __init__(self, indexes: Mapping[str, IndexFunction] | None = None) -> None:
        self.objects: dict[Key, Object] = {}
        self._functions = dict(indexes or {})
        self._indexes: dict[str, dict[str, dict[Key, None]]] = {name: {} for name in self._functions}

    def by_index(self, index: str, key: str) -> list[Object]:
        """The objects that an index lists under a key, in the order they came. KeyError: no such index."""
        return [self.objects[found] for found in self._indexes[index].get(key, ())]

    def keys_of(self, index: str) -> list[str]:
        """The keys of an index that list at least one object."""
        return list(self._indexes[index])

    def put(self, obj: Object) -> Change | None:
        """Take an object in; None when it is here in this very version already."""
        key = key_of(obj)
        old = self.objects.get(key)
        if old is not None and version_of(old) == version_of(obj) != "":
            return None
        if old is not None:
            self._unlist(key, old)
        self.objects[key] = obj
        self._list(key, obj)
        return old, obj

    def remove(self, obj: Object) -> Change | None:
        """Let an object go; None when it is not here. The last state told is that of `obj`."""
        key = key_of(obj)
        old = self.objects.pop(key, None)
        if old is None:
            return None
        self._unlist(key, old)
        return obj, None

    def replace(self, objects: Iterable[Object]) -> Iterator[Change]:
        """Be exactly these objects; the changes that this is, each told when it is made, removals first.

        An object that was deleted and made again meanwhile (another uid) is a removal and an addition.
        """
        wanted = {key_of(obj): obj for obj in objects}
        for key, old in list(self.objects.items()):
            new = wanted.get(key)
            if new is None or _uid(new) != _uid(old):
                self._unlist(key, self.objects.pop(key))
                yield old, None
        for obj in wanted.values():
            change = self.put(obj)
            if change is not None:
                yield change

    def _list(self, key: Key, obj: Object) -> None:
        for name, function in self._functions.items():
            for entry in function(obj):
                self._indexes[name].setdefault(entry, {})[key] = None

    def _unlist(self, key: Key, obj: Object) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            for entry in function(obj):
                listed = index.get(entry)
                if listed is not None:
                    listed.pop(key, None)
                    if not listed:
                        del index[entry]


def _uid(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("uid", ""))
