"""Fills in what a client left out: the default= traits of the schema tables, then functions where a default depends on
other fields (control/api/rules/defaulting.py), type by type from the outside in.

Applied on every write, after decoding and again after mutating webhooks; applying twice changes nothing. Defaults of
custom kinds are in their schema (control/api/structural.py).

Source: the defaults in Kubernetes' API reference.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from control.api.copying import copied
from control.api.kind import Kind
from control.api.rules.defaulting import KIND_RULES, TYPE_RULES
from control.api.schema import Json, Object, Type, lookup, types_below

Visit = Callable[[Json], None]


def apply_defaults(kind: Kind, obj: Object) -> Object:
    """Fill in the object in place, and give it back."""
    if kind.custom:
        kind.structural.apply_defaults(obj)
        return obj
    visit = _visitor(kind.type)
    if visit is not None:
        visit(obj)
    rule = KIND_RULES.get(kind.resource)
    if rule is not None:
        rule(obj)
    return obj


def default_type(name: str, value: Json) -> Json:
    """The same for a value of any type of the tables, as "core.v1.PodTemplateSpec"."""
    visit = _visitor(name)
    if visit is not None:
        visit(value)
    return value


@cache
def _visitor(name: str) -> Visit | None:
    """Fills in one object of that type; None: nothing below it has a default."""
    if not _has_defaults(name):
        return None
    of = lookup(name)
    values = tuple((field.name, field.default) for field in of.fields.values() if field.default is not None)
    nested = tuple((field.name, field.type) for field in of.fields.values() if _reaches_defaults(field.type))
    return _Filler(values, nested, TYPE_RULES.get(name))


class _Filler:
    """The visitor of one object type; nested visitors are found at the first use, as types refer to each other."""

    __slots__ = ("nested", "rule", "values", "visits")

    def __init__(
        self,
        values: tuple[tuple[str, Json], ...],
        nested: tuple[tuple[str, Type], ...],
        rule: Callable[[Object], None] | None,
    ) -> None:
        self.values = values
        self.nested = nested
        self.rule = rule
        self.visits: tuple[tuple[str, Visit], ...] | None = None

    def __call__(self, obj: Json) -> None:
        for name, value in self.values:
            if name not in obj:
                obj[name] = copied(value) if isinstance(value, dict | list) else value
        if self.rule is not None:
            self.rule(obj)
        if self.visits is None:
            self.visits = tuple((name, visit) for name, of in self.nested if (visit := _visit_of(of)))
        for name, visit in self.visits:
            if name in obj:
                visit(obj[name])


def _visit_of(of: Type) -> Visit | None:
    element = of.list or of.map
    if element is None:
        return _visitor(of.ref) if of.ref else None
    inner = _visit_of(element)
    if inner is None:
        return None
    return _each_of(inner, is_map=of.map is not None)


def _each_of(inner: Visit, *, is_map: bool) -> Visit:
    def visit(value: Any) -> None:
        for entry in value.values() if is_map else value:
            inner(entry)

    return visit


def _reaches_defaults(of: Type) -> bool:
    element = of.list or of.map
    if element is not None:
        return _reaches_defaults(element)
    return bool(of.ref) and _has_defaults(of.ref)


@cache
def _has_defaults(name: str) -> bool:
    return any(
        type_name in TYPE_RULES or any(field.default is not None for field in lookup(type_name).fields.values())
        for type_name in types_below(name)
    )
