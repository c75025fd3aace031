"""A compiled schema of a custom kind: a tree of Nodes. Structural schemas have no references, so it is finite.

Source: "Specifying a structural schema" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from control.api.patterns import Pattern, compile_pattern
from control.api.schema import Object

MISSING: Final = object()
"""The default of a level that has none."""

ROOT_KEPT: Final = frozenset({"apiVersion", "kind", "metadata"})
"""What every object has besides its schema."""


@dataclass(slots=True)
class Node:
    """One level of a compiled schema. additional: of the values of unknown keys; True keeps them as they are."""

    raw: Object
    types: tuple[str, ...] = ()
    properties: dict[str, Node] = field(default_factory=dict)
    additional: Node | bool | None = None
    items: Node | None = None
    all_of: tuple[Node, ...] = ()
    any_of: tuple[Node, ...] = ()
    one_of: tuple[Node, ...] = ()
    negated: Node | None = None
    pattern: Pattern | None = None
    default: Any = MISSING
    nullable: bool = False
    preserve: bool = False
    embedded: bool = False

    @property
    def has_defaults(self) -> bool:
        below = [*self.properties.values(), self.items, self.additional]
        return self.default is not MISSING or any(isinstance(node, Node) and node.has_defaults for node in below)


def compile_schema(raw: Mapping[str, Any]) -> Node:
    """The tree of a schema that has passed control/api/rules/crds.py."""
    additional, items = raw.get("additionalProperties"), raw.get("items")
    return Node(
        raw=dict(raw),
        types=_types(raw),
        properties={name: compile_schema(entry) for name, entry in raw.get("properties", {}).items()},
        additional=compile_schema(additional) if isinstance(additional, dict) else additional,
        items=compile_schema(items) if isinstance(items, dict) else None,
        all_of=tuple(map(compile_schema, raw.get("allOf", ()))),
        any_of=tuple(map(compile_schema, raw.get("anyOf", ()))),
        one_of=tuple(map(compile_schema, raw.get("oneOf", ()))),
        negated=compile_schema(raw["not"]) if "not" in raw else None,
        pattern=compile_pattern(raw["pattern"]) if raw.get("pattern") else None,
        default=raw.get("default", MISSING),
        nullable=bool(raw.get("nullable")),
        preserve=bool(raw.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(raw.get("x-kubernetes-embedded-resource")),
    )


def _types(raw: Mapping[str, Any]) -> tuple[str, ...]:
    if raw.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (raw["type"],) if raw.get("type") else ()
