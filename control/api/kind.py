"""What the API server, the clients and the command line know of one resource kind: names, scope, subresources, columns.

A kind is data. Its fields are in control/api/types (schema.py); what it needs beyond that in plain words is here, and
rules that are no data (defaults that depend on other fields, validation across fields, what an update may change) are
pure functions in control/api/rules, found by the kind's resource name.
"""

from __future__ import annotations

from dataclasses import dataclass

from control.api.schema import ObjectType, lookup

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`. value: a path as ".status.phase", or the name of a function in control/api/cells."""

    name: str
    value: str
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource reads and writes: paths as ".spec.replicas"; selector may be "" (none)."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ".spec.selector"


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource kind at one version.

    type: full name of its object type in the schema tables, as "apps.v1.Deployment".
    subresources: of "status", "scale", "binding", "eviction", "log", "exec", "attach", "portforward", "proxy", "token",
    "approval", "ephemeralcontainers", "finalize", "resize".
    selectable: field paths, without the leading dot, that field selectors may name besides metadata.name and
    metadata.namespace, as "spec.nodeName".
    stored: False for kinds that are answered and never kept (reviews, bindings).
    storage_version: the version whose JSON is stored; "" is this one.
    """

    group: str
    version: str
    name: str
    plural: str
    type: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    scale: Scale | None = None
    stored: bool = True
    storage_version: str = ""
    singular_name: str = ""

    @property
    def singular(self) -> str:
        return self.singular_name or self.name.lower()

    @property
    def api_version(self) -> str:
        """As objects carry it: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name clients and RBAC rules use: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def path(self) -> str:
        """Start of its URLs: "/api/v1", "/apis/apps/v1"."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def object_type(self) -> ObjectType:
        return lookup(self.type)

    def url(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of a collection, an object or a subresource, without host and query."""
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        tail = f"/{name}" if name else ""
        return f"{self.path}{middle}/{self.plural}{tail}" + (f"/{subresource}" if subresource else "")
