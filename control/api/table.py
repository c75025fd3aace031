"""Tables, as kubectl asks for them: the columns of a kind, and one row of cells for each object.

A column reads a field (".status.phase"), calls a function of control/api/cells, or follows a custom kind's JSONPath.
Rendering never fails: stored objects are valid, but they may be older than their schema.

Source: "Receiving resources as Tables" in Kubernetes' API concepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from control.api import jsonpath
from control.api.cells import CELLS, pods
from control.api.cells.words import dig, since
from control.api.kind import Column, Kind
from control.api.kinds.columns import AGE, CREATED, NAME
from control.api.schema import Json, Object
from control.api.status import bad_request

API_VERSION: Final = "meta.k8s.io/v1"
NONE, METADATA, OBJECT = "None", "Metadata", "Object"
_ZEROS: Final[dict[str, Json]] = {"integer": 0, "number": 0, "boolean": False, "string": ""}

Render = Callable[[Object, datetime], Any]


def table(
    kind: Kind,
    objects: Iterable[Object],
    *,
    now: datetime,
    include: str = METADATA,
    headers: bool = True,
    metadata: Object | None = None,
) -> Object:
    """The Table of some objects. include: what a row carries of its object (NONE, METADATA, OBJECT).

    metadata: that of the list (resourceVersion, continue). StatusError (400): include is something else.
    """
    check_include(include)
    found: Object = {"kind": "Table", "apiVersion": API_VERSION, "metadata": metadata or {}}
    found["columnDefinitions"] = definitions(kind) if headers else []
    found["rows"] = [row(kind, obj, now=now, include=include) for obj in objects]
    return found


def check_include(include: str) -> None:
    """StatusError (400) unless it is a value of the parameter includeObject."""
    if include not in (NONE, METADATA, OBJECT):
        raise bad_request(f"unrecognized includeObject value: {include!r}; it is None, Metadata or Object")


def definitions(kind: Kind) -> list[Object]:
    """The columnDefinitions."""
    return [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format,
            "description": column.description,
            "priority": 1 if column.wide else 0,
        }
        for column in columns_of(kind)
    ]


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """The kind's columns; kinds without any show name and age, or name and creation time for custom ones' sake."""
    if kind.columns:
        return kind.columns
    return (NAME, AGE) if kind.custom else (NAME, CREATED)


def row(kind: Kind, obj: Object, *, now: datetime, include: str = METADATA) -> Object:
    """One row."""
    found: Object = {"cells": [render(obj, now) for render in _renderers(kind)]}
    if kind.resource == "pods":
        conditions = pods.conditions(obj)
        if conditions:
            found["conditions"] = conditions
    if include == METADATA:
        found["object"] = partial(obj)
    elif include == OBJECT:
        found["object"] = obj
    return found


def partial(obj: Object) -> Object:
    """The PartialObjectMetadata of an object."""
    return {"kind": "PartialObjectMetadata", "apiVersion": API_VERSION, "metadata": obj.get("metadata", {})}


@lru_cache(512)
def _renderers(kind: Kind) -> tuple[Render, ...]:
    return tuple(_renderer(column) for column in columns_of(kind))


def _renderer(column: Column) -> Render:
    if column.path:
        return _path_cell(column)
    if column.value.startswith("."):
        return _field_cell(column)
    return CELLS[column.value]


def _field_cell(column: Column) -> Render:
    path, zero = column.value[1:].split("."), _ZEROS.get(column.type, None)

    def render(obj: Object, now: datetime) -> Any:
        value = dig(obj, *path)
        return zero if value is None else value

    return render


def _path_cell(column: Column) -> Render:
    """A cell of a custom kind: the first value at the path, in the column's type; null when it does not fit."""
    path = jsonpath.compile_path(column.value)

    def render(obj: Object, now: datetime) -> Any:
        found = jsonpath.find(path, obj)
        return _typed(found, column.type, now) if found else None

    return render


def _typed(found: list[Any], kind: str, now: datetime) -> Any:
    value = found[0]
    match kind:
        case "date":
            return since(value, now) if isinstance(value, str) else None
        case "integer":
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
    return ",".join(_text(entry) for entry in found)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{' '.join(_text(entry) for entry in value)}]"
    return str(value)
