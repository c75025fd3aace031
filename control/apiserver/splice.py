"""Objects as bytes: what is stored, and the resourceVersion put into it without parsing.

A stored value begins `{"apiVersion":…,"kind":…,"metadata":{"` and has no resourceVersion in it: its mod_revision is
that. Invariants: metadata is never empty (every object has a name or a uid); `"metadata":{` cannot occur before the
real one, since a quote inside a string is escaped.
"""

from __future__ import annotations

from typing import Any

import orjson

from control.api.schema import Object
from kvstore.invariant import invariant

_MARK = b'"metadata":{'
_FIRST = ("apiVersion", "kind", "metadata")


def to_value(obj: Object) -> bytes:
    """The object as it is stored. Raises TypeError for what JSON cannot hold, as integers above 64 bits."""
    metadata = {key: value for key, value in obj["metadata"].items() if key != "resourceVersion"}
    invariant(bool(metadata), "an object without metadata")
    ordered: dict[str, Any] = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    ordered.update((key, value) for key, value in obj.items() if key not in _FIRST)
    return orjson.dumps(ordered)


def with_revision(value: bytes, revision: int) -> bytes:
    """The stored value as clients see it, with resourceVersion in its metadata."""
    at = value.index(_MARK) + len(_MARK)
    return b'%b"resourceVersion":"%d",%b' % (value[:at], revision, value[at:])


def parse(value: bytes, revision: int) -> Object:
    """The stored value as an object, with its resourceVersion."""
    obj: Object = orjson.loads(value)
    obj["metadata"]["resourceVersion"] = str(revision)
    return obj
