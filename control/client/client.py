"""The client of the API server: one coroutine per verb, resources named by strings ("pods", "deployments.apps").

    async with Client(kubeconfig.load()) as client:
        pod = await client.get("pods", "web-1", "default")
        async for event in client.watch("pods", resource_version="17"):
            …

Every method raises StatusError for a refusal and Unreachable when no server answered; see transport.py for what is
sent twice and what never is.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Self

import aiohttp

from control.api.kind import Kind
from control.api.schema import Object
from control.api.status import StatusError
from control.client.bodies import WatchDecoder, WatchEvent, decode, encode, refusal
from control.client.cause import CAUSE_HEADER, FENCE_HEADER, Cause, Fence
from control.client.config import Config
from control.client.directory import Directory
from control.client.errors import Unreachable
from control.client.transport import Answer, Request, Transport
from kvstore.backoff import delays

PatchKind = Literal["merge", "json", "strategic", "apply"]

_PATCH_TYPES: Final = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
_JSON: Final = "application/json"
# Servers send a bookmark about once a minute, so a watch that is silent for longer than this hangs.
_SILENCE: Final = 150.0
# How long one watch request may last, in seconds; drawn from here so that watchers do not all come back at once.
_WATCH_SECONDS: Final = (300, 600)


class Client:
    """Used inside one event loop; close() it, or `async with`. A fenced client shares its parent's connections."""

    def __init__(self, config: Config) -> None:
        """Raises ConfigError for certificates that cannot be used."""
        self.config = config
        self.transport = Transport(config)
        self.directory = Directory(self.fetch)
        self.fence: Fence | None = None

    def fenced(self, fence: Fence) -> Client:
        """A client whose writes are refused (409, cause FenceLost) once the leadership of the fence is over."""
        made = Client.__new__(Client)
        made.config, made.transport, made.directory, made.fence = self.config, self.transport, self.directory, fence
        return made

    async def get(
        self, resource: str, name: str, namespace: str = "", *, subresource: str = "", resource_version: str = ""
    ) -> Object:
        """One object. resource_version: "" for the newest, "0" for what the server has in memory, which is cheaper."""
        kind = await self.directory.find(resource)
        query = {"resourceVersion": resource_version} if resource_version else None
        return await self.fetch(kind.url(namespace, name, subresource), query=query)

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
        """The list object; namespace "": all. With a limit, its metadata.continue leads on (410 when that expired)."""
        kind = await self.directory.find(resource)
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": str(limit) if limit else "",
            "resourceVersion": resource_version,
            "continue": continue_,
        }
        return await self.fetch(kind.url(namespace), query=query)

    async def create(
        self,
        resource: str,
        obj: Object,
        *,
        namespace: str = "",
        subresource: str = "",
        name: str = "",
        cause: Cause | None = None,
        dry_run: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> Object:
        """The object as created. namespace "": that of the object. options: further parameters of the query."""
        kind = await self.directory.find(resource)
        path = kind.url(namespace or _metadata(obj).get("namespace", ""), name, subresource)
        query = {"dryRun": "All" if dry_run else "", **(options or {})}
        # An eviction's 429 is an answer to act on (a budget), not a server that is busy.
        return await self._write("POST", path, obj, cause, query, patient=subresource != "eviction")

    async def update(
        self,
        resource: str,
        obj: Object,
        *,
        subresource: str = "",
        cause: Cause | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Object:
        """The object as updated. Raises StatusError 409 when its resourceVersion is not the present one."""
        kind = await self.directory.find(resource)
        metadata = _metadata(obj)
        path = kind.url(metadata.get("namespace", ""), metadata["name"], subresource)
        return await self._write("PUT", path, obj, cause, options or {})

    async def patch(
        self,
        resource: str,
        name: str,
        patch: Any,
        *,
        namespace: str = "",
        kind: PatchKind = "merge",
        subresource: str = "",
        cause: Cause | None = None,
        field_manager: str = "",
        force: bool = False,
        options: Mapping[str, str] | None = None,
    ) -> Object:
        """The object as patched. kind "apply" is server-side apply and needs a field_manager."""
        described = await self.directory.find(resource)
        query = {"fieldManager": field_manager, "force": "true" if force else "", **(options or {})}
        path = described.url(namespace, name, subresource)
        return await self._write("PATCH", path, patch, cause, query, content_type=_PATCH_TYPES[kind])

    async def delete(
        self,
        resource: str,
        name: str,
        *,
        namespace: str = "",
        propagation: str = "",
        uid: str = "",
        resource_version: str = "",
        grace: int | None = None,
        cause: Cause | None = None,
        dry_run: bool = False,
    ) -> Object:
        """The object when it is still there (finalizers, grace), else a Status.

        propagation: Background, Foreground, Orphan, "" for the kind's default. uid, resource_version: delete only
        this very object (409 otherwise). grace: seconds; None for the kind's default.
        """
        kind = await self.directory.find(resource)
        preconditions = {k: v for k, v in (("uid", uid), ("resourceVersion", resource_version)) if v}
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if propagation:
            options["propagationPolicy"] = propagation
        if preconditions:
            options["preconditions"] = preconditions
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if dry_run:
            options["dryRun"] = ["All"]
        return await self._write("DELETE", kind.url(namespace, name), options, cause, {})

    async def causes(self, resource: str, name: str, namespace: str = "") -> Sequence[Object]:
        """Why the object is as it is: its recorded writes, oldest first, each with its cause."""
        kind = await self.directory.find(resource)
        answer = await self.fetch(f"/fluyt/causes/{kind.resource}/{namespace or '-'}/{name}")
        return answer.get("items") or []

    async def watch(
        self,
        resource: str,
        namespace: str = "",
        *,
        resource_version: str,
        label_selector: str = "",
        field_selector: str = "",
        bookmarks: bool = True,
        accept: str = _JSON,
    ) -> AsyncIterator[WatchEvent]:
        """What happens after a revision, in order and nothing twice, however often connections break.

        resource_version "" or "0": first ADDED for what exists; such a watch ends with Unreachable when it breaks.
        Raises StatusError 410 when the revision is too old: list again. Close it (aclose) when leaving it early.
        accept: in which form the objects come (tables, for people).
        """
        kind = await self.directory.find(resource)
        query = {
            "watch": "1",
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "allowWatchBookmarks": "true" if bookmarks else "",
            "timeoutSeconds": str(random.randint(*_WATCH_SECONDS)),
        }
        pauses, resumable = delays(), resource_version not in ("", "0")
        while True:
            query["resourceVersion"] = resource_version
            server = self.transport.server
            try:
                async for event in self._events(kind.url(namespace), query, accept):
                    resource_version = event.resource_version or resource_version
                    resumable = resumable or event.type == "BOOKMARK"
                    pauses = delays()
                    yield event
                broke = "the server ended the watch"
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as problem:
                broke = str(problem) or type(problem).__name__
                if isinstance(problem, TimeoutError):
                    # It hangs and would hang again; one that died does not let us in.
                    self.transport.move_on(server)
            if not resumable:
                raise Unreachable({server: broke})
            await asyncio.sleep(next(pauses))

    async def _events(self, path: str, query: Mapping[str, str], accept: str) -> AsyncIterator[WatchEvent]:
        """Of one request, until it ends. Raises what an ERROR event says."""
        request = Request("GET", path, _given(query), {"Accept": accept}, repeatable=True)
        decoder = WatchDecoder()
        async with self.transport.stream(request, idle=_SILENCE) as response:
            async for chunk in response.content.iter_any():
                for event in decoder.feed(chunk):
                    if event.type == "ERROR":
                        raise StatusError.from_status(event.object, 500)
                    yield event

    async def fetch(self, path: str, accept: str = _JSON, *, query: Mapping[str, str] | None = None) -> Object:
        """GET any path of the API."""
        request = Request("GET", path, _given(query or {}), {"Accept": accept}, repeatable=True)
        return _object(await self.transport.call(request))

    async def _write(
        self,
        method: str,
        path: str,
        body: Any,
        cause: Cause | None,
        query: Mapping[str, str],
        *,
        content_type: str = _JSON,
        patient: bool = True,
    ) -> Object:
        headers = {"Accept": _JSON, "Content-Type": content_type}
        if cause is not None:
            headers[CAUSE_HEADER] = cause.header()
        if self.fence is not None:
            headers[FENCE_HEADER] = self.fence.header()
        request = Request(method, path, _given(query), headers, encode(body), patient=patient)
        return _object(await self.transport.call(request))

    async def kind(self, resource: str) -> Kind:
        """What is known of a resource: scope, names, URLs."""
        return await self.directory.find(resource)

    async def close(self) -> None:
        """End every connection, watches among them."""
        await self.transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _object(answer: Answer) -> Object:
    if not 200 <= answer.status < 300:
        raise refusal(answer.status, answer.body)
    try:
        return decode(answer.body)
    except ValueError as problem:
        raise refusal(500, f"the server's answer cannot be read: {problem}".encode()) from None


def _given(query: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in query.items() if value]


def _metadata(obj: Object) -> dict[str, Any]:
    return obj.get("metadata") or {}
