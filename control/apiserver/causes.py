"""Why objects changed: the cause that a write brought along, kept beside the revision it made for some hours.

Key: /fluyt/causes/<resource>/<namespace or ->/<name>/<number>, in the transaction of the write itself, so its
mod_revision is the write's. The number grows with the object's revisions. All keys of a few minutes hang on one lease,
which nobody renews: so they go by themselves, together.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from control.api.meta import timestamp
from control.api.schema import Object
from control.api.status import bad_request
from control.apiserver.call import Call
from control.apiserver.storage import Page, Storage
from kvstore.client import put
from kvstore.pb import etcd_pb2 as pb

PREFIX: Final = "/fluyt/causes/"
MAX_BYTES: Final = 2048
_MOST: Final = 1000
# Renewals: many, and nobody asks why.
_QUIET: Final = frozenset({"leases.coordination.k8s.io", "events", "events.events.k8s.io"})


def given(call: Call) -> Any | None:
    """The cause in the request's header; None without one. StatusError 400: too long or no JSON object."""
    text = call.headers.get("fluyt-cause", "")
    if not text:
        return None
    if len(text) > MAX_BYTES:
        raise bad_request(f"the header Fluyt-Cause may have {MAX_BYTES} bytes")
    try:
        cause = orjson.loads(text.encode("latin-1"))
    except orjson.JSONDecodeError as error:
        raise bad_request(f"the header Fluyt-Cause is no JSON: {error}") from None
    if not isinstance(cause, dict):
        raise bad_request("the header Fluyt-Cause must be a JSON object")
    return cause


async def notes(call: Call, namespace: str, name: str, base: int) -> Sequence[pb.RequestOp]:
    """The put that keeps this write's cause. base: the revision the write changes, 0 for a new object."""
    cause, info = given(call), call.info
    if cause is None:
        if call.of.resource in _QUIET or info.subresource == "status":
            return ()
        cause = {"rule": f"user {call.user.name}: {info.verb}"}
    leases = call.server.cause_leases
    lease = await leases.current()
    if not lease:
        return ()
    number = base or max(call.server.storage.revision, call.server.feed.revision)
    key = f"{PREFIX}{call.of.resource}/{namespace or '-'}/{name}/{number:016x}"
    record = {
        "time": timestamp(datetime.now(UTC)),
        "verb": info.verb,
        "subresource": info.subresource,
        "user": call.user.name,
        "cause": cause,
    }
    return (put(key, orjson.dumps(record), lease=lease),)


def listed(page: Page) -> Object:
    """What GET /fluyt/causes/… answers."""
    items = [{"revision": str(stored.revision), **orjson.loads(stored.value)} for stored in page.items]
    return {"items": sorted(items, key=lambda item: int(item["revision"]))}


async def read(storage: Storage, resource: str, namespace: str, name: str) -> Object:
    """The causes of one object's writes, oldest first."""
    prefix = f"{PREFIX}{resource}/{namespace or '-'}/{name}/".encode()
    return listed(await storage.page(prefix, limit=_MOST))
