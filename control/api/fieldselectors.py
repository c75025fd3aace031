"""Field selectors: "spec.nodeName=n1,status.phase!=Succeeded", on the few fields that a kind declares selectable.

A backslash takes the meaning from ',', '=' and itself within a value.

Source: "Field Selectors" of the Kubernetes documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from control.api.kind import Kind
from control.api.schema import Type
from control.api.status import bad_request, quoted

_ALWAYS: Final = ("metadata.name", "metadata.namespace")


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One comparison with a field's text. equal: False for "!="."""

    field: str
    value: str
    equal: bool = True

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
        return f"{self.field}{'=' if self.equal else '!='}{escaped}"


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[FieldRequirement, ...] = ()
    zeros: tuple[str, ...] = ()

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all(
            (field_text(obj, requirement.field, zero) == requirement.value) == requirement.equal
            for requirement, zero in zip(self.requirements, self.zeros, strict=True)
        )

    def value_of(self, field: str) -> str | None:
        """The value the field must have, when the selector says one: "metadata.name" lets a list become a get."""
        return next((r.value for r in self.requirements if r.field == field and r.equal), None)

    @property
    def everything(self) -> bool:
        return not self.requirements

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


@lru_cache(1024)
def parse_field_selector(text: str, kind: Kind) -> FieldSelector:
    """The selector of a `fieldSelector=` parameter. StatusError (400): malformed, or the kind has no such field."""
    found = tuple(_requirement(part) for part in _split(text, ",") if part)
    for requirement in found:
        if requirement.field not in _ALWAYS and requirement.field not in kind.selectable:
            raise bad_request(f"field label not supported: {requirement.field}")
    return FieldSelector(found, tuple(_zero(kind, requirement.field) for requirement in found))


def selectable_fields(kind: Kind) -> tuple[str, ...]:
    """All paths a field selector of that kind may name."""
    return (*_ALWAYS, *kind.selectable) if kind.namespaced else ("metadata.name", *kind.selectable)


def field_text(obj: Mapping[str, Any], field: str, zero: str = "") -> str:
    """The field as selectors compare it: numbers and booleans as text, an absent field as its type's zero."""
    special = _COMPUTED.get(f"{obj.get('kind')}:{field}")
    if special is not None:
        return special(obj)
    at: Any = obj
    for part in field.split("."):
        at = at.get(part) if isinstance(at, Mapping) else None
    if at is None:
        return zero
    if isinstance(at, bool):
        return "true" if at else "false"
    return str(at)


def _event_source(event: Mapping[str, Any]) -> str:
    return str((event.get("source") or {}).get("component") or event.get("reportingComponent") or "")


def _job_successful(job: Mapping[str, Any]) -> str:
    return str((job.get("status") or {}).get("succeeded") or 0)


def _pod_ips(pod: Mapping[str, Any]) -> str:
    return ",".join(entry.get("ip", "") for entry in (pod.get("status") or {}).get("podIPs") or [])


def _namespace_name(namespace: Mapping[str, Any]) -> str:
    return str((namespace.get("metadata") or {}).get("name") or "")


_COMPUTED: Final[dict[str, Callable[[Mapping[str, Any]], str]]] = {
    "Event:source": _event_source,
    "Job:status.successful": _job_successful,
    "Pod:status.podIPs": _pod_ips,
    "Namespace:name": _namespace_name,
}


def _requirement(part: str) -> FieldRequirement:
    for index, letter in enumerate(part):
        if letter == "\\":
            break
        if part.startswith("!=", index):
            return FieldRequirement(part[:index], _unescape(part[index + 2 :]), equal=False)
        if letter == "=":
            width = 2 if part.startswith("==", index) else 1
            return FieldRequirement(part[:index], _unescape(part[index + width :]))
    raise bad_request(f"invalid selector: {quoted(part)}; can't understand {quoted(part)}")


def _split(text: str, separator: str) -> list[str]:
    parts, current, escaped = [], "", False
    for letter in text:
        if not escaped and letter == separator:
            parts.append(current)
            current = ""
            continue
        current += letter
        escaped = letter == "\\" and not escaped
    return [*parts, current]


def _unescape(value: str) -> str:
    text, escaped = "", False
    for letter in value:
        if escaped:
            if letter not in "\\,=":
                raise bad_request(f"invalid field selector: invalid escape sequence in value: {quoted(value)}")
            text, escaped = text + letter, False
        elif letter == "\\":
            escaped = True
        elif letter == "=":
            raise bad_request(f"invalid field selector: unescaped '=' in value: {quoted(value)}")
        else:
            text += letter
    if escaped:
        raise bad_request(f"invalid field selector: value ends with a backslash: {quoted(value)}")
    return text


def _zero(kind: Kind, field: str) -> str:
    """What an absent field reads as: "false" for booleans, "0" for numbers that are no pointers, else ""."""
    if kind.structural is not None:
        return ""
    at = Type(ref=kind.type)
    for part in field.split("."):
        object_type = at.object
        if object_type is None or part not in object_type.fields:
            return ""
        at = object_type.fields[part].type
    if at.scalar == "bool":
        return "false"
    return "0" if at.scalar in ("int32", "int64") and not at.pointer else ""
