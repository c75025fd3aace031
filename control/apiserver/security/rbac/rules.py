"""What one rule of a role allows, and whether rules cover other rules: pure.

Source: "Using RBAC Authorization" of the Kubernetes documentation; PolicyRule in the API reference of 1.32.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from control.api.schema import Object
from control.apiserver.request import Attributes

ALL = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A PolicyRule made ready for matching. names: empty allows every name."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    urls: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: Object) -> Rule:
        """rule: as it stands in a Role."""
        return cls(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and ALL not in self.verbs:
            return False
        if not asked.resource:
            return any(url_matches(url, asked.path) for url in self.urls)
        if asked.group not in self.groups and ALL not in self.groups:
            return False
        return self.allows_resource(asked.resource, asked.subresource) and (not self.names or asked.name in self.names)

    def allows_resource(self, resource: str, subresource: str) -> bool:
        """ "pods" does not allow "pods/log"; "*/log" allows it for every resource."""
        if ALL in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources

    def covers(self, wanted: Rule) -> bool:
        """Whether this rule alone allows all that an atomic rule (see atoms) allows."""
        if not (wanted.verbs <= self.verbs or ALL in self.verbs):
            return False
        if wanted.urls:
            return all(any(_url_covers(mine, url) for mine in self.urls) for url in wanted.urls)
        if not (wanted.groups <= self.groups or ALL in self.groups):
            return False
        if self.names and not (wanted.names and wanted.names <= self.names):
            return False
        return all(self.allows_resource(*_split(resource)) for resource in wanted.resources)

    def atoms(self) -> Iterator[Rule]:
        """The rule as one rule per verb, group, resource and name, and per verb and URL."""
        for verb in sorted(self.verbs):
            one = frozenset((verb,))
            for url in self.urls:
                yield Rule(one, urls=(url,))
            for group in sorted(self.groups):
                for resource in sorted(self.resources):
                    for name in sorted(self.names) or [""]:
                        names = frozenset((name,) if name else ())
                        yield Rule(one, frozenset((group,)), frozenset((resource,)), names)

    def __str__(self) -> str:
        """As Kubernetes writes rules into refusals."""
        fields = {
            "APIGroups": sorted(self.groups),
            "Resources": sorted(self.resources),
            "ResourceNames": sorted(self.names),
            "NonResourceURLs": list(self.urls),
            "Verbs": sorted(self.verbs),
        }
        quoted = {name: ", ".join(f'"{value}"' for value in values) for name, values in fields.items() if values}
        return "{" + ", ".join(f"{name}:[{values}]" for name, values in quoted.items()) + "}"


def url_matches(pattern: str, path: str) -> bool:
    """A pattern is a path, "*", or a path that ends with "*"."""
    return pattern in (ALL, path) or (pattern.endswith(ALL) and path.startswith(pattern[:-1]))


def uncovered(owned: Iterable[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """The atoms of `wanted` that no rule of `owned` allows, in order; none: who owns the ones may grant the others."""
    have = list(owned)
    atoms = dict.fromkeys(atom for rule in wanted for atom in rule.atoms())
    return [atom for atom in atoms if not any(rule.covers(atom) for rule in have)]


def _url_covers(mine: str, wanted: str) -> bool:
    return mine in (ALL, wanted) or (mine.endswith(ALL) and wanted.rstrip(ALL).startswith(mine[:-1]))


def _split(resource: str) -> tuple[str, str]:
    """ "*" must be held as such: no list of resources covers it."""
    name, _, subresource = resource.partition("/")
    return name, subresource
