"""What the server's types are: /openapi/v3, its documents, and /openapi/v2 as JSON or protobuf.

The documents take a noticeable part of a second to build, so a thread builds them; one build at a time, for every
client of a fresh server asks at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakKeyDictionary

from control.api.documents import Document
from control.api.openapi import OpenApi
from control.api.openapi.gnostic import ACCEPTED
from control.api.status import no_such_path
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.handlers.discovery import answer_with
from control.apiserver.handlers.nonresource import version
from control.apiserver.resources import Resources


@dataclass(slots=True)
class _Edition:
    """The documents of a catalogue's edition, and the lock of their building."""

    edition: int = -1
    documents: OpenApi | None = None
    building: asyncio.Lock = field(default_factory=asyncio.Lock)


_made: Final[WeakKeyDictionary[Resources, _Edition]] = WeakKeyDictionary()


async def serve(call: Call) -> Answer:
    """The document. StatusError 404: no such group or version."""
    parts = [part for part in call.info.path.split("/") if part][1:]
    match parts:
        case ["v2"]:
            protobuf = any(name in call.headers.get("accept", "") for name in ACCEPTED)
            document = await _built(call, (lambda made: made.v2_protobuf) if protobuf else (lambda made: made.v2))
        case ["v3"]:
            document = await _built(call, lambda made: made.index)
        case ["v3", *path]:
            document = await _built(call, lambda made: made.document("/".join(path)))
        case _:
            document = None
    if document is None:
        raise no_such_path()
    return await answer_with(call, document)


async def _built(call: Call, choose: Callable[[OpenApi], Document | None]) -> Document | None:
    """A document of the catalogue as it is now."""
    resources = call.server.resources
    own = _made.setdefault(resources, _Edition())
    async with own.building:
        if own.documents is None or own.edition != resources.edition:
            own.edition = resources.edition
            own.documents = OpenApi(resources.catalogue, version()["gitVersion"], own.documents)
        return await asyncio.to_thread(choose, own.documents)
