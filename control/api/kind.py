"""What the API server, the clients and the command line know of one resource kind: names, scope, subresources, columns.

A kind is data. Its fields are in control/api/types (schema.py); what it needs beyond that in plain words is here, and
rules that are no data (defaults that depend on other fields, validation across fields, what an update may change) are
pure functions in control/api/rules, found by the kind's resource name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from control.api.schema import ObjectType, lookup

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`.

    value: a path as ".status.phase" (JSONPath, when `path` is set), or the name of a function in control/api/cells.
    type and format: as in a Table: string, integer, number, boolean, date; format "name" marks the object's name.
    """

    name: str
    value: str
    type: str = "string"
    wide: bool = False
    description: str = ""
    format: str = ""
    path: bool = False


@dataclass(frozen=True, slots=True)
class Subresource:
    """What discovery says of a subresource. api_version and kind: of its body; "" is the parent's own."""

    verbs: tuple[str, ...]
    api_version: str = ""
    kind: str = ""


_CONNECT = ("create", "get")
SUBRESOURCES: Final[dict[str, Subresource]] = {
    "status": Subresource(("get", "patch", "update")),
    "scale": Subresource(("get", "patch", "update"), "autoscaling/v1", "Scale"),
    "binding": Subresource(("create",), "v1", "Binding"),
    "eviction": Subresource(("create",), "policy/v1", "Eviction"),
    "log": Subresource(("get",)),
    "exec": Subresource(_CONNECT, "v1", "PodExecOptions"),
    "attach": Subresource(_CONNECT, "v1", "PodAttachOptions"),
    "portforward": Subresource(_CONNECT, "v1", "PodPortForwardOptions"),
    "proxy": Subresource(("create", "delete", "get", "patch", "update"), "v1", "{}ProxyOptions"),
    "token": Subresource(("create",), "authentication.k8s.io/v1", "TokenRequest"),
    "approval": Subresource(("get", "patch", "update")),
    "ephemeralcontainers": Subresource(("get", "patch", "update")),
    "finalize": Subresource(("update",)),
    "resize": Subresource(("get", "patch", "update")),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """Where the scale subresource reads and writes: paths as ".spec.replicas"; selector may be "" (none)."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ".spec.selector"


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One resource kind at one version. Kinds are compared by identity: there is one of each in a catalogue.

    type: full name of its object type in the schema tables, as "apps.v1.Deployment".
    subresources: names of SUBRESOURCES.
    selectable: field paths, without the leading dot, that field selectors may name besides metadata.name and
    metadata.namespace, as "spec.nodeName".
    put_creates: whether a PUT of an object that is not there creates it, as Kubernetes' AllowCreateOnUpdate says.
    stored: False for kinds that are answered and never kept (reviews, bindings).
    storage_version: apiVersion of the kind whose JSON is stored, as "autoscaling/v2"; "" is this one. The two convert
    into each other (control/api/convert.py).
    structural: the compiled schema of a custom kind (control/api/structural.py); None for built-in kinds.
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
    put_creates: bool = False
    stored: bool = True
    storage_version: str = ""
    singular_name: str = ""
    list_name: str = ""
    deprecated: str = ""
    structural: Any = field(default=None, compare=False)

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
    def group_kind(self) -> str:
        """As messages name it: "Pod", "Deployment.apps"."""
        return f"{self.name}.{self.group}" if self.group else self.name

    @property
    def list_kind(self) -> str:
        return self.list_name or f"{self.name}List"

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition made it."""
        return self.structural is not None

    @property
    def stored_as(self) -> str:
        """The apiVersion of the JSON in the store."""
        return self.storage_version or self.api_version

    @property
    def registry(self) -> str:
        """Start of its keys in the store, with the slash: "/registry/pods/", "/registry/example.com/things/"."""
        return f"/registry/{self.group}/{self.plural}/" if self.custom else f"/registry/{self.plural}/"

    def subresource_kind(self, subresource: str) -> tuple[str, str]:
        """(apiVersion, kind) of a subresource's body. KeyError: no such subresource."""
        of = SUBRESOURCES[subresource]
        return of.api_version or self.api_version, of.kind.format(self.name) or self.name

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
