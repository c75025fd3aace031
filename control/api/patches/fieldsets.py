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
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import orjson

from control.api.copying import copied

Json = Any
Path = tuple[str, ...]

MAX_DEPTH: Final = 100
# Sets that are remembered by their JSON, and how long that may be (the pods of one owner all have the same few); edges
# of elements.
_SETS: Final = 512
_LONGEST: Final = 4096
_KEYS: Final = 2048
_NO_CHILDREN: Final[Mapping[str, FieldSet]] = MappingProxyType({})


class FieldSet:
    """A set of paths; immutable. bool(set) tells whether it has any.

    An operation that changes nothing returns the very set it was asked of: most writes leave most managers' sets alone,
    and what is known of a set (its JSON, serialise()) then stays known. No dataclass, because thousands are made a
    second, and a frozen one's constructor takes three times as long.
    """

    __slots__ = ("_json", "children", "member")

    def __init__(self, member: bool = False, children: Mapping[str, FieldSet] = _NO_CHILDREN) -> None:
        self.member = member
        self.children = children
        self._json: dict[str, Json] | None = None

    def __bool__(self) -> bool:
        return self.member or bool(self.children)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FieldSet):
            return NotImplemented
        return self is other or (self.member == other.member and self.children == other.children)

    def __hash__(self) -> int:
        return hash((self.member, frozenset(self.children)))

    def __repr__(self) -> str:
        return f"FieldSet({self.member}, {self.children!r})"

    def __or__(self, other: FieldSet) -> FieldSet:
        """Union."""
        new: dict[str, FieldSet] = {}
        for edge, node in other.children.items():
            mine = self.children.get(edge)
            both = node if mine is None else mine | node
            if both is not mine:
                new[edge] = both
        if not new and (self.member or not other.member):
            return self
        return FieldSet(self.member or other.member, {**self.children, **new} if new else self.children)

    def __sub__(self, other: FieldSet) -> FieldSet:
        """The paths of this set that the other does not have; a path below a path is a path of its own."""
        less: dict[str, FieldSet] = {}
        for edge in self.children.keys() & other.children.keys():
            node = self.children[edge]
            rest = node - other.children[edge]
            if rest is not node:
                less[edge] = rest
        if not less and not (self.member and other.member):
            return self
        kept = {**self.children, **less} if less else self.children
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
    if all(type(value) is str or type(value) is int for value in keys.values()):
        return _plain_key(*keys.items())
    return "k:" + _dump(dict(keys))


@lru_cache(_KEYS)
def _plain_key(*keys: tuple[str, Json]) -> str:
    # Values are texts and whole numbers: True, which a cache would take for 1, is none of them.
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


def known(fields: Json) -> FieldSet:
    """As parse(); what was parsed lately is not parsed again."""
    try:
        text = orjson.dumps(fields)
    except TypeError:
        return parse(fields)
    return _known(text) if len(text) <= _LONGEST else parse(fields)


@lru_cache(_SETS)
def _known(text: bytes) -> FieldSet:
    return parse(orjson.loads(text))


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
    """The fieldsV1 object of a set, keys sorted: the caller's own."""
    if fields._json is None:
        fields._json = _serialised(fields)
    return copied(fields._json)


def _serialised(fields: FieldSet) -> dict[str, Json]:
    result: dict[str, Json] = {}
    if fields.member and fields.children:
        result["."] = {}
    for edge in sorted(fields.children):
        result[edge] = _serialised(fields.children[edge])
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
