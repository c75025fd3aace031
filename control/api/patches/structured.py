"""Values under a view: which fields they have, how two of them differ, how one merges into another.

Absent and null are one thing here, as they are for Go's decoders.

Source: the behaviour of "structured merge diff" v4 as the documentation of server-side apply describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from control.api import status
from control.api.copying import copied
from control.api.patches.fieldsets import EMPTY, LEAF, FieldSet, Path, key_edge, name_edge, text, value_edge
from control.api.patches.values import equal
from control.api.patches.views import DEDUCED, View

Json = Any


@dataclass(frozen=True, slots=True)
class Difference:
    """What a new value has more, other and less than an old one."""

    added: FieldSet = EMPTY
    modified: FieldSet = EMPTY
    removed: FieldSet = EMPTY

    @property
    def changed(self) -> FieldSet:
        """What somebody must have written: added and modified."""
        return self.added | self.modified

    def without(self, paths: FieldSet) -> Difference:
        """This difference without those paths and all below them."""
        cut = (part.without_trees(paths) for part in (self.added, self.modified, self.removed))
        return Difference(*cut)


NONE: Final = Difference()


def fields_of(value: Json, view: View, path: Path = ()) -> FieldSet:
    """The fields an applied object sets: its leaves, empty containers, and elements of lists.

    StatusError 422: a field the schema does not have, an element without its keys, or two of one key.
    """
    shape = view.shape(value)
    if shape == "leaf" or not value:
        return LEAF
    children: dict[str, FieldSet] = {}
    for edge, part, below in _parts(value, view, shape, path, strict=True):
        if edge in children:
            raise _refused(path, f"duplicate entries for key {text((edge,))}")
        node = fields_of(part, below, (*path, edge))
        children[edge] = node if shape == "map" else node | LEAF
    return FieldSet(False, children)


def compare(old: Json, new: Json, view: View) -> Difference:
    """How `new` differs from `old`."""
    # Equality in Python takes 1 for True, which costs an owner of that one change, and spares most of the work.
    if old is new or old == new:
        return NONE
    if old is None:
        return Difference(added=_whole(new, view))
    if new is None:
        return Difference(removed=_whole(old, view))
    shape = view.shape(new)
    if shape != view.shape(old):
        return Difference(_below(new, view), LEAF, _below(old, view))
    if shape == "leaf":
        return NONE if equal(old, new) else Difference(modified=LEAF)
    return _compare_parts(old, new, view)


def _compare_parts(old: Json, new: Json, view: View) -> Difference:
    if isinstance(new, dict):
        # What is equal needs neither edge nor view, and that is most of an object.
        names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        old, new = ({name: value[name] for name in names if name in value} for value in (old, new))
    before, after = _indexed(old, view), _indexed(new, view)
    added: dict[str, FieldSet] = {}
    modified: dict[str, FieldSet] = {}
    removed: dict[str, FieldSet] = {}
    standing = view.standing() if isinstance(new, dict) else frozenset()
    for edge in before.keys() | after.keys():
        one, below = before.get(edge) or (None, after[edge][1] if edge in after else DEDUCED)
        two = after[edge][0] if edge in after else None
        if (one is None or two is None) and edge[2:] in standing:
            present = two if one is None else one
            if isinstance(present, dict | list):
                one, two = (
                    {} if v is None and isinstance(present, dict) else [] if v is None else v for v in (one, two)
                )
        part = compare(one, two, below)
        for found, into in ((part.added, added), (part.modified, modified), (part.removed, removed)):
            if found:
                into[edge] = found
    return Difference(FieldSet(False, added), FieldSet(False, modified), FieldSet(False, removed))


def _whole(value: Json, view: View) -> FieldSet:
    return _below(value, view) | LEAF


def _below(value: Json, view: View) -> FieldSet:
    parts = _indexed(value, view) if view.shape(value) != "leaf" else {}
    return FieldSet(False, {edge: _whole(part, below) for edge, (part, below) in parts.items() if part is not None})


def _indexed(value: Json, view: View) -> dict[str, tuple[Json, View]]:
    """The parts of a stored container by edge; the elements of one key together are one leaf."""
    found: dict[str, tuple[Json, View]] = {}
    for edge, part, below in _parts(value, view, view.shape(value), (), strict=False):
        found[edge] = ([found[edge][0], part], DEDUCED) if edge in found else (part, below)
    return found


def _parts(value: Json, view: View, shape: str, path: Path, *, strict: bool) -> list[tuple[str, Json, View]]:
    if shape == "map":
        return [(name_edge(name), part, _child(view, name, path, strict)) for name, part in value.items()]
    below = view.element()
    if shape == "set":
        return [(value_edge(part), part, DEDUCED) for part in value]
    keys = view.keys
    return [(_key_of(part, keys, number, path, strict), part, below) for number, part in enumerate(value)]


def _child(view: View, name: str, path: Path, strict: bool) -> View:
    found = view.child(name)
    if found is None and strict:
        raise _refused((*path, name_edge(name)), "field not declared in schema")
    return found or DEDUCED


def _key_of(part: Json, keys: Mapping[str, Json], number: int, path: Path, strict: bool) -> str:
    if not isinstance(part, dict):
        if strict:
            raise _refused(path, f"element {number}: associative list with keys may not have non-map elements")
        return value_edge(part)
    found = {name: part.get(name, default) for name, default in keys.items()}
    for name, value in found.items():
        if value is None and strict:
            reason = f'associative list with keys has an element that omits key field "{name}"'
            raise _refused(path, f"element {number}: {reason} (and doesn't have default value)")
    return key_edge(found)


def _refused(path: Path, why: str) -> status.StatusError:
    return status.unprocessable(f"failed to create typed patch object: {text(path) or '.'}: {why}")


def merge(live: Json, config: Json, view: View) -> Json:
    """`live` with everything that `config` sets. Lists: elements of config in its order, those of live between them."""
    shape = view.shape(config)
    if shape == "leaf" or live is None or view.shape(live) != shape:
        return copied(config)
    if shape == "map":
        result = dict(live)
        for name, part in config.items():
            result[name] = merge(live.get(name), part, view.child(name) or DEDUCED)
        return result
    return _merge_lists(_indexed(live, view), _indexed(config, view))


def _merge_lists(live: dict[str, tuple[Json, View]], config: dict[str, tuple[Json, View]]) -> list[Json]:
    result: list[Json] = []
    own = iter(config.items())
    waiting = list(reversed(live))
    for edge, (part, view) in own:
        while waiting and waiting[-1] not in config:
            result.append(live[waiting.pop()][0])
        present = live[edge][0] if edge in live and live[edge][1] is not DEDUCED else None
        result.append(merge(present, part, view))
        if waiting and waiting[-1] == edge:
            waiting.pop()
    return result + [live[edge][0] for edge in reversed(waiting) if edge not in config]


def prune(value: Json, view: View, last: FieldSet, owned: FieldSet) -> Json:
    """`value` without what `last` had and nobody has any more. owned: what all managers have now."""
    shape = view.shape(value)
    if shape == "leaf" or not last.children:
        return value
    kept = []
    for edge, part, below in _parts(value, view, shape, (), strict=False):
        before, now = last.children.get(edge), owned.children.get(edge, EMPTY)
        if before is None:
            kept.append((edge, part))
            continue
        if _holds(before, edge) and not _holds(now, edge):
            continue
        rest = prune(part, below, before, now)
        if rest or not isinstance(rest, dict | list) or not part:
            kept.append((edge, rest))
    return {edge[2:]: part for edge, part in kept} if shape == "map" else [part for _, part in kept]


def _holds(node: FieldSet, edge: str) -> bool:
    # A field that holds owned fields is owned itself; an element of a list must be named to be.
    return node.member or (edge.startswith("f:") and bool(node.children))
