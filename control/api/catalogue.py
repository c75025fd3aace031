"""All kinds there are, found by group, version and plural, by apiVersion and kind, or by the name RBAC and clients use.

A catalogue does not change; extended() gives a bigger one (kinds of CustomResourceDefinitions). Versions of a group are
ordered as discovery prefers them: v2 before v1 before v1beta1.

Invariants: (group, version, plural) is unique; of the versions of a resource one is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from control.api.kind import SUBRESOURCES, Kind
from control.api.kinds import (
    access,
    apps,
    autoscaling,
    batch,
    certificates,
    cluster,
    core,
    extension,
    networking,
    policy,
    storage,
)

_LAST: Final = 0x10FFFF
_STABILITY: Final = {"alpha": 0, "beta": 1, "": 2}


class Catalogue:
    """Kinds by their names. Iterating gives them group by group, preferred versions first."""

    def __init__(self, kinds: Iterable[Kind], bodies: Iterable[Kind] = ()) -> None:
        """kinds: the resources; bodies: kinds that are only bodies of subresources, as Scale."""
        self.bodies = tuple(bodies)
        ordered = sorted(kinds, key=lambda kind: version_order(kind.version), reverse=True)
        self._kinds = tuple(sorted(ordered, key=lambda kind: kind.group))
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self._kinds}
        if len(self._by_path) != len(self._kinds):
            raise ValueError("two kinds of one group and version have the same plural")
        self._by_kind = {(kind.api_version, kind.name): kind for kind in (*self._kinds, *self.bodies)}
        self._by_resource: dict[str, Kind] = {}
        self._by_registry: dict[str, list[Kind]] = {}
        for kind in self._kinds:
            self._by_resource.setdefault(kind.resource, kind)
            self._by_registry.setdefault(kind.registry, []).append(kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)

    def __getitem__(self, resource: str) -> Kind:
        """The preferred version of a resource, as "deployments.apps". KeyError: there is none."""
        return self._by_resource[resource]

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The kind behind a URL's group, version and resource."""
        return self._by_path.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        """The kind an object names; bodies of subresources (Scale, Eviction, TokenRequest) as well."""
        return self._by_kind.get((api_version, kind))

    def by_resource(self, resource: str) -> Kind | None:
        """The preferred version of a resource, as "pods" or "deployments.apps"."""
        return self._by_resource.get(resource)

    def stored(self, kind: Kind) -> Kind:
        """The kind whose JSON is in the store for that one: itself, or another version of the resource."""
        if not kind.storage_version:
            return kind
        return self._by_kind[kind.storage_version, kind.name]

    def forms(self, kind: Kind) -> Sequence[Kind]:
        """All kinds that show the same objects, this one among them: its versions, and for events those of the other
        group."""
        return self._by_registry.get(kind.registry, (kind,))

    def named(self, word: str) -> Kind | None:
        """What people mean by a word: plural, singular, kind or short name, with or without ".group"."""
        name, _, group = word.lower().partition(".")
        for kind in self._kinds:
            if group and kind.group != group:
                continue
            if name in (kind.plural, kind.singular, kind.name.lower(), *kind.short_names):
                return kind
        return None

    def groups(self) -> list[str]:
        """The groups' names, sorted; the core group "" is first."""
        return list(dict.fromkeys(kind.group for kind in self._kinds))

    def versions(self, group: str) -> list[str]:
        """The versions of a group, preferred first."""
        return list(dict.fromkeys(kind.version for kind in self._kinds if kind.group == group))

    def kinds(self, group: str, version: str) -> list[Kind]:
        """The kinds of a group's version, by plural."""
        found = [kind for kind in self._kinds if kind.group == group and kind.version == version]
        return sorted(found, key=lambda kind: kind.plural)

    def extended(self, kinds: Iterable[Kind]) -> Catalogue:
        """This catalogue and more kinds."""
        return Catalogue((*self._kinds, *kinds), self.bodies)


def version_order(version: str) -> tuple[int, int, int, str]:
    """Bigger is better: v10 > v2 > v1 > v1beta2 > v1alpha1 > anything else (those by name, downwards)."""
    match = re.fullmatch(r"v(\d+)(?:(alpha|beta)(\d+))?", version, re.ASCII)
    if match is None:
        return (-1, 0, 0, "".join(chr(_LAST - ord(letter)) for letter in version) + chr(_LAST))
    major, stability, minor = match.groups()
    return (_STABILITY[stability or ""], int(major), int(minor or 0), "")


_GROUPS: Final = (access, apps, autoscaling, batch, certificates, cluster, core, extension, networking, policy, storage)

BUILTIN: Final = Catalogue(
    [kind for group in _GROUPS for kind in group.KINDS],
    [body for group in (access, autoscaling, policy) for body in group.BODIES],
)
"""The kinds every server has."""

__all__ = ["BUILTIN", "SUBRESOURCES", "Catalogue", "version_order"]
