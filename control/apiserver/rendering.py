"""Objects and lists as the client wants them: stored bytes, another version, a Table, metadata only; JSON or YAML.

Big lists go out in pieces, made one after another as the connection takes them, so that nothing holds the loop for
long and memory holds little more than the objects themselves.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Hashable, Iterable
from datetime import UTC, datetime
from typing import Final

import orjson
import yaml

from control.api.kind import Kind
from control.api.schema import Object
from control.api.table import check_include, row, table
from control.apiserver import conversion
from control.apiserver.answer import Answer, json_answer
from control.apiserver.cached import Cached, Change, EventType, event_line
from control.apiserver.lister import SLICE_SECONDS, Listed
from control.apiserver.negotiate import Form
from control.apiserver.watcher import Plain, Renderer

PIECE: Final = 128 << 10
_FEW: Final = 200
GZIP_FROM: Final = 128 << 10


def show(kind: Kind, obj: Object, form: Form, *, code: int = 200, include: str = "Metadata") -> Answer:
    """One object. include: what a Table's rows carry (includeObject)."""
    if form.shape == "Table":
        return _encoded(_table(kind, [obj], form, include, _revision(obj)), form, code)
    if form.shape == "PartialObjectMetadata":
        return _encoded(partial(obj, form), form, code)
    return _encoded(obj, form, code)


