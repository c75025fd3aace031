"""One request while it is served: what it is about, who asks, its body, and the server it came to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from control.api.kind import Kind
from control.api.status import StatusError, bad_request, timeout, too_large
from control.apiserver.request import ANONYMOUS, AuditEntry, Headers, RequestInfo, User

if TYPE_CHECKING:
    from control.apiserver.server import Server

MAX_BODY = 3 << 20
BODY_SECONDS = 60.0

Receive = Callable[[], Awaitable[Any]]


class Gone(Exception):
    """The client went away before it had sent its request."""


@dataclass(slots=True)
class Call:
    """kind: what the path names (None for paths that are no resource). warnings: sent as Warning headers."""

    server: Server
    info: RequestInfo
    headers: Headers
    receive: Receive
    scope: dict[str, Any]
    user: User = ANONYMOUS
    kind: Kind | None = None
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    audit: AuditEntry | None = None

    @property
    def of(self) -> Kind:
        """The kind, for handlers of resources."""
        assert self.kind is not None
        return self.kind

    @property
    def namespace(self) -> str:
        """The namespace objects of this request are in, "" for kinds without."""
        return self.info.namespace if self.of.namespaced else ""

    async def body(self, limit: int = MAX_BODY) -> bytes:
        """The whole body. StatusError 413, 408; Gone."""
        declared = self.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            raise too_large(limit)
        if (whole := self.scope.get("fluyt.whole")) is not None and whole():
            # All of it is here already, as nearly always: no timer is needed.
            return await self._read(limit)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await self._read(limit)
        except TimeoutError:
            raise timeout("the body of the request did not arrive in time") from None

    async def _read(self, limit: int) -> bytes:
        parts, size = [], 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise too_large(limit)
            parts.append(part)
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    def dry_run(self) -> bool:
        """Whether nothing may be written. StatusError 400 for anything but "All"."""
        values = [value for value in self.info.query.get("dryRun", ()) if value]
        return is_dry_run(values)

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_dry_run(values: list[str]) -> bool:
    """The meaning of dryRun's values. StatusError 422 when they are anything but "All"."""
    if not values:
        return False
    if values != ["All"]:
        raise StatusError(
            422, "Invalid", f'dryRun: Unsupported value: {values[0]!r}: supported values: "All"', {"causes": []}
        )
    return True


def require_name(name: str) -> str:
    """The name, which must be there. StatusError 400."""
    if not name:
        raise bad_request("name must be provided")
    return name
