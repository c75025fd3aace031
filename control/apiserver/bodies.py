"""Bodies of writes: JSON, YAML or Kubernetes' protobuf, checked against the kind they are for.

Source: "Resource representations" and "Field validation" in the Kubernetes API concepts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from control.api.body import read_json, read_yaml
from control.api.decode import IGNORE, STRICT, WARN, check_validation, decode
from control.api.kind import Kind
from control.api.schema import Json, Object
from control.api.status import StatusError, bad_request, quoted, unsupported_media_type
from control.apiserver.call import Call

JSON: Final = frozenset({"application/json", ""})
YAML: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
ACCEPTED: Final = ("application/json", "application/yaml", PROTOBUF)
# Bodies above this are parsed in a thread: 3 MiB of YAML would hold the loop for seconds.
_LONG: Final = 64 << 10


async def read_value(call: Call, *, required: bool = True) -> tuple[Json, Sequence[str]]:
    """(JSON value, paths of duplicate keys) of the body; (None, ()) for an empty one unless required. StatusError."""
    body = await call.body()
    if not body.strip() and not (body and call.content_type == PROTOBUF):
        if required:
            raise bad_request("the body of the request is empty: an object is expected")
        return None, ()
    if len(body) > _LONG:
        return await asyncio.to_thread(_parse, call.content_type, body)
    return _parse(call.content_type, body)


def _parse(content_type: str, body: bytes) -> tuple[Json, Sequence[str]]:
    try:
        if content_type in JSON:
            return read_json(body)
        if content_type in YAML:
            return read_yaml(body)
        if content_type == PROTOBUF:
            from control.api import protobuf

            return protobuf.decode(body).object, ()
    except RecursionError:
        raise bad_request("the body is nested too deeply") from None
    raise unsupported_media_type(ACCEPTED)


def validation_of(call: Call, default: str = WARN) -> str:
    """The value of fieldValidation."""
    validation = call.info.parameter("fieldValidation") or default
    check_validation(validation)
    return validation


async def read_object(call: Call, kind: Kind, api_version: str = "", name: str = "") -> Object:
    """The body as an object of that kind; what was ignored becomes warnings.

    api_version and name: what the object must call itself, if not what the kind says (bodies of subresources).
    """
    value, duplicates = await read_value(call)
    obj = checked(call, kind, value, duplicates, api_version or kind.api_version, name or kind.name)
    note(call, obj)
    return obj


def note(call: Call, body: Json) -> None:
    """Tell the audit log what the client sent. Once it is known to be what the URL is about, and not before: by the URL
    the audit policy keeps secrets out."""
    if call.audit is not None:
        call.audit.request_object(body)


async def parse_patch(call: Call, *, yaml: bool) -> Json:
    """A patch's body, whatever JSON value it is. StatusError 400, 413."""
    body = await call.body()
    content_type = "application/yaml" if yaml else "application/json"
    long = len(body) > _LONG
    value, _ = await asyncio.to_thread(_parse, content_type, body) if long else _parse(content_type, body)
    note(call, value)
    return value


def checked(
    call: Call,
    kind: Kind,
    value: Json,
    duplicates: Sequence[str] = (),
    api_version: str = "",
    name: str = "",
    validation: str = "",
) -> Object:
    """A JSON value as an object of the kind, whoever it came from."""
    api_version, name = api_version or kind.api_version, name or kind.name
    if isinstance(value, dict):
        _check_type(value, api_version, name)
        value = {"apiVersion": api_version, "kind": name, **_without(value, "apiVersion", "kind")}
    decoded = decode(kind, value, duplicates=duplicates, validation=validation_of(call, validation or WARN))
    call.warnings.extend(decoded.warnings)
    return decoded.object


def _without(value: Object, *names: str) -> Object:
    return {key: entry for key, entry in value.items() if key not in names}


def _check_type(value: Object, api_version: str, name: str) -> None:
    """Refuse an object that says it is something else than the URL does. Absent means the URL's."""
    given, said = value.get("apiVersion"), value.get("kind")
    if not isinstance(given, str | None) or not isinstance(said, str | None):
        raise bad_request("apiVersion and kind must be strings")
    given, said = given or api_version, said or name
    if given != api_version:
        raise bad_request(
            f"the API version in the data ({given}) does not match the expected API version ({api_version})"
        )
    if said != name:
        raise bad_request(f"{said} in version {quoted(given)} cannot be handled as a {name}")


async def read_options(call: Call, kind: str) -> Object:
    """DeleteOptions and the like, which clients may leave out; {} then. StatusError 400."""
    value, _ = await read_value(call, required=False)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad_request(f"a {kind} object is expected")
    said = value.get("kind")
    if said not in (None, "", kind):
        raise bad_request(f"{said} cannot be handled as a {kind}")
    from control.api.decode import WrongType, check_type

    try:
        options, _ = check_type(f"meta.v1.{kind}", _without(value, "apiVersion", "kind"))
    except WrongType as wrong:
        raise bad_request(f"{kind}: {wrong}") from None
    if not isinstance(options, dict):
        raise StatusError(400, "BadRequest", f"a {kind} object is expected")
    note(call, options)
    return options


__all__ = ["ACCEPTED", "IGNORE", "PROTOBUF", "STRICT", "checked", "note", "read_object", "read_options", "read_value"]
