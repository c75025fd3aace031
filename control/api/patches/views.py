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

from control.api.schema import Field, ObjectType, Type, lookup

Json = Any
Shape = Literal["leaf", "map", "keyed", "set"]

METADATA: Final = "meta.v1.ObjectMeta"


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


@dataclass(frozen=True, slots=True)
class TableView:
    """A place that the schema tables describe."""

    type: Type
    field: Field | None = None

    @property
    def keys(self) -> Mapping[str, Json]:
        names = self.field.list_keys if self.field is not None else ()
        of = self.type.list.object if self.type.list is not None else None
        return {name: of.fields[name].default if of is not None and name in of.fields else None for name in names}

    def shape(self, value: Json) -> Shape:
        traits = self.field
        if isinstance(value, dict) and (self.type.ref or self.type.map is not None):
            whole = (traits is not None and traits.atomic) or _is_atomic(self.type)
            return "leaf" if whole else "map"
        if isinstance(value, list) and self.type.list is not None and traits is not None:
            return "keyed" if traits.list_type == "map" else "set" if traits.list_type == "set" else "leaf"
        return "leaf"

    def child(self, name: str) -> View | None:
        return _table_child(self.type, name)

    def element(self) -> View:
        return TableView(self.type.list or Type())

    def standing(self) -> frozenset[str]:
        return _standing(self.type.ref) if self.type.ref else frozenset()


def _is_atomic(of: Type) -> bool:
    return bool(of.ref) and lookup(of.ref).atomic


@cache
def _table_child(of: Type, name: str) -> View | None:
    if of.map is not None:
        return TableView(of.map)
    found = lookup(of.ref).fields.get(name) if of.ref else None
    return TableView(found.type, found) if found is not None else None


@cache
def _standing(name: str) -> frozenset[str]:
    fields = lookup(name).fields.values()
    return frozenset(
        f.name for f in fields if not f.type.pointer and (f.type.ref or (f.required and not f.type.scalar))
    )


@cache
def table(of: ObjectType) -> View:
    """The view of a whole object of a built-in kind."""
    return TableView(Type(ref=of.name))


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
                return TableView(Type(ref=METADATA))
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


_LIST_SHAPES: Final[Mapping[str, Shape]] = {"map": "keyed", "set": "set", "atomic": "leaf"}


def structural(schema: Mapping[str, Json] | None) -> View:
    """The view of a whole custom resource; schema: openAPIV3Schema of its version, None without one."""
    return StructuralView(schema or {}, root=True)
