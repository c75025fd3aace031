"""Objects as bytes: what is stored, and the resourceVersion put into it without parsing.

A stored value begins `{"apiVersion":…,"kind":…,"metadata":{"` and has no resourceVersion in it: its mod_revision is
that. Invariant: metadata is never empty (every object has a name or a uid). Values that others wrote into the store
may look otherwise; they are parsed.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from control.api.schema import Object
from kvstore.invariant import invariant

_BEGINNING = re.compile(rb'\{"apiVersion":"[^"\\]*","kind":"[^"\\]*","metadata":\{(?=")')
_FIRST = ("apiVersion", "kind", "metadata")


def to_value(obj: Object) -> bytes:
    """The object as it is stored. Raises TypeError for what JSON cannot hold, as integers above 64 bits."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    invariant(bool(metadata), "an object without metadata")
    ordered: dict[str, Any] = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    ordered.update((key, value) for key, value in obj.items() if key not in _FIRST)
    return orjson.dumps(ordered)


def with_revision(value: bytes, revision: int) -> bytes:
    """The stored value as clients see it, with resourceVersion in its metadata. ValueError: it is no object."""
    beginning = _BEGINNING.match(value)
    if beginning is None:
        return _rewritten(value, revision)
    at = beginning.end()
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def _rewritten(value: bytes, revision: int) -> bytes:
    """The same for a value that was not written by us."""
    obj = orjson.loads(value)
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict) or not obj["metadata"].get("name"):
        raise ValueError("no object with a name in its metadata")
    if not isinstance(obj.get("apiVersion"), str) or not isinstance(obj.get("kind"), str):
        raise ValueError("no object with apiVersion and kind")
    obj["metadata"].pop("resourceVersion", None)
    return with_revision(to_value(obj), revision)


def parse(value: bytes, revision: int) -> Object:
    """The stored value as an object, with its resourceVersion."""
    obj: Object = orjson.loads(value)
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj
