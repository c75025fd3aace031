"""The schema of a custom kind at work: pruning, defaulting, validation of objects against an OpenAPI v3 schema.

A schema is compiled once into a tree of Nodes (structural schemas have no references). Nulls of fields that are not
nullable and have a default are dropped before defaulting, as Kubernetes does.

Validation rules in CEL (x-kubernetes-validations) are not evaluated; control/api/crd.py warns of them.

Source: "Extend the Kubernetes API with CustomResourceDefinitions" (structural schemas, pruning, defaulting); the words
of the complaints are those that kube-apiserver uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from control.api.copying import copied
from control.api.fielderrors import invalid
from control.api.schema import Json, Object
from control.api.status import Cause
from control.api.structural_judge import causes, root_causes
from control.api.structural_node import MISSING, ROOT_KEPT, Node, compile_schema


class Structural:
    """What a server does with objects of one version of a custom kind."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """schema: the version's openAPIV3Schema; {} keeps everything (as preserve-unknown-fields does)."""
        self.schema: Object = dict(schema)
        self.root = compile_schema(schema)
        self._defaults = self.root.has_defaults

    def prune(self, obj: Object, unknown: list[str]) -> None:
        """Drop, in place, what the schema does not know; the paths of it are added to unknown."""
        _prune(obj, self.root, "", unknown, root=True)

    def apply_defaults(self, obj: Object) -> None:
        """Fill in, in place, what the schema has defaults for."""
        if self._defaults:
            _default(obj, self.root, root=True)

    def causes(self, obj: Object) -> Iterator[Cause]:
        """What the schema refuses."""
        yield from root_causes(obj, self.root)

    def update_causes(self, new: Object, old: Object) -> Iterator[Cause]:
        """What it refuses of a change."""
        yield from self.causes(new)


def default_causes(raw: Mapping[str, Any], at: str) -> Iterator[Cause]:
    """What is wrong with the default of one level of a schema: it must be valid by that level itself."""
    node = compile_schema(raw)
    value = copied(raw["default"])
    unknown: list[str] = []
    _prune(value, node, "", unknown)
    for path in unknown:
        yield invalid(at, raw["default"], f"must not have unknown fields: {path}")
    for cause in causes(value, node, ""):
        yield invalid(at, raw["default"], str(cause))


def _prune(value: Json, node: Node, at: str, unknown: list[str], *, root: bool = False) -> None:
    if isinstance(value, list):
        if node.items is not None:
            for index, entry in enumerate(value):
                _prune(entry, node.items, f"{at}[{index}]", unknown)
        return
    if not isinstance(value, dict):
        return
    kept = ROOT_KEPT if root or node.embedded else frozenset[str]()
    for name in list(value):
        if name in kept:
            continue
        below = node.properties.get(name, node.additional)
        path = f"{at}.{name}" if at else name
        if isinstance(below, Node):
            _prune(value[name], below, path, unknown)
        elif not below and not node.preserve:
            unknown.append(path)
            del value[name]


def _default(value: Json, node: Node, *, root: bool = False) -> None:
    if isinstance(value, list):
        if node.items is not None:
            for entry in value:
                _default(entry, node.items)
        return
    if not isinstance(value, dict):
        return
    for name, below in node.properties.items():
        if below.default is MISSING or (root and name in ROOT_KEPT):
            continue
        if name not in value or (value[name] is None and not below.nullable):
            value[name] = copied(below.default)
    for name, entry in value.items():
        found = node.properties.get(name, node.additional)
        if isinstance(found, Node):
            _default(entry, found)
