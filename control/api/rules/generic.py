"""Validation that the schema tables already say: required fields, enumerations, unique list keys; and the rules of
single types (control/api/rules). So a pod template is checked alike wherever it stands.

Status is the controllers' own and is not checked. Invariant: a value that passes has every field the rules read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from control.api.fielderrors import duplicate, not_supported, required
from control.api.rules import access, containers, metadata, pods, scheduling, services, volumes
from control.api.rules.checks import Causes
from control.api.schema import Field, Json, Object, ObjectType, Type, lookup, types_below

Rule = Callable[[Object, str], Causes]
Visit = Callable[[Json, str], Causes]

TYPE_RULES: Final[dict[str, Rule]] = {
    "meta.v1.ObjectMeta": metadata.check_labels,
    "meta.v1.LabelSelector": scheduling.check_label_selector,
    "core.v1.PodSpec": pods.check_pod_spec,
    "core.v1.PodTemplateSpec": pods.check_template,
    "core.v1.Container": containers.check_container,
    "core.v1.EphemeralContainer": containers.check_container,
    "core.v1.EnvVar": containers.check_env,
    "core.v1.Probe": containers.check_probe,
    "core.v1.LifecycleHandler": containers.check_handler,
    "core.v1.Volume": volumes.check_volume,
    "core.v1.PersistentVolumeSpec": volumes.check_volume_spec,
    "core.v1.PersistentVolumeClaimSpec": volumes.check_claim_spec,
    "core.v1.NodeSelector": scheduling.check_node_selector,
    "core.v1.NodeSelectorRequirement": scheduling.check_node_requirement,
    "core.v1.PreferredSchedulingTerm": scheduling.check_weight,
    "core.v1.WeightedPodAffinityTerm": scheduling.check_weight,
    "core.v1.PodAffinityTerm": scheduling.check_affinity_term,
    "core.v1.TopologySpreadConstraint": scheduling.check_spread,
    "core.v1.Toleration": scheduling.check_toleration,
    "networking.v1.IngressBackend": services.check_backend,
    "rbac.v1.PolicyRule": access.check_policy_rule,
}
"""By the full name of the type; called with the object and its path."""

_MAY_BE_EMPTY: Final = frozenset(
    {
        "core.v1.HTTPHeader.value", "core.v1.Sysctl.value", "core.v1.PodSpec.containers",
        "core.v1.TopologySpreadConstraint.maxSkew",
        "core.v1.NodeSelector.nodeSelectorTerms", "core.v1.ContainerPort.containerPort", "rbac.v1.PolicyRule.verbs",
        "networking.v1.HTTPIngressPath.backend", "discovery.v1.Endpoint.addresses", "apps.v1.ControllerRevision.data",
        "core.v1.WeightedPodAffinityTerm.weight", "core.v1.PreferredSchedulingTerm.weight",
        "metrics.v1beta1.ContainerMetrics.usage", "core.v1.ISCSIVolumeSource.lun", "core.v1.Event.metadata",
        "core.v1.ISCSIPersistentVolumeSource.lun", "core.v1.Binding.target",
    }
)  # fmt: skip
"""Required fields whose absence or emptiness a rule of its own judges, or that may be empty."""

_MAY_REPEAT: Final = frozenset(
    {
        "core.v1.Container.ports", "core.v1.Container.env", "core.v1.Container.volumeMounts", "core.v1.PodSpec.volumes",
        "core.v1.EphemeralContainer.ports", "core.v1.EphemeralContainer.env", "core.v1.EphemeralContainer.volumeMounts",
        "core.v1.PodSpec.containers", "core.v1.PodSpec.initContainers", "core.v1.PodSpec.ephemeralContainers",
        "core.v1.PodSpec.hostAliases", "core.v1.PodSpec.imagePullSecrets", "core.v1.ServiceAccount.secrets",
        "meta.v1.ObjectMeta.ownerReferences", "apiextensions.v1.JSONSchemaProps.x-kubernetes-validations",
    }
)  # fmt: skip
"""Lists with keys in which Kubernetes takes an entry twice, or whose own rule says it better."""

_SKIPPED: Final = frozenset({"meta.v1.ObjectMeta.managedFields"})


def check_type(name: str, value: Json, at: str) -> Causes:
    """All that is wrong with a value of that type, below the path."""
    return _visitor(name)(value, at)


@cache
def _visitor(name: str) -> _Visitor:
    return _Visitor(lookup(name))


class _Visitor:
    """Checks objects of one type; what its fields need is worked out at the first use."""

    __slots__ = ("enums", "keyed", "nested", "of", "ready", "required", "rule")

    def __init__(self, of: ObjectType) -> None:
        self.of = of
        self.rule = TYPE_RULES.get(of.name)
        self.ready = False
        self.required: tuple[str, ...] = ()
        self.enums: tuple[tuple[str, frozenset[str], bool], ...] = ()
        self.keyed: tuple[tuple[str, tuple[str, ...]], ...] = ()
        self.nested: tuple[tuple[str, Visit], ...] = ()

    def _prepare(self) -> None:
        fields = [field for field in self.of.fields.values() if not self._is_skipped(field)]
        name = self.of.name
        self.required = tuple(f.name for f in fields if f.required and f"{name}.{f.name}" not in _MAY_BE_EMPTY)
        self.enums = tuple((f.name, frozenset(f.enum), f.type.list is not None) for f in fields if f.enum)
        self.keyed = tuple(
            (f.name, f.list_keys) for f in fields if f.list_keys and f"{name}.{f.name}" not in _MAY_REPEAT
        )
        self.nested = tuple((f.name, visit) for f in fields if (visit := _visit_of(f.type)) is not None)
        self.ready = True

    def _is_skipped(self, field: Field) -> bool:
        status = self.of.kind and field.name in ("status", "metadata")
        return status or f"{self.of.name}.{field.name}" in _SKIPPED

    def __call__(self, obj: Json, at: str) -> Causes:
        if not self.ready:
            self._prepare()
        start = f"{at}." if at else ""
        for name in self.required:
            if obj.get(name) in (None, "", []):
                yield required(start + name)
        for name, choices, many in self.enums:
            if name in obj:
                yield from _enum(obj[name], choices, many, start + name)
        for name, keys in self.keyed:
            if name in obj:
                yield from _unique(obj[name], keys, start + name)
        if self.rule is not None:
            yield from self.rule(obj, at)
        for name, visit in self.nested:
            if name in obj:
                yield from visit(obj[name], start + name)


def _enum(value: Json, choices: frozenset[str], many: bool, at: str) -> Causes:
    if many:
        for index, entry in enumerate(value):
            if entry not in choices:
                yield not_supported(f"{at}[{index}]", entry, choices)
    elif value not in choices:
        yield not_supported(at, value, choices - {""})


def _unique(entries: list[Object], keys: tuple[str, ...], at: str) -> Causes:
    seen: set[Any] = set()
    for index, entry in enumerate(entries):
        key = tuple(entry.get(name) for name in keys)
        if key in seen:
            one = len(keys) == 1
            value = key[0] if one else dict(zip(keys, key, strict=True))
            yield duplicate(f"{at}[{index}].{keys[0]}" if one else f"{at}[{index}]", value)
        seen.add(key)


def _visit_of(of: Type) -> Visit | None:
    """What visits the values of a field; None: nothing below it has a rule."""
    element = of.list or of.map
    if element is None:
        return _visitor(of.ref) if of.ref and _has_rules(of.ref) else None
    inner = _visit_of(element)
    if inner is None:
        return None
    return _each_value(inner) if of.map is not None else _each_entry(inner)


def _each_entry(inner: Visit) -> Visit:
    def visit(value: list[Json], at: str) -> Causes:
        for index, entry in enumerate(value):
            yield from inner(entry, f"{at}[{index}]")

    return visit


def _each_value(inner: Visit) -> Visit:
    def visit(value: dict[str, Json], at: str) -> Causes:
        for key, entry in value.items():
            yield from inner(entry, f"{at}[{key}]")

    return visit


@cache
def _has_rules(name: str) -> bool:
    """Whether the type, or one that it is made of, has anything to check."""
    return any(_checks_itself(each) for each in types_below(name))


def _checks_itself(name: str) -> bool:
    fields = lookup(name).fields.values()
    return name in TYPE_RULES or any(field.required or field.enum or field.list_keys for field in fields)
