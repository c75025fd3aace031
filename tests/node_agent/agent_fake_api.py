"""An API server in a dict, as far as the node agent can tell: objects with versions, patches of status, watches."""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator
from typing import Any

from control.api.status import StatusError
from control.client.bodies import WatchEvent
from control.client.errors import Unreachable

Object = dict[str, Any]


class FakeApi:
    """resource → (namespace, name) → object. `down`: every call raises Unreachable while it is set."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[tuple[str, str], Object]] = {}
        self.log: list[tuple[str, str, str]] = []  # (verb, resource, name)
        self.events: list[tuple[str, str, str, str]] = []  # (kind, reason, message, name of the object)
        self.down = False
        self._revisions = itertools.count(1)
        self._watchers: list[tuple[str, str, asyncio.Queue[WatchEvent]]] = []
        self._uids = itertools.count(1)

    # ---- what tests use ----

    def of(self, resource: str, name: str, namespace: str = "") -> Object | None:
        return self.objects.get(resource, {}).get((namespace, name))

    def put(self, resource: str, obj: Object) -> Object:
        """Create or replace, with a uid and a new version."""
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        metadata.setdefault("uid", f"uid-{next(self._uids)}")
        metadata["resourceVersion"] = str(next(self._revisions))
        key = (metadata.get("namespace", ""), metadata["name"])
        known = key in self.objects.setdefault(resource, {})
        self.objects[resource][key] = obj
        self._tell(resource, WatchEvent("MODIFIED" if known else "ADDED", copy.deepcopy(obj)))
        return obj

    def drop(self, resource: str, name: str, namespace: str = "") -> None:
        """Remove at once, whatever its grace period."""
        obj = self.objects[resource].pop((namespace, name))
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(next(self._revisions))}}
        self._tell(resource, WatchEvent("DELETED", obj))

    def record(self, about: Object, kind: str, reason: str, message: str) -> None:
        self.events.append((kind, reason, message, about["name"]))

    def reasons(self, name: str = "") -> list[str]:
        return [reason for _, reason, _, of in self.events if not name or of == name]

    # ---- what the agent calls ----

    async def get(
        self, resource: str, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Object:
        await self._arrive("get", resource, name)
        return copy.deepcopy(self._find(resource, name, namespace))

    async def list(
        self,
        resource: str,
        namespace: str = "",
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        resource_version: str = "",
        continue_: str = "",
    ) -> Object:
        await self._arrive("list", resource, field_selector)
        items = [
            copy.deepcopy(o)
            for (where, _), o in self.objects.get(resource, {}).items()
            if (not namespace or where == namespace) and _selected(o, field_selector)
        ]
        return {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self._now()}, "items": items}

    async def watch(
        self,
        resource: str,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        bookmarks: bool = True,
    ) -> AsyncIterator[WatchEvent]:
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        entry = (resource, field_selector, queue)
        self._watchers.append(entry)
        try:
            while True:
                event = await queue.get()
                if not namespace or event.object["metadata"].get("namespace") == namespace:
                    yield event
        finally:
            self._watchers.remove(entry)

    async def create(
        self, resource: str, obj: Object, *, namespace: str = "", subresource: str = "", name: str = "", **_: Any
    ) -> Object:
        await self._arrive("create", resource, name or obj["metadata"].get("name", ""))
        if subresource == "token":
            return {"status": {"token": f"token-{next(self._uids)}", "expirationTimestamp": "2999-01-01T00:00:00Z"}}
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if key in self.objects.get(resource, {}):
            raise StatusError(409, "AlreadyExists", f'{resource} "{key[1]}" already exists')
        return copy.deepcopy(self.put(resource, obj))

    async def update(self, resource: str, obj: Object, **_: Any) -> Object:
        metadata = obj["metadata"]
        await self._arrive("update", resource, metadata["name"])
        known = self._find(resource, metadata["name"], metadata.get("namespace", ""))
        if metadata.get("resourceVersion") not in (None, known["metadata"]["resourceVersion"]):
            raise StatusError(409, "Conflict", "the object has been modified")
        return copy.deepcopy(self.put(resource, obj))

    async def patch(
        self, resource: str, name: str, patch: Any, *, namespace: str = "", subresource: str = "", **_: Any
    ) -> Object:
        await self._arrive("patch", resource, name)
        obj = copy.deepcopy(self._find(resource, name, namespace))
        uid = (patch.get("metadata") or {}).get("uid")
        if uid is not None and uid != obj["metadata"]["uid"]:
            raise StatusError(409, "Conflict", "the uid is another")
        _merge(obj, patch)
        return copy.deepcopy(self.put(resource, obj))

    async def delete(
        self, resource: str, name: str, *, namespace: str = "", uid: str = "", grace: int | None = None, **_: Any
    ) -> Object:
        await self._arrive("delete", resource, name)
        obj = self._find(resource, name, namespace)
        if uid and uid != obj["metadata"]["uid"]:
            raise StatusError(409, "Conflict", "the uid is another")
        self.drop(resource, name, namespace)
        return {}

    # ---- inside ----

    def _now(self) -> str:
        return str(next(self._revisions))

    async def _arrive(self, verb: str, resource: str, name: str) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise Unreachable({"fake": "it is down"})
        self.log.append((verb, resource, name))

    def _find(self, resource: str, name: str, namespace: str) -> Object:
        found = self.of(resource, name, namespace)
        if found is None:
            raise StatusError(404, "NotFound", f'{resource} "{name}" not found')
        return found

    def _tell(self, resource: str, event: WatchEvent) -> None:
        for wanted, selector, queue in self._watchers:
            if wanted == resource and _selected(event.object, selector):
                queue.put_nowait(WatchEvent(event.type, copy.deepcopy(event.object)))


def _selected(obj: Object, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        path, _, value = term.partition("=")
        found: Any = obj
        for step in path.split("."):
            found = (found or {}).get(step)
        if (found or "") != value:
            return False
    return True


def _merge(into: Object, patch: Object) -> None:
    for name, value in patch.items():
        if name == "conditions":
            have = {c["type"]: c for c in into.get(name) or []}
            for condition in value:
                merged = {**have.get(condition["type"], {}), **condition}
                have[condition["type"]] = {k: v for k, v in merged.items() if v is not None}
            into[name] = list(have.values())
        elif value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = copy.deepcopy(value)
