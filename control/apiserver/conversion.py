"""Between the version a request names and the one that is stored."""

from __future__ import annotations

from control.api.kind import Kind
from control.api.schema import Object


def from_stored(kind: Kind, obj: Object) -> Object:
    """The stored object in the kind's version; the object itself when that is the stored version."""
    if not kind.storage_version:
        return obj
    from control.api.convert import convert

    return convert(obj, kind.api_version)


def to_stored(kind: Kind, obj: Object) -> Object:
    """The object as it is stored."""
    if not kind.storage_version:
        return obj
    from control.api.convert import convert

    return convert(obj, kind.storage_version)
