"""Types of the schema tables as OpenAPI schemas, with the extensions that clients merge and apply by.

A Collector gathers the schemas a document needs: each type it is asked for, and whatever those refer to.
"""

from __future__ import annotations

from typing import Any, Final

from control.api.kind import Kind
from control.api.openapi.custom import custom_schema
from control.api.openapi.dialect import NAMED_SCALARS, PLAIN_SCALARS, Dialect, custom_name, schema_name
from control.api.schema import Field, ObjectType, Type, lookup

Json = dict[str, Any]

PATCH: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch"
GVK: Final = "x-kubernetes-group-version-kind"

_TYPE_META: Final[Json] = {
    "apiVersion": {"type": "string", "description": "group and version of the schema of this object"},
    "kind": {"type": "string", "description": "name of the schema of this object, in CamelCase"},
}


class Collector:
    """Schemas by public name, collected for one document."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._schemas: dict[str, Json] = {}

    @property
    def schemas(self) -> dict[str, Json]:
        """All schemas so far, sorted by name."""
        return dict(sorted(self._schemas.items()))

    def kind(self, kind: Kind) -> str:
        """Adds a kind and returns its name."""
        name = custom_name(kind.group, kind.version, kind.name) if kind.custom else self.type(kind.type)
        if kind.custom:
            metadata = self.dialect.field(self.type("meta.v1.ObjectMeta"))
            self._schemas[name] = custom_schema(kind, self.dialect, {**_TYPE_META, "metadata": metadata})
        self._mark(name, {"group": kind.group, "version": kind.version, "kind": kind.name})
        return name

    def list(self, kind: Kind) -> str:
        """Adds the list of a kind and returns its name."""
        item = self.kind(kind)
        name = item[: -len(kind.name)] + kind.list_kind
        self._schemas[name] = {
            "description": f"a list of {kind.plural}",
            "type": "object",
            "required": ["items"],
            "properties": {
                **_TYPE_META,
                "items": {"description": f"the {kind.plural}", "type": "array", "items": self.dialect.field(item)},
                "metadata": self.dialect.field(self.type("meta.v1.ListMeta")),
            },
        }
        self._mark(name, {"group": kind.group, "version": kind.version, "kind": kind.list_kind})
        return name

    def body(self, type_name: str, group: str, version: str) -> str:
        """Adds a type that is a body of requests or answers in that group (DeleteOptions, Scale); returns its name."""
        name = self.type(type_name)
        self._mark(name, {"group": group, "version": version, "kind": lookup(type_name).short_name})
        return name

    def patch(self) -> str:
        """Adds the type of patches, of which nothing is said, and returns its name."""
        self._schemas.setdefault(PATCH, {"description": "the body of a patch request", "type": "object"})
        return PATCH

    def type(self, type_name: str) -> str:
        """Adds a type of the tables and all it refers to; returns its name."""
        name = schema_name(type_name)
        if name not in self._schemas:
            self._schemas[name] = {}  # a type may refer to itself
            self._schemas[name].update(self._object(lookup(type_name)))
        return name

    def _mark(self, name: str, gvk: dict[str, str]) -> None:
        marks = self._schemas[name].setdefault(GVK, [])
        if gvk not in marks:
            marks.append(gvk)

    def _object(self, of: ObjectType) -> Json:
        schema: Json = {"description": of.description} if of.description else {}
        if of.fields:
            schema["type"] = "object"
            required = sorted(field.name for field in of.fields.values() if field.required)
            if required:
                schema["required"] = required
            schema["properties"] = {name: self._field(of.fields[name]) for name in sorted(of.fields)}
        if of.atomic:
            schema["x-kubernetes-map-type"] = "atomic"
        return schema

    def _field(self, field: Field) -> Json:
        schema = self._value(field.type)
        if field.description:
            schema["description"] = field.description
        if field.enum:
            schema["enum"] = list(field.enum)
        if field.default is not None:
            schema["default"] = field.default
        return schema | _traits(field)

    def _value(self, of: Type) -> Json:
        if of.list is not None:
            return {"type": "array", "items": self._value(of.list)}
        if of.map is not None:
            return {"type": "object", "additionalProperties": self._value(of.map)}
        if of.ref:
            return self.dialect.field(self.type(of.ref))
        if of.scalar in PLAIN_SCALARS:
            return dict(PLAIN_SCALARS[of.scalar])
        name = NAMED_SCALARS[of.scalar]
        self._schemas.setdefault(name, dict(self.dialect.scalar(of.scalar)))
        return self.dialect.field(name)


def _traits(field: Field) -> Json:
    found: Json = {}
    strategies = [name for name, on in (("merge", field.patch_merge), ("retainKeys", field.retain_keys)) if on]
    if strategies:
        found["x-kubernetes-patch-strategy"] = ",".join(strategies)
    if field.merge_key:
        found["x-kubernetes-patch-merge-key"] = field.merge_key
    if field.list_type:
        found["x-kubernetes-list-type"] = field.list_type
    if field.list_keys:
        found["x-kubernetes-list-map-keys"] = list(field.list_keys)
    if field.atomic:
        found["x-kubernetes-map-type"] = "atomic"
    return found
