"""A small API server for the clients' tests: objects in memory, watches, and faults on demand. aiohttp, plain HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from control.api import status

Object = dict[str, Any]
Fault = Callable[[web.Request], Awaitable[web.StreamResponse | None]]


class FakeApi:
    """One resource path → name → object; every change has the next revision and goes to the watchers."""

    def __init__(self) -> None:
        self.revision = 1
        self.objects: dict[str, Object] = {}
        self.history: list[tuple[int, str, Object]] = []
        self.oldest = 0
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.faults: list[Fault] = []
        self.documents: dict[str, Object] = {}
        self.url = ""
        self._changed = asyncio.Event()
        self._watches: set[asyncio.Task[Any]] = set()

    def put(self, path: str, obj: Object) -> Object:
        """Write an object at its path (".../pods/web-1")."""
        self.revision += 1
        kind = "MODIFIED" if path in self.objects else "ADDED"
        made = {**obj, "metadata": {"uid": f"u{self.revision}", **obj.get("metadata", {})}}
        made["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[path] = made
        self._record(kind, path, made)
        return made

    def remove(self, path: str) -> Object:
        """Delete the object at a path."""
        self.revision += 1
        gone = self.objects.pop(path)
        gone = {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.revision)}}
        self._record("DELETED", path, gone)
        return gone

    def _record(self, kind: str, path: str, obj: Object) -> None:
        self.history.append((self.revision, path, {"type": kind, "object": obj}))
        self._changed.set()
        self._changed = asyncio.Event()

    def forget(self) -> None:
        """Compact: watches from any past revision are refused."""
        self.oldest = self.revision

    def cut_watches(self) -> None:
        """Break every open watch in the middle of things."""
        for task in self._watches:
            task.cancel()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.requests.append(request)
        if self.faults:
            found = await self.faults.pop(0)(request)
            if found is not None:
                return found
        try:
            return await self._answer(request)
        except status.StatusError as refused:
            return web.json_response(refused.to_status(), status=refused.code)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path in self.documents:
            return web.json_response(self.documents[path])
        if request.method == "GET":
            if request.query.get("watch"):
                return await self._watch(request)
            if path in self.objects:
                return web.json_response(self.objects[path])
            if path.rsplit("/", 1)[0] in {p.rsplit("/", 1)[0] for p in self.objects}:
                raise status.not_found("pods", path.rsplit("/", 1)[1])
            return web.json_response(self._list(request))
        body = json.loads(await request.read() or b"null")
        self.bodies.append(body)
        return web.json_response(
            self._write(request.method, path, body), status=201 if request.method == "POST" else 200
        )

    def _list(self, request: web.Request) -> Object:
        found = [obj for path, obj in sorted(self.objects.items()) if _below(request.path, path)]
        start = int(request.query.get("continue", 0))
        limit = int(request.query.get("limit", 0)) or len(found)
        metadata = {"resourceVersion": str(self.revision)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        items = [{k: v for k, v in obj.items() if k not in ("apiVersion", "kind")} for obj in found]
        return {"apiVersion": "v1", "kind": "PodList", "metadata": metadata, "items": items[start : start + limit]}

    def _write(self, method: str, path: str, body: Object) -> Object:
        if method != "POST" and path not in self.objects:
            raise status.not_found("pods", path.rsplit("/", 1)[1])
        match method:
            case "POST":
                target = f"{path}/{body['metadata']['name']}"
                if target in self.objects:
                    raise status.already_exists("pods", body["metadata"]["name"])
                return self.put(target, body)
            case "PUT":
                present = self.objects[path]["metadata"]["resourceVersion"]
                if body["metadata"].get("resourceVersion") not in (None, present):
                    raise status.conflict("pods", body["metadata"]["name"])
                return self.put(path, body)
            case "PATCH":
                return self.put(path, {**self.objects[path], **body})
            case _:
                return self.remove(path)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        seen = int(request.query.get("resourceVersion") or 0)
        if seen < self.oldest:
            raise status.StatusError(410, "Expired", f"too old resource version: {seen}")
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        task = asyncio.ensure_future(self._events(request, response, seen))
        self._watches.add(task)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task
        self._watches.discard(task)
        if request.transport is not None:
            request.transport.abort()
        return response

    async def _events(self, request: web.Request, response: web.StreamResponse, seen: int) -> None:
        while True:
            changed = self._changed
            for revision, path, event in self.history:
                if revision > seen and _below(request.path, path):
                    await response.write(json.dumps(event).encode() + b"\n")
            seen = max(seen, self.revision)
            await changed.wait()


def _below(collection: str, path: str) -> bool:
    """Whether an object is in a collection, which may be that of all namespaces."""
    if path.startswith(collection + "/"):
        return True
    start, _, plural = collection.rpartition("/")
    parts = path.split("/")
    return path.startswith(f"{start}/namespaces/") and parts[-2] == plural


@contextlib.asynccontextmanager
async def serve(api: FakeApi | None = None) -> AsyncIterator[FakeApi]:
    """A fake API server on a free port of this machine, at api.url."""
    api = api or FakeApi()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/{path:.*}", api.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield api
    finally:
        api.cut_watches()
        await runner.cleanup()


def pod(name: str, namespace: str = "default", **more: Any) -> Object:
    """A pod."""
    metadata = {"name": name, "namespace": namespace, **more.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, **more}


def path_of(name: str, namespace: str = "default") -> str:
    """A pod's URL path."""
    return f"/api/v1/namespaces/{namespace}/pods/{name}"
