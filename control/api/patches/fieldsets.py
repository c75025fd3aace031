"""Sets of field paths, as managedFields keeps them ("fieldsV1").

A set is a tree. An edge is a path element in its serialised form: "f:name" a field or a map's key, 'k:{"name":"x"}' an
element of a list by its keys, 'v:"x"' one by its value, "i:0" one by its place. A node is a member ("." in JSON, or a
node without children) or only on the way to members.

Invariant: every node but the root is a member or has children; so an empty set is a root without children.

Source: "Server-Side Apply" in the documentation of Kubernetes; fieldsV1 in the API reference of ManagedFieldsEntry.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Json = Any
Path = tuple[str, ...]

MAX_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class FieldSet:
    """A set of paths; immutable. bool(set) tells whether it has any."""

    member: bool = False
    children: Mapping[str, FieldSet] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.member or bool(self.children)

    def __or__(self, other: FieldSet) -> FieldSet:
        """Union."""
        if not other:
            return self
        children = dict(self.children)
        for edge, node in other.children.items():
            children[edge] = children[edge] | node if edge in children else node
        return FieldSet(self.member or other.member, children)

    def __sub__(self, other: FieldSet) -> FieldSet:
        """The paths of this set that the other does not have; a path below a path is a path of its own."""
        if not other:
            return self
        kept = {e: node - other.children[e] if e in other.children else node for e, node in self.children.items()}
        return FieldSet(self.member and not other.member, {e: node for e, node in kept.items() if node})

    def __and__(self, other: FieldSet) -> FieldSet:
        """Intersection."""
        both = {e: node & other.children[e] for e, node in self.children.items() if e in other.children}
        return FieldSet(self.member and other.member, {e: node for e, node in both.items() if node})

    def without_trees(self, paths: FieldSet) -> FieldSet:
        """This set without the paths given and all below them."""
        kept: dict[str, FieldSet] = {}
        for edge, node in self.children.items():
            cut = paths.children.get(edge)
            rest = node if cut is None else FieldSet() if cut.member else node.without_trees(cut)
            if rest:
                kept[edge] = rest
        return FieldSet(self.member, kept)

    def paths(self, prefix: Path = ()) -> Iterator[Path]:
        """All paths, each element serialised, sorted."""
        if self.member:
            yield prefix
        for edge in sorted(self.children):
            yield from self.children[edge].paths((*prefix, edge))

    def has(self, path: Path) -> bool:
        """Whether exactly this path is in the set."""
        node: FieldSet | None = self
        for edge in path:
            node = node.children.get(edge) if node is not None else None
        return node is not None and node.member


EMPTY: Final = FieldSet()
LEAF: Final = FieldSet(member=True)


def of_paths(*paths: str) -> FieldSet:
    """The set of plain field paths as "metadata.name"."""
    found = EMPTY
    for path in paths:
        node = LEAF
        for name in reversed(path.split(".")):
            node = FieldSet(False, {f"f:{name}": node})
        found |= node
    return found


def name_edge(name: str) -> str:
    return f"f:{name}"


def key_edge(keys: Mapping[str, Json]) -> str:
    """The element of a list whose key fields have these values."""
    return "k:" + _dump(dict(keys))


def value_edge(value: Json) -> str:
    """The element of a set with this value."""
    return "v:" + _dump(value)


def _dump(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse(fields: Json, depth: int = 0) -> FieldSet:
    """The set of a fieldsV1 object. ValueError: it is none, or nested too deep."""
    if not isinstance(fields, dict):
        raise ValueError("fieldsV1 must be an object of objects")
    if depth > MAX_DEPTH:
        raise ValueError(f"fieldsV1 is nested deeper than {MAX_DEPTH} levels")
    children = {_edge(key): parse(value, depth + 1) for key, value in fields.items() if key != "."}
    if depth == 0:
        return FieldSet(False, children)
    return FieldSet("." in fields or not children, children)


def _edge(text: str) -> str:
    kind, _, content = text.partition(":")
    if kind == "f":
        return text
    if kind not in ("k", "v", "i"):
        raise ValueError(f"fieldsV1: {text[:80]!r} begins with none of f:, k:, v:, i:")
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f"fieldsV1: {text[:80]!r} holds no JSON") from None
    return f"{kind}:{_dump(value)}"


def serialise(fields: FieldSet) -> dict[str, Json]:
    """The fieldsV1 object of a set, keys sorted."""
    result: dict[str, Json] = {}
    if fields.member and fields.children:
        result["."] = {}
    for edge in sorted(fields.children):
        result[edge] = serialise(fields.children[edge])
    return result


def text(path: Path) -> str:
    """A path as Kubernetes' messages show it: .spec.containers[name="web"].image."""
    return "".join(_shown(edge) for edge in path)


def _shown(edge: str) -> str:
    kind, content = edge[0], edge[2:]
    if kind == "f":
        return f".{content}"
    if kind == "v":
        return f"[={content}]"
    if kind == "i":
        return f"[{content}]"
    keys = json.loads(content)
    return f"[{','.join(f'{name}={_dump(keys[name])}' for name in sorted(keys))}]"
