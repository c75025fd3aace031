"""What reconcilers see: a read-only view over the informers' stores, with the look-ups they need.

Invariant: looking up costs the size of the answer, not of the cluster, except for `all` and `where`. Objects belong to
the informers: nobody changes them. The view may lag behind the store.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Protocol

from control.api.schema import Object
from control.api.selectors import IN, LabelSelector, label_selector_of, selector_of_labels
from control.api.status import StatusError
from control.controllers.values.actions import Answer, Read
from control.controllers.values.objects import controller_of, labels, name_of, namespace_of, owners, uid_of


class ObjectStore(Protocol):
    """An informer, as far as reconcilers look at it."""

    @property
    def objects(self) -> Mapping[tuple[str, str], Object]:
        """Objects by (namespace, name)."""

    def by_index(self, name: str, key: str) -> Sequence[Object]:
        """The objects for which the index function of that name gave that key."""


def _by_namespace(obj: Object) -> list[str]:
    return [namespace_of(obj)]


def _by_controller(obj: Object) -> list[str]:
    """The controller's uid, or "orphan/<namespace>" without one."""
    owner = controller_of(obj)
    return [owner["uid"]] if owner else [f"orphan/{namespace_of(obj)}"]


def _by_owner(obj: Object) -> list[str]:
    return [owner.get("uid", "") for owner in owners(obj)]


def _by_label(obj: Object) -> list[str]:
    namespace = namespace_of(obj)
    return [f"{namespace}/{key}={value}" for key, value in labels(obj).items()]


def _by_node(obj: Object) -> list[str]:
    node = (obj.get("spec") or {}).get("nodeName")
    return [node] if node else []


def _by_uid(obj: Object) -> list[str]:
    return [uid_of(obj)]


def _by_service_selector(service: Object) -> list[str]:
    return _by_selected(service, selector_of_labels((service.get("spec") or {}).get("selector")))


def _by_budget_selector(budget: Object) -> list[str]:
    try:
        return _by_selected(budget, label_selector_of((budget.get("spec") or {}).get("selector")))
    except StatusError:
        return []


def _by_selected(obj: Object, selector: LabelSelector) -> list[str]:
    """One label that every pod has which the object selects; "<namespace>/*" where there is no such label."""
    plain = (r for r in selector.requirements if r.operator == IN and len(r.values) == 1)
    first = next((f"{r.key}={r.values[0]}" for r in plain), "*")
    return [] if selector.nothing else [f"{namespace_of(obj)}/{first}"]


Index = Callable[[Object], list[str]]
INDEXES: Final[Mapping[str, Index]] = MappingProxyType(
    {"namespace": _by_namespace, "controller": _by_controller, "owner": _by_owner, "uid": _by_uid}
)
_MORE: Final[Mapping[str, Mapping[str, Index]]] = MappingProxyType(
    {
        "pods": {**INDEXES, "label": _by_label, "node": _by_node},
        "services": {**INDEXES, "selected": _by_service_selector},
        "poddisruptionbudgets.policy": {**INDEXES, "selected": _by_budget_selector},
    }
)


def indexes_of(resource: str) -> Mapping[str, Index]:
    """The indexes an informer of that resource must keep."""
    return _MORE.get(resource, INDEXES)


@dataclass(frozen=True, slots=True)
class KnownKind:
    """Where objects of a kind are: the resource's name, and whether they are in namespaces."""

    resource: str
    namespaced: bool


@dataclass(frozen=True, slots=True)
class Observed:
    """The view: stores by resource, what was read from the server, and how the key's last pass failed ("": it didn't).

    kinds: (apiVersion, kind) → where its objects are, custom kinds among them. heard: node → when a heartbeat of it was
    last seen here; uptime: the time now by the same clock, in seconds: one that nobody sets, so that a step of the time
    of day is no silence. gone: uids of objects that the server has said were deleted; not all of them, the last ones.
    """

    stores: Mapping[str, ObjectStore]
    kinds: Mapping[tuple[str, str], KnownKind] = field(default_factory=dict)
    answers: Mapping[Read, Answer] = field(default_factory=dict)
    failure: str = ""
    heard: Mapping[str, float] = field(default_factory=dict)
    uptime: float = 0.0
    gone: Container[str] = frozenset()

    def after(self, answers: Mapping[Read, Answer], failure: str = "") -> Observed:
        """The same view with answers to questions, and the message of the key's last failed action."""
        return replace(self, answers=answers, failure=failure)

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        return self.stores[resource].objects.get((namespace, name))

    def all(self, resource: str) -> Iterable[Object]:
        return self.stores[resource].objects.values()

    def in_namespace(self, resource: str, namespace: str) -> Sequence[Object]:
        return self.stores[resource].by_index("namespace", namespace)

    def controlled(self, resource: str, uid: str) -> Sequence[Object]:
        """The objects whose controller has that uid."""
        return self.stores[resource].by_index("controller", uid)

    def orphans(self, resource: str, namespace: str) -> Sequence[Object]:
        """The objects of a namespace that have no controller."""
        return self.stores[resource].by_index("controller", f"orphan/{namespace}")

    def with_uid(self, resource: str, uid: str) -> Object | None:
        return next(iter(self.stores[resource].by_index("uid", uid)), None)

    def on_node(self, node: str) -> Sequence[Object]:
        """The pods bound to a node."""
        return self.stores["pods"].by_index("node", node)

    def dependents(self, uid: str) -> Iterator[tuple[str, Object]]:
        """Everything that names the uid as an owner, with its resource."""
        for resource, store in self.stores.items():
            for obj in store.by_index("owner", uid):
                yield resource, obj

    def may_select(self, resource: str, pod: Object) -> Iterator[Object]:
        """The services, or budgets, that may select the pod: all that do are among them, and few that do not."""
        namespace, store = namespace_of(pod), self.stores[resource]
        for label in (*(f"{key}={value}" for key, value in labels(pod).items()), "*"):
            yield from store.by_index("selected", f"{namespace}/{label}")

    def pods(self, namespace: str, selector: LabelSelector) -> list[Object]:
        """The namespace's pods that a selector chooses."""
        return [pod for pod in self._candidates(namespace, selector) if selector.matches(labels(pod))]

    def _candidates(self, namespace: str, selector: LabelSelector) -> Sequence[Object]:
        store = self.stores["pods"]
        found = [
            store.by_index("label", f"{namespace}/{wanted.key}={wanted.values[0]}")
            for wanted in selector.requirements
            if wanted.operator == IN and len(wanted.values) == 1
        ]
        return min(found, key=len) if found else store.by_index("namespace", namespace)

    def named(self, resource: str, obj: Object) -> Object | None:
        """The object of another resource with the same namespace and name."""
        return self.get(resource, namespace_of(obj), name_of(obj))