def show_objects(kind: Kind, objects: list[Object], form: Form, include: str) -> Answer:
    """A list of objects that are not stored."""
    if form.shape == "Table":
        return _encoded(_table(kind, objects, form, include, {}), form, 200)
    items = [partial(obj, form) for obj in objects] if form.shape else objects
    body = {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": {}, "items": items}
    return _encoded(body, form, 200)


def show_cached(kind: Kind, cached: Cached, form: Form, include: str) -> Answer:
    """One object from memory: its bytes when nothing is to be changed."""
    if form.plain and conversion.as_stored(kind, cached.data):
        return Answer(body=cached.data)
    return show(kind, conversion.from_stored(kind, cached.object()), form, include=include)


def _encoded(obj: Object, form: Form, code: int) -> Answer:
    if not form.yaml:
        return json_answer(obj, code)
    text = yaml.dump(obj, Dumper=_DUMPER, default_flow_style=False, sort_keys=False, allow_unicode=True)
    return Answer(code, text.encode(), b"application/yaml", object=obj)


_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _table(kind: Kind, objects: Iterable[Object], form: Form, include: str, metadata: Object) -> Object:
    found = table(kind, objects, now=datetime.now(UTC), include=include, metadata=metadata)
    found["apiVersion"] = f"meta.k8s.io/{form.version}"
    return found


def _revision(obj: Object) -> Object:
    """A Table's metadata for a single object."""
    return {"resourceVersion": obj["metadata"].get("resourceVersion", "")}


def partial(obj: Object, form: Form) -> Object:
    """An object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": obj.get("metadata") or {},
    }


def list_metadata(listed: Listed) -> Object:
    metadata: Object = {"resourceVersion": str(listed.revision)}
    if listed.token:
        metadata["continue"] = listed.token
        if listed.remaining >= 0:
            metadata["remainingItemCount"] = listed.remaining
    return metadata


async def show_list(kind: Kind, listed: Listed, form: Form, include: str, gzip: bool) -> Answer:
    """A list, as a stream when it is long."""
    if form.shape == "Table":
        check_include(include)
    if form.yaml:
        return await _as_yaml(kind, listed, form, include)
    pieces = _pieces(kind, listed, form, include)
    if len(listed.items) < _FEW and sum(len(cached.data) for cached in listed.items) <= PIECE:
        return Answer(body=b"".join([piece async for piece in pieces]))
    return _streamed(pieces, gzip)


async def _as_yaml(kind: Kind, listed: Listed, form: Form, include: str) -> Answer:
    """YAML is for people: it is put together from the JSON, in a thread when it is long."""
    text = b"".join([piece async for piece in _pieces(kind, listed, form, include)])
    if len(listed.items) < _FEW:
        return _encoded(orjson.loads(text), form, 200)
    return await asyncio.to_thread(lambda: _encoded(orjson.loads(text), form, 200))


def _head(kind: Kind, listed: Listed, form: Form, include: str) -> bytes:
    """The list's JSON up to its items (or rows)."""
    metadata = list_metadata(listed)
    if form.shape == "Table":
        whole = orjson.dumps(_table(kind, [], form, include, metadata))
        return whole.removesuffix(b'"rows":[]}') + b'"rows":['
    name = "PartialObjectMetadataList" if form.shape else kind.list_kind
    version = f"meta.k8s.io/{form.version}" if form.shape else kind.api_version
    head = b'{"kind":"%b","apiVersion":"%b","metadata":%b,"items":['
    return head % (name.encode(), version.encode(), orjson.dumps(metadata))


async def _pieces(kind: Kind, listed: Listed, form: Form, include: str) -> AsyncIterator[bytes]:
    """The list's JSON in pieces of about PIECE bytes."""
    parts = [_head(kind, listed, form, include)]
    size, comma = 0, b""
    now, started = datetime.now(UTC), time.perf_counter()
    for cached in listed.items:
        data = _item(kind, cached, form, include, now)
        parts.append(comma + data)
        comma = b","
        size += len(data)
        if size >= PIECE or time.perf_counter() - started > SLICE_SECONDS:
            yield b"".join(parts)
            parts, size = [], 0
            await asyncio.sleep(0)
            started = time.perf_counter()
    parts.append(b"]}")
    yield b"".join(parts)


def _item(kind: Kind, cached: Cached, form: Form, include: str, now: datetime) -> bytes:
    if form.shape == "Table":
        return orjson.dumps(row(kind, conversion.from_stored(kind, cached.object()), now=now, include=include))
    if form.shape:
        return orjson.dumps(partial(cached.object(), form))
    if conversion.as_stored(kind, cached.data):
        return cached.data
    return orjson.dumps(conversion.from_stored(kind, cached.object()))


def _streamed(pieces: AsyncIterator[bytes], gzip: bool, media_type: bytes = b"application/json") -> Answer:
    if not gzip:
        return Answer(stream=pieces, media_type=media_type)
    headers = [(b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]
    return Answer(stream=compressed(pieces), headers=headers, media_type=media_type)


async def compressed(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, gzipped: fast rather than small, and off the loop."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    async for piece in pieces:
        packed = await asyncio.to_thread(packer.compress, piece)
        if packed:
            yield packed
    yield packer.flush()


async def compressed_bytes(body: bytes) -> bytes:
    """The whole, gzipped off the loop."""
    return await asyncio.to_thread(zlib.compress, body, 1, 31)


class Tables:
    """Watch events whose objects are one-row Tables; the columns come with every one."""

    def __init__(self, kind: Kind, form: Form, include: str) -> None:
        self._kind, self._form, self._include = kind, form, include
        self.identity: Hashable = ("Table", kind.api_version, form.version, include)

    def render(self, kind: EventType, change: Change) -> bytes:
        obj = conversion.from_stored(self._kind, change.shown(kind).object())
        shown = _table(self._kind, [obj], self._form, self._include, _revision(obj))
        return event_line(kind, orjson.dumps(shown))


class Partials:
    """Watch events with metadata only."""

    def __init__(self, kind: Kind, form: Form) -> None:
        self._form = form
        self.identity: Hashable = ("PartialObjectMetadata", kind.api_version, form.version)

    def render(self, kind: EventType, change: Change) -> bytes:
        return event_line(kind, orjson.dumps(partial(change.shown(kind).object(), self._form)))


class Converted:
    """Watch events of kinds whose stored version may be another."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.identity: Hashable = ("json", kind.api_version)

    def render(self, kind: EventType, change: Change) -> bytes:
        shown = change.shown(kind)
        if conversion.as_stored(self._kind, shown.data):
            return change.line(kind)
        return event_line(kind, orjson.dumps(conversion.from_stored(self._kind, shown.object())))


def renderer_of(kind: Kind, form: Form, include: str) -> Renderer:
    """How a watch shows its objects."""
    if form.shape == "Table":
        check_include(include)
        return Tables(kind, form, include)
    if form.shape:
        return Partials(kind, form)
    return Converted(kind) if kind.storage_version or kind.custom else Plain()
