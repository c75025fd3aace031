"""The fieldsV1 of a new object, made in one pass, is what the general bookkeeping says."""

from __future__ import annotations

import json
import random
from typing import Any

from control.api.catalogue import BUILTIN
from control.api.patches import apply, views
from control.api.patches.fieldsets import EMPTY
from control.api.patches.fresh import fields_of_new
from control.api.schema import Type

_SCALARS: dict[str, Any] = {"bool": True, "int32": 3, "int64": 4, "uint32": 5, "float64": 0.5, "byte": 6}


def _value(of: Type, chance: random.Random, depth: int) -> Any:
    """A value of that type, sparse enough to end."""
    if of.list is not None:
        return [_value(of.list, chance, depth - 1) for _ in range(chance.randrange(3) if depth > 0 else 0)]
    if of.map is not None:
        return {f"k{n}": _value(of.map, chance, depth - 1) for n in range(chance.randrange(3) if depth > 0 else 0)}
    if of.object is not None:
        fields = of.object.fields.values()
        chosen = [f for f in fields if f.name not in ("apiVersion", "kind") and chance.random() < 0.4]
        return {f.name: _value(f.type, chance, depth - 1) for f in chosen} if depth > 0 else {}
    if of.scalar in ("raw", "json", "fields"):
        return {"any": {"thing": [1]}}
    return _SCALARS.get(of.scalar, f"text-{chance.randrange(100)}")


def test_one_pass_equals_the_general_way(seed: int) -> None:
    chance = random.Random(seed)
    compared = 0
    for kind in BUILTIN:
        if not kind.stored:
            continue
        view, status = views.table(kind.object_type), "status" in kind.subresources
        for _ in range(6):
            obj = _value(Type(ref=kind.type), chance, 6)
            obj["metadata"] = {"name": "x", "namespace": "y", "labels": {"a": "b"}, **obj.get("metadata", {})}
            obj["metadata"].pop("managedFields", None)
            obj |= {"apiVersion": kind.api_version, "kind": kind.name}
            write = apply.Write(view, "m", kind.api_version, "2026-01-01T00:00:00Z", ignored=apply.STATUS)
            if not status:
                write = apply.Write(view, "m", kind.api_version, "2026-01-01T00:00:00Z", ignored=EMPTY)
            entries = apply.track(None, obj, write)["metadata"].get("managedFields") or [{"fieldsV1": {}}]
            made = fields_of_new(obj, view, "status" if status else "")
            if made is None:
                continue
            compared += 1
            assert json.dumps(made) == json.dumps(entries[0]["fieldsV1"]), (kind.resource, obj)
    assert compared > 200
