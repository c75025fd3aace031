"""What OpenAPI 2 and 3 spell differently: where schemas live, how a field refers to one, how parameters are typed.

Also the names of schemas: Go package paths turned around, as all clients of Kubernetes know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PREFIXES: Final = {
    "meta": "io.k8s.apimachinery.pkg.apis.",
    "apiextensions": "io.k8s.apiextensions-apiserver.pkg.apis.",
    "metrics": "io.k8s.metrics.pkg.apis.",
}

# Scalars of the tables that are schemas of their own.
NAMED_SCALARS: Final = {
    "quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "intOrString": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "time": f"{_META}.Time",
    "microTime": f"{_META}.MicroTime",
    "duration": f"{_META}.Duration",
    "raw": "io.k8s.apimachinery.pkg.runtime.RawExtension",
    "fields": f"{_META}.FieldsV1",
    "json": "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
}

PLAIN_SCALARS: Final[dict[str, Json]] = {
    "string": {"type": "string"},
    "bool": {"type": "boolean"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "uint32": {"type": "integer", "format": "int64"},
    "byte": {"type": "integer", "format": "byte"},
    "float64": {"type": "number", "format": "double"},
    "bytes": {"type": "string", "format": "byte"},
}


@dataclass(frozen=True, slots=True)
class Dialect:
    """A version of OpenAPI. Documents of version 3 wrap references that have neighbours, as JSON schema demands."""

    version: int
    prefix: str

    def ref(self, name: str) -> Json:
        """A reference to the schema of that name."""
        return {"$ref": self.prefix + name}

    def field(self, name: str) -> Json:
        """A reference that a description and traits may stand beside."""
        return {"allOf": [self.ref(name)]} if self.version == 3 else self.ref(name)

    def scalar(self, name: str) -> Json:
        """The schema of a named scalar, as "quantity"."""
        return _SCALARS_3.get(name, _SCALARS[name]) if self.version == 3 else _SCALARS[name]


V2: Final = Dialect(2, "#/definitions/")
V3: Final = Dialect(3, "#/components/schemas/")

_SCALARS: Final[dict[str, Json]] = {
    "quantity": {"type": "string", "description": "an amount with an optional suffix: 500m, 2, 1.5Gi, 3e6"},
    "intOrString": {"type": "string", "format": "int-or-string", "description": "a number, or a text as 25%"},
    "time": {"type": "string", "format": "date-time", "description": "an instant, RFC 3339, whole seconds"},
    "microTime": {"type": "string", "format": "date-time", "description": "an instant, RFC 3339, microseconds"},
    "duration": {"type": "string", "description": "a span of time as 1m30s"},
    "raw": {"type": "object", "description": "an object of any kind"},
    "fields": {"type": "object", "description": "a set of fields, in the format FieldsV1"},
    "json": {"description": "any JSON value"},
}
_SCALARS_3: Final[dict[str, Json]] = {
    "quantity": {**_SCALARS["quantity"], "oneOf": [{"type": "string"}, {"type": "number"}]},
    "intOrString": {
        "format": "int-or-string",
        "description": _SCALARS["intOrString"]["description"],
        "oneOf": [{"type": "integer"}, {"type": "string"}],
    },
}
del _SCALARS_3["quantity"]["type"]


def schema_name(type_name: str) -> str:
    """The public name of a table's type: "apps.v1.Deployment" → "io.k8s.api.apps.v1.Deployment"."""
    return _PREFIXES.get(type_name.split(".", 1)[0], "io.k8s.api.") + type_name


def custom_name(group: str, version: str, kind: str) -> str:
    """The public name of a custom kind: example.com/v1 Thing → "com.example.v1.Thing"."""
    return ".".join([*reversed(group.split(".")), version, kind])
