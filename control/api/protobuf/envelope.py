"""`k8s\\0` and runtime.Unknown: which type the message inside a protobuf body has, and the whole of it as JSON.

Source: k8s.io/apimachinery's runtime/generated.proto: Unknown{1: TypeMeta{1: apiVersion, 2: kind}, 2: raw,
3: contentEncoding, 4: contentType}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from control.api import status
from control.api.protobuf import encode as writing
from control.api.protobuf.decode import Reader
from control.api.protobuf.leaves import text
from control.api.protobuf.wire import WireError, fields, tagged
from control.api.schema import Object, ObjectType, lookup

CONTENT_TYPE: Final = "application/vnd.kubernetes.protobuf"
MAGIC: Final = b"k8s\0"

# Bodies whose apiVersion is the request's group, and whose type is always that of meta/v1.
_OPTIONS: Final = frozenset(
    {"DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions", "GetOptions", "ListOptions", "Status"}
)


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body's object with apiVersion and kind set; warnings: one sentence per field that was skipped."""

    api_version: str
    kind: str
    object: Object
    warnings: tuple[str, ...]


def type_of(api_version: str, kind: str) -> ObjectType | None:
    """The schema table's type of a built-in kind, as ("apps/v1", "Deployment"); None: there is none."""
    group, _, version = api_version.rpartition("/")
    package = f"{group.split('.')[0] or 'core'}.{version}"
    try:
        found = lookup("meta.v1." + kind if kind in _OPTIONS else f"{package}.{kind}")
    except KeyError:
        return None
    return found if found.kind else None


def decode(body: bytes, api_version: str = "", kind: str = "") -> Decoded:
    """The object in a protobuf body; api_version and kind are for bodies that do not name their own.

    StatusError 400: no `k8s\\0` message, truncated, or of another type; 415: of a kind without a protobuf form.
    """
    if not body.startswith(MAGIC):
        raise status.bad_request("the body does not begin as a Kubernetes protobuf message does (k8s and a zero byte)")
    try:
        return _decode(body[len(MAGIC) :], api_version, kind)
    except WireError as e:
        raise status.bad_request(f"the body is no Kubernetes protobuf message: {e}") from None


def _decode(data: bytes, api_version: str, kind: str) -> Decoded:
    members = {number: value for number, _, value in fields(data) if isinstance(value, bytes)}
    named = {number: text(value) for number, _, value in fields(members.get(1, b"")) if isinstance(value, bytes)}
    api_version, kind = named.get(1) or api_version, named.get(2) or kind
    if members.get(4) == b"application/json":
        return Decoded(api_version, kind, _json(members.get(2, b"")), ())
    of = type_of(api_version, kind)
    if of is None:
        raise status.unsupported_media_type(["application/json", "application/yaml"])
    reader = Reader()
    content = reader.message(members.get(2, b""), of)
    warnings = tuple(f'unknown field number at "{path}"' for path in reader.unknown)
    return Decoded(api_version, kind, {"apiVersion": api_version, "kind": kind, **content}, warnings)


def _json(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise WireError(f"its content is no JSON: {e}") from None
    if not isinstance(value, dict):
        raise WireError("its content is no JSON object")
    return value


def encode(value: Object) -> bytes:
    """The protobuf body of an object of a built-in kind. KeyError: no such kind."""
    api_version, kind = value["apiVersion"], value["kind"]
    of = type_of(api_version, kind)
    if of is None:
        raise KeyError(f"{api_version} {kind}")
    meta = tagged(1, api_version.encode()) + tagged(2, kind.encode())
    raw = writing.message({k: v for k, v in value.items() if k not in ("apiVersion", "kind")}, of)
    return MAGIC + tagged(1, meta) + tagged(2, raw) + tagged(3, b"") + tagged(4, b"")
