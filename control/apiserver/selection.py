"""The selectors of a request, as the stored objects have their fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from control.api.fieldselectors import FieldRequirement, FieldSelector, parse_field_selector
from control.api.kind import Kind
from control.api.selectors import parse_label_selector
from control.api.status import bad_request
from control.apiserver.cached import Selection
from control.apiserver.request import RequestInfo

# Kinds that are stored as another version: how that one calls the fields.
_STORED_PATHS: Final = {
    "events.events.k8s.io": (
        ("regarding.", "involvedObject."),
        ("reportingController", "reportingComponent"),
    ),
}


def selection_of(kind: Kind, info: RequestInfo) -> Selection:
    """The namespace and the selectors of a list, watch or deletecollection. StatusError 400: malformed."""
    labels = parse_label_selector(info.parameter("labelSelector"))
    fields = _of_one(parse_field_selector(info.parameter("fieldSelector"), kind), info.name)
    return Selection(info.namespace if kind.namespaced else "", labels, _as_stored(kind, fields))


def _of_one(fields: FieldSelector, name: str) -> FieldSelector:
    """The selector, of the one object that the request names: it was allowed for that name, and shows no other.

    Names come from metadata.name= and from the deprecated /watch/…/NAME.
    """
    if not name:
        return fields
    if fields.everything:
        return FieldSelector((FieldRequirement("metadata.name", name),), ("",))
    if fields.value_of("metadata.name") != name:
        raise bad_request("fieldSelector metadata.name doesn't match requested name")
    return fields


def _as_stored(kind: Kind, fields: FieldSelector) -> FieldSelector:
    renames = _STORED_PATHS.get(kind.resource)
    if renames is None or fields.everything:
        return fields
    requirements = []
    for requirement in fields.requirements:
        path = requirement.field
        for old, new in renames:
            if path.startswith(old):
                path = new + path.removeprefix(old)
        requirements.append(replace(requirement, field=path))
    return FieldSelector(tuple(requirements), fields.zeros)
