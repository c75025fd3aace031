"""Between the version a request names and the one that is stored.

Custom objects stay in the version they were written in when their definition names another one as stored; versions of a
custom kind differ in apiVersion only.
"""

from __future__ import annotations

from control.api.convert import convert
from control.api.kind import Kind
from control.api.schema import Object


def from_stored(kind: Kind, obj: Object) -> Object:
    """The stored object in the kind's version; the object itself when nothing differs."""
    if obj["apiVersion"] == kind.api_version:
        return obj
    if kind.custom:
        return {**obj, "apiVersion": kind.api_version}
    return convert(obj, kind.api_version)


def to_stored(kind: Kind, obj: Object) -> Object:
    """The object as it is stored."""
    if not kind.storage_version:
        return obj
    if kind.custom:
        return {**obj, "apiVersion": kind.storage_version}
    return convert(obj, kind.storage_version)


def as_stored(kind: Kind, data: bytes) -> bool:
    """Whether stored bytes are in the kind's version already."""
    if kind.custom:
        return data.startswith(b'{"apiVersion":"%b",' % kind.api_version.encode())
    return not kind.storage_version
