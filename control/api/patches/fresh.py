"""The fieldsV1 of an object that is just being created, in one pass.

Creates are the most frequent writes, and nobody owned anything before: so the set needs no comparing, no union and no
difference. Invariant: the result is what compare({}, new), without what is unowned or ignored, serialises to; a value
that the general way treats specially (two elements of one key) is left to it.
"""

from __future__ import annotations

from typing import Any, Final

from control.api.patches.fieldsets import key_edge, value_edge
from control.api.patches.views import DEDUCED, View

Json = Any
Fields = dict[str, Any]

_TOP: Final = frozenset({"apiVersion", "kind"})
_METADATA: Final = frozenset(
    {
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    }
)  # fmt: skip


class _Special(Exception):
    """The general way is needed."""


def fields_of_new(new: Json, view: View, ignored: str = "") -> Fields | None:
    """fieldsV1 of all that a create sets, {} for nothing; None: ask the general way.

    ignored: the field at the top that the endpoint does not write ("status"), "" for none.
    """
    found: Fields = {}
    standing = view.standing()
    try:
        for name in sorted(new):
            value = new[name]
            if name in _TOP or name == ignored or value is None:
                continue
            below = view.child(name) or DEDUCED
            if name == "metadata":
                rest = {key: part for key, part in value.items() if key not in _METADATA}
                node = _standing(rest, below)
            elif name in standing and isinstance(value, dict | list):
                node = _standing(value, below)
            else:
                found[f"f:{name}"] = _whole(value, below)
                continue
            if node is not None:
                found[f"f:{name}"] = node
    except _Special:
        return None
    return found


def _standing(value: Json, view: View) -> Fields | None:
    """What stands in a place that Go always writes: it is not owned itself, only what is in it. None: nothing is."""
    if not value:
        return None
    shape = view.shape(value)
    if shape == "leaf":
        return {}
    if shape != "map":
        return _listed(value, view, shape)
    found: Fields = {}
    standing = view.standing()
    for name in sorted(value):
        part = value[name]
        if part is None:
            continue
        below = view.child(name) or DEDUCED
        if name in standing and isinstance(part, dict | list):
            node = _standing(part, below)
            if node is not None:
                found[f"f:{name}"] = node
        else:
            found[f"f:{name}"] = _whole(part, below)
    return found or None


def _listed(value: Json, view: View, shape: str) -> Fields:
    """The elements of a set or of an associative list, by edge."""
    if shape == "set":
        found: Fields = {edge: {} for edge in sorted(value_edge(part) for part in value)}
    else:
        elements = dict(_elements(value, view))
        found = {edge: elements[edge] for edge in sorted(elements)}
    if len(found) != len(value):
        raise _Special
    return found


def _whole(value: Json, view: View) -> Fields:
    """A value that was not there at all: it, and everything in it."""
    shape = view.shape(value)
    if shape == "leaf" or not value:
        return {}
    if shape != "map":
        return {".": {}, **_listed(value, view, shape)}
    found: Fields = {".": {}}
    for name in sorted(value):
        part = value[name]
        if part is not None:
            found[f"f:{name}"] = _whole(part, view.child(name) or DEDUCED)
    return found if len(found) > 1 else {}


def _elements(value: Json, view: View) -> list[tuple[str, Fields]]:
    keys, below = view.keys, view.element()
    found = []
    for part in value:
        if not isinstance(part, dict):
            raise _Special
        edge = key_edge({name: part.get(name, default) for name, default in keys.items()})
        found.append((edge, _whole(part, below)))
    return found
