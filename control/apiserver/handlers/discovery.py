"""What is served: /api, /apis and below, in the old and in the aggregated form."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

from control.api.discovery import AGGREGATED_VERSIONS, GROUP, Discovery
from control.api.documents import Document
from control.api.status import no_such_path
from control.apiserver.answer import Answer
from control.apiserver.call import Call
from control.apiserver.negotiate import accepts_gzip
from control.apiserver.rendering import GZIP_FROM, compressed_bytes
from control.apiserver.resources import Resources

_made: Final[WeakKeyDictionary[Resources, tuple[int, Discovery]]] = WeakKeyDictionary()


async def serve(call: Call) -> Answer:
    """The document. StatusError 404: no such group or version."""
    discovery = _of(call)
    parts = [part for part in call.info.path.split("/") if part]
    match parts:
        case ["api"] | ["apis"]:
            document: Document | None = _root(call, discovery, parts[0] == "api")
        case ["api", version]:
            document = discovery.version("", version)
        case ["apis", group]:
            document = discovery.group(group)
        case ["apis", group, version]:
            document = discovery.version(group, version)
        case _:
            document = None
    if document is None:
        raise no_such_path()
    return await answer_with(call, document)


def _of(call: Call) -> Discovery:
    """The documents of the catalogue as it is now."""
    resources = call.server.resources
    found = _made.get(resources)
    if found is None or found[0] != resources.edition:
        settings = call.server.settings
        address = f"{settings.advertise_address}:{settings.secure_port}" if settings.advertise_address else ""
        found = _made[resources] = (resources.edition, Discovery(resources.catalogue, address))
    return found[1]


def _root(call: Call, discovery: Discovery, core: bool) -> Document:
    accept = call.headers.get("accept", "")
    for clause in accept.split(","):
        words = {part.strip() for part in clause.split(";")}
        if "as=APIGroupDiscoveryList" not in words or f"g={GROUP}" not in words:
            continue
        version = next((v for v in AGGREGATED_VERSIONS if f"v={v}" in words), None)
        if version is not None:
            return discovery.aggregated(core=core, version=version)
    return discovery.api if core else discovery.apis


async def answer_with(call: Call, document: Document) -> Answer:
    """A document, unless the client has it already (If-None-Match)."""
    headers = [(b"etag", document.etag.encode()), (b"vary", b"Accept")]
    if call.headers.get("if-none-match") == document.etag:
        # The type stands in for the stored one in client-go's cache: without it the document is misread.
        return Answer(304, media_type=document.content_type.encode(), headers=headers)
    body = document.body
    if len(body) > GZIP_FROM and accepts_gzip(call.headers.get("accept-encoding", "")):
        body = await compressed_bytes(body)
        headers.append((b"content-encoding", b"gzip"))
    return Answer(body=body, media_type=document.content_type.encode(), headers=headers)
