"""control.client.Client without a network, over MemoryApi: lists, watches (held back on demand), writes, fences.

Invariant: as the real one, it sends an object's own copy, and a watch's events in the order of their revisions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from copy import deepcopy
from typing import Any

from ctl_memory_api import MemoryApi

from control.api.catalogue import BUILTIN
from control.api.kind import Kind
from control.api.status import Cause as StatusCause
from control.api.status import StatusError, conflict, not_found
from control.client.bodies import WatchEvent
from control.client.cause import Fence
from control.client.objects import ObjectStore
from control.controllers.values.actions import Create, Delete, Patch, Read, Update, UpdateStatus
from control.controllers.values.observed import indexes_of

Object = dict[str, Any]


class RecordingStore(ObjectStore):
    """A store that remembers its changes, for watches."""

    def __init__(self, resource: str, changed: Callable[[], None]) -> None:
        super().__init__(indexes_of(resource))
        self.log: list[tuple[str, Object]] = []
        self._changed = changed

    def put(self, obj: Object) -> Any:
        change = super().put(obj)
        if change is not None:
            self.log.append(("MODIFIED" if change[0] is not None else "ADDED", obj))
            self._changed()
        return change

    def remove(self, obj: Object) -> Any:
        change = super().remove(obj)
        if change is not None:
            self.log.append(("DELETED", obj))
            self._changed()
        return change


class World:
    """What all clients of one fake server share. held: resources whose watches say nothing for now."""

    def __init__(self, *resources: str) -> None:
        self.api = MemoryApi()
        self.news = asyncio.Event()
        self.held: set[str] = set()
        self.calls: list[tuple[str, str, Fence | None]] = []
        self.before: Callable[[str, Object], None] = lambda _verb, _obj: None
        self.fence: Fence | None = None
        self.kinds: list[Kind] = []
        for resource in resources:
            self.serve(resource)

    def serve(self, resource: str, kind: Kind | None = None) -> None:
        """Serve a resource from now on."""
        self.api.stores[resource] = RecordingStore(resource, self._changed)
        known = kind or BUILTIN.by_resource(resource)
        assert known is not None
        self.kinds.append(known)

    def _changed(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    def release(self, resource: str) -> None:
        """Let the watches of a resource go on."""
        self.held.discard(resource)
        self._changed()

    def writes(self, verb: str, resource: str = "pods") -> int:
        return sum(1 for call in self.calls if call[:2] == (verb, resource))


class FakeDirectory:
    def __init__(self, world: World) -> None:
        self._world = world

    async def all(self) -> list[Kind]:
        return list(self._world.kinds)


class FakeClient:
    def __init__(self, world: World, fence: Fence | None = None) -> None:
        self.world, self.fence = world, fence
        self.directory = FakeDirectory(world)

    def fenced(self, fence: Fence) -> FakeClient:
        return FakeClient(self.world, fence)

    async def get(self, resource: str, name: str, namespace: str = "") -> Object:
        answer = self.world.api.answer(Read(resource, namespace, name))
        if answer.object is None:
            raise not_found(resource, name)
        return deepcopy(answer.object)

    async def list(self, resource: str, namespace: str = "", **options: Any) -> Object:
        if resource not in self.world.api.stores:
            raise StatusError(404, "NotFound", f"no resource {resource}")
        items = [
            deepcopy(obj)
            for (place, _), obj in self.world.api.stores[resource].objects.items()
            if namespace in ("", place)
        ]
        at = len(self.world.api.stores[resource].log)  # type: ignore[attr-defined]
        return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": str(at)}, "items": items}

    async def watch(self, resource: str, namespace: str = "", **options: Any) -> AsyncIterator[WatchEvent]:
        at = int(options["resource_version"])
        while True:
            news, log = self.world.news, self.world.api.stores[resource].log  # type: ignore[attr-defined]
            while at < len(log) and resource not in self.world.held:
                kind, obj = log[at]
                at += 1
                yield WatchEvent(kind, deepcopy(obj))
            await news.wait()

    async def create(self, resource: str, obj: Object, **options: Any) -> Object:
        return self._do("create", Create(resource, deepcopy(obj), options["cause"]), obj)

    async def update(self, resource: str, obj: Object, *, subresource: str = "", **options: Any) -> Object:
        made = deepcopy(obj)
        if subresource == "status":
            return self._do("status", UpdateStatus(resource, made, options["cause"]), obj)
        return self._do("update", Update(resource, made, options["cause"], subresource), obj)

    async def patch(self, resource: str, name: str, patch: Any, *, namespace: str = "", **options: Any) -> Object:
        action = Patch(resource, namespace, name, patch, options["cause"], options.get("kind", "merge"))
        return self._do("patch", action, {"metadata": {"name": name}})

    async def delete(self, resource: str, name: str, *, namespace: str = "", uid: str = "", **options: Any) -> Object:
        action = Delete(resource, namespace, name, uid, options["cause"], options.get("propagation", ""))
        return self._do("delete", action, {"metadata": {"name": name}})

    def _do(self, verb: str, action: Any, obj: Object) -> Object:
        self.world.calls.append((verb, action.resource, self.fence))
        if self.world.fence is not None and self.fence != self.world.fence:
            raise conflict(action.resource, "x", "the leadership is lost", [StatusCause("FenceLost", "another leads")])
        self.world.before(verb, obj)
        return self.world.api.perform(action)
