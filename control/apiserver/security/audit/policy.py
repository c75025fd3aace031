"""How much of which request is written down: pure. Source: "Auditing", audit.k8s.io/v1 Policy.

Secrets and tokens are never written down above Metadata unless a rule names their resource: a rule for everything at
RequestResponse, which is what people write, must not fill the log with credentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from control.api.schema import Object
from control.apiserver.request import RequestInfo, User
from control.apiserver.security.rbac.rules import url_matches

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")
_SENSITIVE = frozenset({("", "secrets"), ("authentication.k8s.io", "tokenreviews"), ("", "serviceaccounts/token")})


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one group: names as "pods", "pods/log", "*", "pods/*", "*/status"; empty: all of the group."""

    group: str
    names: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()

    def match(self, info: RequestInfo) -> bool:
        if self.group != info.group or (self.objects and info.name not in self.objects):
            return False
        return not self.names or any(_resource_matches(name, info) for name in self.names)


@dataclass(frozen=True, slots=True)
class AuditRule:
    """Empty conditions match everything."""

    level: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[Resources, ...] = ()
    namespaces: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    omit_stages: frozenset[str] = frozenset()

    def match(self, info: RequestInfo, user: User) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and not set(self.groups) & set(user.groups):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        if self.resources or self.namespaces or self.urls:
            return self._matches_target(info)
        return True

    def _matches_target(self, info: RequestInfo) -> bool:
        if not info.is_resource:
            return any(url_matches(url, info.path) for url in self.urls)
        if not self.resources and not self.namespaces:
            return False
        if self.namespaces and info.namespace not in self.namespaces:
            return False
        return not self.resources or any(resources.match(info) for resources in self.resources)

    def names(self, group: str, resource: str) -> bool:
        """Whether the rule speaks of that very resource, and not only of all of them."""
        return any(entry.group == group and resource in entry.names for entry in self.resources)


@dataclass(frozen=True, slots=True)
class Policy:
    """The first rule that matches a request decides."""

    rules: tuple[AuditRule, ...]
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    def decide(self, info: RequestInfo, user: User) -> tuple[str, frozenset[str]]:
        """(level, stages that are not written)."""
        rule = next((rule for rule in self.rules if rule.match(info, user)), None)
        if rule is None:
            return "None", frozenset()
        level = rule.level
        what = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        if (info.group, what) in _SENSITIVE and level != "None" and not rule.names(info.group, what):
            level = "Metadata"
        return level, rule.omit_stages | self.omit_stages


# Without --audit-policy-file: everything but what the cluster's own parts do all the time, and no bodies.
DEFAULT = Policy(
    (
        AuditRule("None", urls=("/healthz*", "/livez*", "/readyz*", "/version", "/metrics", "/openapi/*")),
        AuditRule("None", verbs=("get", "list", "watch"), groups=("system:nodes",)),
        AuditRule("None", resources=(Resources("coordination.k8s.io", ("leases",)),)),
        AuditRule("Metadata"),
    ),
    omit_stages=frozenset({"RequestReceived"}),
    omit_managed_fields=True,
)


def read_policy(document: Any) -> Policy:
    """A Policy document as parsed from YAML. ValueError with the place of the mistake."""
    if not isinstance(document, dict) or document.get("kind") != "Policy":
        raise ValueError("not a Policy (apiVersion: audit.k8s.io/v1)")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise ValueError("rules: there must be at least one")
    return Policy(
        tuple(_rule(entry, f"rules[{index}]") for index, entry in enumerate(rules)),
        _stages(document.get("omitStages"), "omitStages"),
        bool(document.get("omitManagedFields")),
    )


def _rule(entry: Any, where: str) -> AuditRule:
    if not isinstance(entry, dict) or entry.get("level") not in LEVELS:
        raise ValueError(f"{where}.level: must be one of {', '.join(LEVELS)}")
    return AuditRule(
        entry["level"],
        _strings(entry, "users", where),
        _strings(entry, "userGroups", where),
        _strings(entry, "verbs", where),
        tuple(_resources(found, where) for found in entry.get("resources") or ()),
        _strings(entry, "namespaces", where),
        _strings(entry, "nonResourceURLs", where),
        _stages(entry.get("omitStages"), f"{where}.omitStages"),
    )


def _resources(entry: Object, where: str) -> Resources:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}.resources: each entry has a group and resources")
    names = _strings(entry, "resources", where)
    return Resources(str(entry.get("group") or ""), names, _strings(entry, "resourceNames", where))


def _strings(entry: Object, field: str, where: str) -> tuple[str, ...]:
    found = entry.get(field) or []
    if not isinstance(found, list) or not all(isinstance(value, str) for value in found):
        raise ValueError(f"{where}.{field}: must be a list of strings")
    return tuple(found)


def _stages(found: Any, where: str) -> frozenset[str]:
    stages: Sequence[Any] = found or []
    if not isinstance(stages, list) or not set(stages) <= set(STAGES):
        raise ValueError(f"{where}: must be of {', '.join(STAGES)}")
    return frozenset(stages)


def _resource_matches(name: str, info: RequestInfo) -> bool:
    what = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if name in ("*", what):
        return True
    if name.startswith("*/"):
        return info.subresource == name[2:]
    return name.endswith("/*") and bool(info.subresource) and info.resource == name[:-2]
