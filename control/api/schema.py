"""The types of the Kubernetes API as data: what fields an object has, of what type, and how patches merge them.

The tables are text files in control/api/types, one per group and version, because people read and compare them:

    DeploymentSpec                                  a type; "kind" after it: it has apiVersion and kind as well
      replicas 1 *int32 default=1 -- wanted pods    field, protobuf number (0: JSON only), type, traits, description
      selector 2 *meta.v1.LabelSelector required
      template 3 core.v1.PodTemplateSpec required
      + 4 SomeSource inline                         the fields of SomeSource stand here in JSON; in protobuf they are
                                                    a message of their own with this number

Types: a scalar, the name of a type of this file or "group.version.Name" of another, "[]T" a list, "{}T" a map from
strings, "*T" a pointer: it tells "absent" from zero (Go clients write zeros of all others into protobuf bodies).

Traits: required; merge=key (strategic merge by this key), merge (a list of scalars merged as a set), retainKeys,
replace; list=atomic|set|map:key,key and map=atomic, struct=atomic (server-side apply, "structured merge diff" v4);
default=value (JSON without spaces, or a word);
enum=a|b (the empty value is ""). "atomic" after a type's name: the whole is one leaf for apply.

Sources: names, numbers and merge keys are those of the API reference of Kubernetes 1.32 (k8s.io/api); texts are ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

Json = Any
Object = dict[str, Any]

SCALARS: Final = frozenset(
    {
        "string", "bool", "int32", "int64", "uint32", "float64", "byte",
        "bytes",  # base64 in JSON
        "quantity", "intOrString", "time", "microTime", "duration",
        "raw",  # any object
        "json",  # any value
        "fields",  # fieldsV1 of managedFields
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Type:
    """A type expression: exactly one of scalar, ref, list and map is set (list and map: the type of their elements)."""

    scalar: str = ""
    ref: str = ""
    list: Type | None = None
    map: Type | None = None
    pointer: bool = False

    @property
    def object(self) -> ObjectType | None:
        """The object type a reference names; None for anything else. KeyError: no such type."""
        return lookup(self.ref) if self.ref else None


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an object type, with what clients may rely on when they merge or omit it."""

    name: str
    number: int
    type: Type
    required: bool = False
    patch_merge: bool = False
    merge_key: str = ""
    retain_keys: bool = False
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    atomic: bool = False
    default: Json = None
    enum: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class ObjectType:
    """An object type: its fields by JSON name, those of inlined types among them."""

    name: str
    fields: Mapping[str, Field]
    embedded: Mapping[int, ObjectType] = field(default_factory=dict)
    own: frozenset[str] = frozenset()
    kind: bool = False
    atomic: bool = False
    description: str = ""

    @property
    def short_name(self) -> str:
        return self.name.rsplit(".", 1)[1]

    def numbers(self) -> Mapping[int, Field]:
        """Fields by protobuf number; those of embedded types are in `embedded`."""
        return _numbers(self.name)


@cache
def _numbers(name: str) -> Mapping[int, Field]:
    of = lookup(name)
    return {of.fields[field_name].number: of.fields[field_name] for field_name in of.own}


@dataclass(slots=True)
class _Block:
    """One type as it stands in a file: the head's words and the lines below it."""

    package: str
    head: list[str]
    description: str
    lines: list[str]


@cache
def _blocks() -> dict[str, _Block]:
    found: dict[str, _Block] = {}
    for file in sorted(resources.files("control.api").joinpath("types").iterdir(), key=lambda f: f.name):
        if not file.name.endswith(".types"):
            continue
        package = ".".join(file.name.split(".")[:2])
        for block in _split(package, file.read_text(encoding="utf-8")):
            found[f"{package}.{block.head[0]}"] = block
    return found


def _split(package: str, text: str) -> Iterator[_Block]:
    block: _Block | None = None
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith(" "):
            if block is None:
                raise ValueError(f"{package}: a field before any type: {line.strip()}")
            block.lines.append(line.strip())
            continue
        if block is not None:
            yield block
        head, _, description = line.partition(" -- ")
        block = _Block(package, head.split(), description.strip(), [])
    if block is not None:
        yield block


def types_below(name: str) -> set[str]:
    """The object type of that full name and all that it is made of. KeyError: there is none."""
    found: set[str] = set()
    open_ends = [name]
    while open_ends:
        current = open_ends.pop()
        if current in found:
            continue
        found.add(current)
        for part in lookup(current).fields.values():
            of = part.type
            while of.list or of.map:
                of = of.list or of.map or of
            if of.ref:
                open_ends.append(of.ref)
    return found


@cache
def lookup(name: str) -> ObjectType:
    """The object type of that full name, as "core.v1.PodSpec". KeyError: there is none."""
    block = _blocks()[name]
    fields: dict[str, Field] = {}
    embedded: dict[int, ObjectType] = {}
    own: list[str] = []
    kind = "kind" in block.head[1:]
    if kind:
        fields["apiVersion"] = Field("apiVersion", 0, Type("string"), description="group and version of the schema")
        fields["kind"] = Field("kind", 0, Type("string"), description="name of the schema, in CamelCase")
    for line in block.lines:
        text, _, description = line.partition(" -- ")
        field_name, number, type_text, *traits = text.split()
        if field_name == "+":
            inlined = lookup(_full(type_text, block.package))
            embedded[int(number)] = inlined
            fields.update(inlined.fields)
            continue
        parsed = Field(
            field_name,
            int(number),
            _type(type_text, block.package),
            description=description.strip(),
            **_traits(traits),
        )
        fields[field_name] = parsed
        own.append(field_name)
    numbered = frozenset(n for n in own if fields[n].number)
    return ObjectType(name, fields, embedded, numbered, kind, "atomic" in block.head[1:], block.description)


def names() -> list[str]:
    """The full names of all types in the tables, sorted."""
    return sorted(_blocks())


def _full(name: str, package: str) -> str:
    return name if "." in name else f"{package}.{name}"


def _type(text: str, package: str) -> Type:
    if text.startswith("*"):
        inner = _type(text[1:], package)
        return Type(inner.scalar, inner.ref, inner.list, inner.map, pointer=True)
    if text.startswith("[]"):
        return Type(list=_type(text[2:], package))
    if text.startswith("{}"):
        return Type(map=_type(text[2:], package))
    if text in SCALARS:
        return Type(text)
    return Type(ref=_full(text, package))


def _traits(words: list[str]) -> dict[str, Any]:
    traits: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        match name:
            case "required":
                traits["required"] = True
            case "merge":
                traits["patch_merge"] = True
                traits["merge_key"] = value
            case "retainKeys":
                traits["retain_keys"] = True
            case "replace":
                pass
            case "list":
                kind, _, keys = value.partition(":")
                traits["list_type"] = kind
                traits["list_keys"] = tuple(keys.split(",")) if keys else ()
            case "map" | "struct":
                traits["atomic"] = value == "atomic"
            case "default":
                traits["default"] = _value(value)
            case "enum":
                traits["enum"] = tuple("" if v == '""' else v for v in value.split("|"))
            case _:
                raise ValueError(f"unknown trait {word!r}; known are those in control/api/schema.py's heading")
    return traits


def _value(text: str) -> Json:
    """A default: JSON where it is some (numbers, true, {}, ""), else the word itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text
