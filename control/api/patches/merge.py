"""JSON merge patch: RFC 7386. Content type application/merge-patch+json.

An object in the patch merges, null removes a key, anything else (lists too) replaces.
"""

from __future__ import annotations

from typing import Any

from control.api import status
from control.api.copying import copied
from control.api.patches.values import check

Json = Any


def apply(document: dict[str, Json], patch: Json) -> dict[str, Json]:
    """The document after the patch. StatusError 400: the patch is no object, or too deep."""
    if not isinstance(patch, dict):
        raise status.bad_request("a merge patch must be a JSON object")
    check(patch, "patch")
    merged: dict[str, Json] = _merge(document, patch)
    return merged


def _merge(target: Json, patch: Json) -> Json:
    if not isinstance(patch, dict):
        return copied(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge(result.get(key), value)
    return result
