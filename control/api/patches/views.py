"""How a value may be merged and owned: one interface over the schema tables and over the schemas of custom resources.

A view belongs to a place in an object. For a value there, `shape` tells whether it is one leaf, a map whose keys are
owned apart, or a list whose elements are: by key fields, or by value.

Sources: "Merge strategy" in "Server-Side Apply" of Kubernetes' documentation; x-kubernetes-list-type and
x-kubernetes-map-type in that of CustomResourceDefinitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal, Protocol

from control.api.kind import Kind
from control.api.schema import Field, ObjectType, Type, lookup

Json = Any
Shape = Literal["leaf", "map", "keyed", "set"]

METADATA: Final = "meta.v1.ObjectMeta"

_LIST_SHAPES: Final[Mapping[str, Shape]] = {"map": "keyed", "set": "set", "atomic": "leaf"}


class View(Protocol):
    """What a place in an object is. keys: the key fields of a keyed list's elements, with their defaults."""

    @property
    def keys(self) -> Mapping[str, Json]: ...

    def shape(self, value: Json) -> Shape: ...

    def child(self, name: str) -> View | None:
        """The view of a map's value under that key; None: the schema has no such field."""
        ...

    def element(self) -> View:
        """The view of a list's elements."""
        ...

    def standing(self) -> frozenset[str]:
        """Fields that are there, empty, even when JSON omits them: Go structs that are no pointers."""
        ...


@dataclass(frozen=True, slots=True)
class Deduced:
    """A place without a schema: objects merge by key, lists are one leaf."""

    keys: Mapping[str, Json] = field(default_factory=dict)

    def shape(self, value: Json) -> Shape:
        return "map" if isinstance(value, dict) else "leaf"

    def child(self, name: str) -> View | None:
        return self

    def element(self) -> View:
        return self

    def standing(self) -> frozenset[str]:
        return frozenset()


DEDUCED: Final = Deduced()


class TableView:
    """A place that the schema tables describe. What the tables say is worked out once for every place."""

    __slots__ = ("_children", "_element", "_list", "_map", "_standing", "_type", "keys")

    def __init__(self, type: Type, field: Field | None = None) -> None:
        self._type = type
        self._children: dict[str, View | None] = {}
        self._element: View | None = None
        self._map = _map_shape(type, field)
        self._list = _list_shape(type, field)
        self.keys = _table_keys(type, field)
        self._standing = _standing(type.ref) if type.ref else frozenset()

    def shape(self, value: Json) -> Shape:
        if isinstance(value, dict):
            return self._map
        return self._list if isinstance(value, list) else "leaf"

    def child(self, name: str) -> View | None:
        if self._type.map is not None:
            return self.element()
        if name not in self._children:
            found = lookup(self._type.ref).fields.get(name) if self._type.ref else None
            if found is None:
                return None  # a name from outside: not remembered
            self._children[name] = TableView(found.type, found)
        return self._children[name]

    def element(self) -> View:
        if self._element is None:
            self._element = TableView(self._type.list or self._type.map or Type())
        return self._element

    def standing(self) -> frozenset[str]:
        return self._standing


def _map_shape(of: Type, field: Field | None) -> Shape:
    if not of.ref and of.map is None:
        return "leaf"
    whole = (field is not None and field.atomic) or (bool(of.ref) and lookup(of.ref).atomic)
    return "leaf" if whole else "map"


def _list_shape(of: Type, field: Field | None) -> Shape:
    return _LIST_SHAPES.get(field.list_type, "leaf") if of.list is not None and field is not None else "leaf"


def _table_keys(of: Type, field: Field | None) -> Mapping[str, Json]:
    element = of.list.object if of.list is not None and field is not None and field.list_keys else None
    if element is None or field is None:
        return {}
    return {name: element.fields[name].default if name in element.fields else None for name in field.list_keys}


@cache
def _standing(name: str) -> frozenset[str]:
    fields = lookup(name).fields.values()
    return frozenset(
        f.name for f in fields if not f.type.pointer and (f.type.ref or (f.required and not f.type.scalar))
    )


@cache
def _table(name: str) -> View:
    return TableView(Type(ref=name))


def table(of: ObjectType) -> View:
    """The view of a whole object of a built-in kind."""
    return _table(of.name)


@dataclass(frozen=True, slots=True)
class StructuralView:
    """A place that a CustomResourceDefinition's schema describes. root: its metadata is that of every object."""

    schema: Mapping[str, Json]
    root: bool = False

    @property
    def keys(self) -> Mapping[str, Json]:
        properties = self._items().get("properties") or {}
        names = self.schema.get("x-kubernetes-list-map-keys") or ()
        return {name: (properties.get(name) or {}).get("default") for name in names}

    def shape(self, value: Json) -> Shape:
        if isinstance(value, dict):
            return "leaf" if self.schema.get("x-kubernetes-map-type") == "atomic" else "map"
        if isinstance(value, list):
            return _LIST_SHAPES.get(self.schema.get("x-kubernetes-list-type") or "atomic", "leaf")
        return "leaf"

    def child(self, name: str) -> View | None:
        if self.root or self.schema.get("x-kubernetes-embedded-resource"):
            if name == "metadata":
                return _table(METADATA)
            if name in ("apiVersion", "kind"):
                return DEDUCED
        properties = self.schema.get("properties") or {}
        if name in properties:
            return StructuralView(properties[name])
        more = self.schema.get("additionalProperties")
        if isinstance(more, dict):
            return StructuralView(more)
        return DEDUCED if more or self.schema.get("x-kubernetes-preserve-unknown-fields") or not self._typed() else None

    def element(self) -> View:
        return StructuralView(self._items())

    def standing(self) -> frozenset[str]:
        return frozenset()

    def _items(self) -> Mapping[str, Json]:
        items = self.schema.get("items")
        return items if isinstance(items, dict) else {}

    def _typed(self) -> bool:
        return bool(self.schema.get("type") or self.schema.get("properties"))


def of(kind: Kind) -> View:
    """The view of a kind's objects."""
    return structural(kind.structural.schema) if kind.structural is not None else _table(kind.type)


def structural(schema: Mapping[str, Json] | None) -> View:
    """The view of a whole custom resource; schema: openAPIV3Schema of its version, None without one."""
    return StructuralView(schema or {}, root=True)
