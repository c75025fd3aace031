"""Every kind has an example that passes all of a write's stages, and every type and field of the tables is in use."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from control_api.examples_of_kinds import FOLDER, NOW, created, example, file_of

from control.api.catalogue import BUILTIN, Catalogue, version_order
from control.api.cells import CELLS
from control.api.convert import convert
from control.api.decode import STRICT, checker, decode
from control.api.defaults import apply_defaults, default_type
from control.api.kind import SUBRESOURCES, Kind
from control.api.rules.generic import check_type
from control.api.schema import ObjectType, Type, lookup, names
from control.api.table import definitions, table
from control.api.validate import check_body, check_create, check_update

ALL = [*BUILTIN, *BUILTIN.bodies]
STORED = [kind for kind in BUILTIN if kind.stored]
REVIEWS = [kind for kind in ALL if not kind.stored and kind.group != "metrics.k8s.io"]


def label(kind: Kind) -> str:
    return file_of(kind)


def test_every_example_belongs_to_a_kind() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {file_of(kind) for kind in ALL}


@pytest.mark.parametrize("kind", ALL, ids=label)
def test_examples_decode_strictly_and_decoding_is_stable(kind: Kind) -> None:
    obj = example(kind)
    before = deepcopy(obj)
    once = decode(kind, obj, validation=STRICT).object
    assert obj == before
    assert decode(kind, once, validation=STRICT).object == once


@pytest.mark.parametrize("kind", STORED, ids=label)
def test_examples_can_be_created_and_written_again(kind: Kind) -> None:
    obj = created(kind, example(kind))
    check_create(kind, obj)
    assert list(obj)[:3] == ["apiVersion", "kind", "metadata"]
    again = apply_defaults(kind, deepcopy(obj))
    assert again == obj
    assert decode(kind, obj, validation=STRICT).object == obj
    check_update(kind, deepcopy(obj), obj)


@pytest.mark.parametrize("kind", REVIEWS, ids=label)
def test_bodies_and_reviews_are_valid(kind: Kind) -> None:
    obj = apply_defaults(kind, decode(kind, example(kind), validation=STRICT).object)
    check_body(kind, {"apiVersion": kind.api_version, "kind": kind.name, **obj})


@pytest.mark.parametrize("kind", [kind for kind in BUILTIN if kind.storage_version], ids=label)
def test_versions_convert_without_loss(kind: Kind) -> None:
    obj = created(kind, example(kind))
    stored = convert(obj, kind.storage_version)
    target = BUILTIN.stored(kind)
    assert stored["apiVersion"] == target.api_version
    check_create(target, apply_defaults(target, decode(target, stored, validation=STRICT).object))
    assert convert(stored, kind.api_version) == obj
    other = created(target, example(target))
    assert convert(convert(other, kind.api_version), target.api_version) == other


@pytest.mark.parametrize("kind", list(BUILTIN), ids=label)
def test_tables_have_a_cell_for_each_column(kind: Kind) -> None:
    for obj in (example(kind), {"metadata": {"name": "bare"}}):
        found = table(kind, [obj], now=NOW)
        assert len(found["rows"][0]["cells"]) == len(definitions(kind)) > 0
        for cell, column in zip(found["rows"][0]["cells"], definitions(kind), strict=True):
            assert isinstance(cell, str | int) or (cell is None and column["type"] == "date"), column


def test_kinds_name_what_there_is() -> None:
    used = set()
    for kind in ALL:
        assert kind.object_type.kind
        assert set(kind.subresources) <= set(SUBRESOURCES)
        for subresource in kind.subresources:
            kind.subresource_kind(subresource)
        cells = {column.value for column in kind.columns if not column.value.startswith(".")}
        assert cells <= set(CELLS)
        used |= cells
        assert kind.object_type.description, f"{kind.name} has no description"
        assert all(column.description for column in kind.columns)
    assert set(CELLS) == used
    assert {name for kind in ALL for name in kind.subresources} <= set(SUBRESOURCES)


def below(of: Type) -> Type:
    while of.list is not None or of.map is not None:
        of = of.list or of.map or of
    return of


def test_every_type_of_the_tables_compiles_into_all_its_readers() -> None:
    """A type that nothing can check, fill in or validate is a typing error in a table."""
    for name in names():
        of = lookup(name)
        assert isinstance(of, ObjectType)
        checker(name)
        default_type(name, {})
        for field in of.fields.values():
            inner = below(field.type)
            if inner.ref:
                lookup(inner.ref)


REQUESTS = (
    "ListOptions", "GetOptions", "DeleteOptions", "CreateOptions", "PatchOptions", "ApplyOptions", "UpdateOptions",
    "Status", "APIVersions", "APIGroupList", "APIGroup", "APIResourceList", "RootPaths", "Table",
)  # fmt: skip
ROOTS = (
    *(kind.type for kind in ALL), *(f"meta.v1.{name}" for name in REQUESTS), "admission.v1.AdmissionReview",
    "apiextensions.v1.ConversionReview", "apiextensions.v1.JSON",
)  # fmt: skip


def test_every_type_belongs_to_a_kind_or_a_request() -> None:
    """What nothing refers to is dead weight in every table."""
    seen: set[str] = set()
    open_ends = list(ROOTS)
    while open_ends:
        name = open_ends.pop()
        if name in seen:
            continue
        seen.add(name)
        of = lookup(name)
        open_ends += [embedded.name for embedded in of.embedded.values()]
        open_ends += [inner.ref for field in of.fields.values() if (inner := below(field.type)).ref]
    assert seen == set(names())


def test_descriptions_are_short_and_there_for_what_people_explain() -> None:
    explained = (
        "meta.v1.ObjectMeta", "core.v1.PodSpec", "core.v1.Container", "core.v1.Probe", "core.v1.ServiceSpec",
        "core.v1.NodeSpec", "apps.v1.DeploymentSpec", "apps.v1.StatefulSetSpec", "apps.v1.DaemonSetSpec",
        "batch.v1.JobSpec", "batch.v1.CronJobSpec", "rbac.v1.PolicyRule", "networking.v1.IngressSpec",
        "policy.v1.PodDisruptionBudgetSpec", "autoscaling.v2.HorizontalPodAutoscalerSpec",
    )  # fmt: skip
    for name in explained:
        fields = [field for field in lookup(name).fields.values() if field.number]
        bare = [field.name for field in fields if not field.description]
        assert len(bare) <= len(fields) // 8, f"{name}: no description of {bare}"
    for name in names():
        for field in lookup(name).fields.values():
            assert len(field.description) < 100


FILLERS: dict[str, Any] = {
    "string": "x", "bool": True, "int32": 7, "int64": 7, "uint32": 7, "byte": 7, "float64": 1.5, "bytes": "aGk=",
    "quantity": "5", "intOrString": 5, "time": "2026-01-02T03:04:05Z", "microTime": "2026-01-02T03:04:05.000006Z",
    "duration": "1m", "raw": {"any": [None, 1]}, "json": [None, {"a": 1}], "fields": {"f:a": {}},
}  # fmt: skip


def filled(of: Type, depth: int) -> Any:
    """A value with every field, nested types down to a depth."""
    if of.list is not None:
        return [filled(of.list, depth)]
    if of.map is not None:
        return {"key": filled(of.map, depth)}
    if not of.ref:
        return FILLERS[of.scalar]
    if of.ref.startswith("apiextensions.v1.JSON") or not depth:
        return {}
    return {name: filled(field.type, depth - 1) for name, field in lookup(of.ref).fields.items()}


def test_every_field_is_reachable() -> None:
    """A whole object of each type, five levels deep, passes the reader and loses nothing; validation ends."""
    for name in names():
        if name.startswith("apiextensions.v1.JSON"):
            continue
        value = filled(Type(ref=name), 5)
        unknown: list[str] = []
        assert checker(name)(value, unknown) == value
        assert not unknown
        list(check_type(name, default_type(name, value), "at"))


def test_catalogue_finds_kinds_by_all_their_names() -> None:
    deployments = BUILTIN["deployments.apps"]
    assert BUILTIN.find("apps", "v1", "deployments") is deployments
    assert BUILTIN.by_kind("apps/v1", "Deployment") is deployments
    assert BUILTIN.by_resource("deployments.apps") is deployments
    for word in ("deploy", "Deployment", "deployments", "deployment.apps", "deploy.apps"):
        assert BUILTIN.named(word) is deployments
    assert BUILTIN.named("pods") is BUILTIN["pods"]
    assert BUILTIN.named("pods.metrics.k8s.io") is BUILTIN.find("metrics.k8s.io", "v1beta1", "pods")
    assert BUILTIN.find("apps", "v2", "deployments") is None
    assert BUILTIN.by_resource("deployments") is None
    assert BUILTIN.named("nonsense") is None
    assert BUILTIN.versions("autoscaling") == ["v2", "v1"]
    assert BUILTIN["horizontalpodautoscalers.autoscaling"].version == "v2"
    assert BUILTIN.groups()[0] == ""
    assert BUILTIN.by_kind("autoscaling/v1", "Scale") is not None
    with pytest.raises(KeyError):
        BUILTIN["ships"]
    with pytest.raises(ValueError, match="same plural"):
        Catalogue([deployments, deployments])


def test_versions_are_ordered_as_discovery_prefers_them() -> None:
    wanted = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    assert sorted(wanted, key=version_order, reverse=True) == wanted


def test_a_put_creates_objects_of_the_kinds_that_kubernetes_says() -> None:
    """AllowCreateOnUpdate in pkg/registry, of the kinds that are served here."""
    rbac = {f"{plural}.rbac.authorization.k8s.io" for plural in _RBAC_PLURALS}
    core = {"endpoints", "events", "events.events.k8s.io", "limitranges", "services"}
    assert {kind.resource for kind in BUILTIN if kind.put_creates} == core | rbac | {"leases.coordination.k8s.io"}


_RBAC_PLURALS = ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
