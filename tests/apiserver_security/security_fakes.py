"""Caches and a store in memory, and short ways to users, requests and reviews."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from control.api import meta
from control.api.catalogue import BUILTIN
from control.api.kind import Kind
from control.api.status import already_exists, not_found
from control.apiserver.request import Changed, Operation, RequestInfo, Review, User

Object = dict[str, Any]
ALICE = User("alice", groups=("system:authenticated",))
ADMIN = User("admin", groups=("system:masters", "system:authenticated"))


class FakeCluster:
    """Caches and Objects at once. `hidden` are in the store, and not in the caches yet."""

    def __init__(self, *objects: tuple[str, Object]) -> None:
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.hidden: set[tuple[str, str, str]] = set()
        self.writes = 0
        self.kinds: list[Kind] = list(BUILTIN)
        self.uids = itertools.count(1)
        self.subscribers: list[tuple[str, Changed]] = []
        self.before_update: Callable[[Object], None] = lambda obj: None
        for resource, obj in objects:
            self.put(resource, obj)

    def put(self, resource: str, obj: Object) -> Object:
        metadata = obj.setdefault("metadata", {})
        metadata.setdefault("uid", f"uid-{next(self.uids)}")
        key = (resource, *meta.key(obj))
        old, self.objects[key] = self.objects.get(key), obj
        self.tell(resource, old, obj)
        return obj

    def remove(self, resource: str, namespace: str, name: str) -> None:
        self.tell(resource, self.objects.pop((resource, namespace, name)), None)

    def tell(self, resource: str, old: Object | None, new: Object | None) -> None:
        for wanted, changed in self.subscribers:
            if wanted == resource:
                changed(old, new)

    # ---- Caches, and Objects.get as `read` ----

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        key = (resource, namespace, name)
        return None if key in self.hidden else self.objects.get(key)

    def list(self, resource: str, namespace: str = "") -> Iterable[Object]:
        return [
            obj
            for (kind, place, name), obj in self.objects.items()
            if kind == resource and namespace in ("", place) and (kind, place, name) not in self.hidden
        ]

    def forms(self, kind: Kind) -> Sequence[Kind]:
        return [other for other in self.kinds if other.registry == kind.registry]

    def subscribe(self, resource: str, changed: Changed) -> None:
        self.subscribers.append((resource, changed))
        for obj in self.list(resource):
            changed(None, obj)

    @property
    def store(self) -> FakeStore:
        return FakeStore(self)


class FakeStore:
    """Objects."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    async def get(self, resource: str, namespace: str, name: str) -> Object:
        found = self.cluster.objects.get((resource, namespace, name))
        if found is None:
            raise not_found(resource, name)
        return found

    async def create(self, resource: str, obj: Object) -> Object:
        if (resource, *meta.key(obj)) in self.cluster.objects:
            raise already_exists(resource, meta.name(obj))
        self.cluster.writes += 1
        return self.cluster.put(resource, copy.deepcopy(obj))

    async def update(
        self, resource: str, namespace: str, name: str, change: Callable[[Object], Object | None]
    ) -> Object:
        found = await self.get(resource, namespace, name)
        new = change(copy.deepcopy(found))
        self.cluster.before_update(found)
        latest = await self.get(resource, namespace, name)
        if latest is not found:  # somebody else wrote meanwhile
            return await self.update(resource, namespace, name, change)
        if new is None:
            return found
        self.cluster.writes += 1
        return self.cluster.put(resource, new)

    async def delete(self, resource: str, namespace: str, name: str) -> None:
        self.cluster.objects.pop((resource, namespace, name), None)


def named(name: str, namespace: str = "", **fields: Any) -> Object:
    """An object with that name. labels and annotations go into its metadata."""
    metadata: Object = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    for field in ("labels", "annotations", "uid", "deletionTimestamp", "ownerReferences"):
        if field in fields:
            metadata[field] = fields.pop(field)
    return {"metadata": metadata, **fields}


def pod(name: str = "p", namespace: str = "ns", *, node: str = "", **spec: Any) -> Object:
    """A pod with one container, unless spec says others."""
    body: Object = {"containers": [{"name": "c", "image": "busybox"}], **spec}
    if node:
        body["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", **named(name, namespace), "spec": body}


def review(
    resource: str,
    obj: Object | None = None,
    *,
    operation: Operation = "CREATE",
    user: User = ALICE,
    old: Object | None = None,
    subresource: str = "",
    namespace: str | None = None,
    name: str | None = None,
    dry_run: bool = False,
) -> Review:
    """What a handler would make of a write."""
    kind = BUILTIN[resource]
    about = obj or old or {}
    info = RequestInfo(
        operation.lower(),
        "",
        group=kind.group,
        version=kind.version,
        resource=kind.plural,
        subresource=subresource,
        namespace=(meta.namespace(about) if namespace is None else namespace) if kind.namespaced else "",
        name=meta.name(about) if name is None else name,
    )
    return Review(user, info, kind, operation, obj, old, dry_run=dry_run)
