"""Roles and bindings, filed by whom they concern: what a user may do is a few look-ups, however many there are.

Pure; kept by changes of the caches. Invariant: a binding stands under each of its subjects and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from control.api import meta
from control.api.schema import Object
from control.api.selectors import label_selector_of
from control.api.status import StatusError
from control.apiserver.request import User
from control.apiserver.security.rbac.rules import Rule

ROLES = "roles.rbac.authorization.k8s.io"
CLUSTER_ROLES = "clusterroles.rbac.authorization.k8s.io"
ROLE_BINDINGS = "rolebindings.rbac.authorization.k8s.io"
CLUSTER_ROLE_BINDINGS = "clusterrolebindings.rbac.authorization.k8s.io"

Key = tuple[str, str]  # ("User" | "Group", name)
RoleKey = tuple[str, str]  # (namespace, name); a ClusterRole's namespace is ""


@dataclass(frozen=True, slots=True)
class Grant:
    """One binding as one subject sees it."""

    namespace: str
    binding: str
    role: RoleKey

    def describe(self, user: User) -> str:
        """The reason of a permission, in Kubernetes' words."""
        binding = f"{self.namespace}/{self.binding}" if self.namespace else self.binding
        kind = "RoleBinding" if self.namespace else "ClusterRoleBinding"
        role = "Role" if self.role[0] else "ClusterRole"
        return f'RBAC: allowed by {kind} "{binding}" of {role} "{self.role[1]}" to User "{user.name}"'


class RbacIndex:
    """All roles and bindings of the cluster. `generation` grows with every change, for caches of decisions."""

    def __init__(self) -> None:
        self.generation = 0
        self._roles: dict[RoleKey, Object] = {}
        self._compiled: dict[RoleKey, tuple[Rule, ...]] = {}
        self._grants: dict[Key, dict[tuple[str, str], Grant]] = {}
        self._by_place: dict[Key, dict[str, set[str]]] = {}

    def role_changed(self, old: Object | None, new: Object | None) -> None:
        """A Role or ClusterRole came, changed or went."""
        self.generation += 1
        self._compiled.clear()
        if new is None and old is not None:
            self._roles.pop(meta.key(old), None)
        elif new is not None:
            self._roles[meta.key(new)] = new

    def binding_changed(self, old: Object | None, new: Object | None) -> None:
        """A RoleBinding or ClusterRoleBinding came, changed or went."""
        self.generation += 1
        if old is not None:
            self._unfile(old)
        if new is not None:
            self._file(new)

    def grants_of(self, user: User, namespace: str) -> Iterator[Grant]:
        """Bindings that concern the user in the namespace; "" asks for cluster-wide ones only."""
        places = ("", namespace) if namespace else ("",)
        for subject in _keys_of(user):
            found = self._by_place.get(subject)
            if found is None:
                continue
            for place in places:
                for binding in found.get(place, ()):
                    yield self._grants[subject][place, binding]

    def rules_of_role(self, role: RoleKey) -> tuple[Rule, ...] | None:
        """A role's rules, with those it aggregates; None: there is no such role."""
        found = self._compiled.get(role)
        if found is None:
            if role not in self._roles:
                return None
            found = tuple(Rule.of(rule) for rule in self.raw_rules(role))
            self._compiled[role] = found
        return found

    def raw_rules(self, role: RoleKey) -> list[Object]:
        """As rules_of_role, in the form of the API. KeyError: there is no such role."""
        return aggregated(self._roles[role], self._cluster_roles())

    def rules_of(self, user: User, namespace: str) -> Iterator[Rule]:
        """All rules that hold for the user in the namespace."""
        for grant in self.grants_of(user, namespace):
            yield from self.rules_of_role(grant.role) or ()

    def aggregating(self) -> Iterator[Object]:
        """ClusterRoles whose rules are made of others'."""
        return (role for role in self._cluster_roles().values() if role.get("aggregationRule"))

    def _cluster_roles(self) -> Mapping[str, Object]:
        return {name: role for (namespace, name), role in self._roles.items() if not namespace}

    def _file(self, binding: Object) -> None:
        namespace, name = meta.key(binding)
        reference = binding.get("roleRef") or {}
        role = (namespace if reference.get("kind") == "Role" else "", str(reference.get("name") or ""))
        for subject in _subjects(binding):
            self._grants.setdefault(subject, {})[namespace, name] = Grant(namespace, name, role)
            self._by_place.setdefault(subject, {}).setdefault(namespace, set()).add(name)

    def _unfile(self, binding: Object) -> None:
        namespace, name = meta.key(binding)
        for subject in _subjects(binding):
            self._grants.get(subject, {}).pop((namespace, name), None)
            places = self._by_place.get(subject, {})
            places.get(namespace, set()).discard(name)
            if not places.get(namespace):
                places.pop(namespace, None)
            if not places:
                self._by_place.pop(subject, None)
                self._grants.pop(subject, None)


def aggregated(role: Object, cluster_roles: Mapping[str, Object]) -> list[Object]:
    """A role's rules in the form of the API: its own, or those of the ClusterRoles its aggregationRule selects.

    Roles that are selected may aggregate as well; a circle adds nothing. A selector that is wrong selects nothing.
    """
    found: list[Object] = []
    _collect(role, cluster_roles, set(), found)
    return found


def _collect(role: Object, cluster_roles: Mapping[str, Object], seen: set[str], found: list[Object]) -> None:
    name = meta.name(role)
    if name in seen:
        return
    seen.add(name)
    if not role.get("aggregationRule"):
        found.extend(rule for rule in role.get("rules") or () if rule not in found)
        return
    for other in _selected(role, cluster_roles):
        _collect(other, cluster_roles, seen, found)


def _selected(role: Object, cluster_roles: Mapping[str, Object]) -> Iterator[Object]:
    selectors = []
    for text in role["aggregationRule"].get("clusterRoleSelectors") or ():
        try:
            selectors.append(label_selector_of(text))
        except StatusError:
            continue
    for _, other in sorted(cluster_roles.items()):
        if any(selector.matches(meta.labels(other)) for selector in selectors):
            yield other


def _keys_of(user: User) -> Iterable[Key]:
    return (("User", user.name), *(("Group", group) for group in user.groups))


def _subjects(binding: Object) -> set[Key]:
    return {key for subject in binding.get("subjects") or () if (key := _subject(subject, meta.namespace(binding)))}


def _subject(subject: Object, namespace: str) -> Key | None:
    kind, name = subject.get("kind"), str(subject.get("name") or "")
    if kind in ("User", "Group"):
        return str(kind), name
    if kind == "ServiceAccount":
        return "User", f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"
    return None
