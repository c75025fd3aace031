"""CustomResourceDefinitions become kinds: one Kind for each served version, with its schema compiled.

All versions of a custom kind have the same JSON but for apiVersion (conversion strategy None); what a version's schema
does not know is pruned when an object is written through it.

A definition is established once its names are accepted: no other kind of its group has its plural, singular, short
names, kind or list kind. Which of two definitions with one name wins is decided by who was accepted first.

Source: "Extend the Kubernetes API with CustomResourceDefinitions" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from control.api.copying import copied
from control.api.kind import Column, Kind, Scale
from control.api.kinds.columns import AGE, NAME
from control.api.meta import is_true, name, set_condition
from control.api.schema import Object
from control.api.structural import Structural

_CONFLICTS: Final = (
    # (field of the names, reason of the condition)
    ("plural", "PluralConflict"),
    ("singular", "SingularConflict"),
    ("kind", "KindConflict"),
    ("listKind", "ListKindConflict"),
)


def kinds_of(definition: Object) -> list[Kind]:
    """The kinds of the definition's served versions. The definition is valid (control/api/rules/crds.py)."""
    spec = definition["spec"]
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [_kind(spec, version, stored) for version in spec["versions"] if version.get("served")]


def _kind(spec: Object, version: Object, stored: str) -> Kind:
    names, group = spec["names"], spec["group"]
    subresources, scale = _subresources(version)
    schema = version.get("schema", {}).get("openAPIV3Schema", {})
    return Kind(
        group=group,
        version=version["name"],
        name=names["kind"],
        plural=names["plural"],
        type="",
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        subresources=subresources,
        columns=_columns(version),
        selectable=tuple(field["jsonPath"].lstrip(".") for field in version.get("selectableFields", ())),
        scale=scale,
        storage_version="" if version["name"] == stored else f"{group}/{stored}",
        singular_name=names.get("singular", ""),
        list_name=names.get("listKind", ""),
        deprecated=_deprecation(group, version, names["kind"]),
        structural=Structural(schema),
    )


def _subresources(version: Object) -> tuple[tuple[str, ...], Scale | None]:
    given = version.get("subresources", {})
    names = tuple(field for field in ("scale", "status") if field in given)
    if "scale" not in given:
        return names, None
    paths = given["scale"]
    return names, Scale(paths["specReplicasPath"], paths["statusReplicasPath"], paths.get("labelSelectorPath", ""))


def _columns(version: Object) -> tuple[Column, ...]:
    given = version.get("additionalPrinterColumns")
    if not given:
        return (NAME, AGE)
    columns = [
        Column(
            column["name"],
            column["jsonPath"],
            column["type"],
            bool(column.get("priority")),
            column.get("description", ""),
            column.get("format", ""),
            path=True,
        )
        for column in given
    ]
    return (NAME, *columns)


def _deprecation(group: str, version: Object, kind: str) -> str:
    if not version.get("deprecated"):
        return ""
    return str(version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated")


def warnings_of(definition: Object) -> list[str]:
    """What its author should know: parts of it that are stored but have no effect."""
    found = []
    for version in definition.get("spec", {}).get("versions", ()):
        schema = version.get("schema", {}).get("openAPIV3Schema", {})
        paths = list(_rules_in(schema, ""))
        if paths:
            found.append(
                f"version {version.get('name')}: x-kubernetes-validations (CEL) are not evaluated by this server: "
                + ", ".join(paths[:5])
                + (f" and {len(paths) - 5} more" if len(paths) > 5 else "")
            )
    return found


def _rules_in(schema: Object, at: str) -> Iterator[str]:
    """The paths of the levels with validation rules."""
    if schema.get("x-kubernetes-validations"):
        yield at or "the root"
    for field, below in schema.get("properties", {}).items():
        yield from _rules_in(below, f"{at}.{field}" if at else field)
    for keyword, suffix in (("items", "[*]"), ("additionalProperties", "[*]")):
        if isinstance(schema.get(keyword), dict):
            yield from _rules_in(schema[keyword], at + suffix)


def status_of(definition: Object, others: Iterable[Kind], now: datetime) -> Object:
    """The status a definition has beside other kinds (the built-in ones and those of other definitions).

    Names are accepted when no other kind of the group has them; a definition that is established stays so. Its own
    kinds may be among the others.
    """
    spec, status = definition["spec"], copied(definition.get("status") or {})
    wanted = spec["names"]
    rivals = [kind for kind in others if kind.group == spec["group"] and _definition_name(kind) != name(definition)]
    clash = next(_clashes(wanted, rivals), None)
    conditions = status.get("conditions", [])
    if clash is None:
        status["acceptedNames"] = copied(wanted)
        conditions = set_condition(
            conditions, "NamesAccepted", "True", now, reason="NoConflicts", message="no conflicts found"
        )
        conditions = set_condition(
            conditions, "Established", "True", now, reason="InitialNamesAccepted",
            message="the initial names have been accepted",
        )  # fmt: skip
    else:
        reason, message = clash
        status.setdefault("acceptedNames", {"kind": "", "plural": ""})
        conditions = set_condition(conditions, "NamesAccepted", "False", now, reason=reason, message=message)
        if not is_true(definition, "Established"):
            conditions = set_condition(
                conditions, "Established", "False", now, reason="NotAccepted", message="not all names are accepted"
            )
    status["conditions"] = conditions
    status["storedVersions"] = _stored_versions(spec, status.get("storedVersions", ()))
    return status


def _definition_name(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.custom else ""


def _clashes(wanted: Object, rivals: Iterable[Kind]) -> Iterator[tuple[str, str]]:
    """(reason, message) of every name that another kind of the group has."""
    for rival in rivals:
        resources = {rival.plural, rival.singular, *rival.short_names}
        kinds = {rival.name, rival.list_kind}
        for field, reason in _CONFLICTS:
            taken = kinds if field in ("kind", "listKind") else resources
            if wanted.get(field) in taken:
                yield reason, f'"{wanted[field]}" is already in use'
        for short in wanted.get("shortNames", ()):
            if short in resources:
                yield "ShortNamesConflict", f'"{short}" is already in use'


def _stored_versions(spec: Object, known: Iterable[str]) -> list[str]:
    """The versions that objects may be stored in: those there were, and the one that is stored now."""
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [*(version for version in known if version != stored), stored]


def is_established(definition: Object) -> bool:
    """Whether its kinds are served."""
    return is_true(definition, "Established")
