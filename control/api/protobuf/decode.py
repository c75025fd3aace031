"""A protobuf message as a JSON object, driven by the schema tables.

Go writes every scalar that is no pointer, zero or not; such zeros mean "absent" and are dropped, unless the field is
required (JSON has it too). A pointer's zero was written on purpose and stays. Messages that are no pointers and came
out empty are dropped likewise. Field numbers the tables do not know are skipped and named in `unknown`.

Invariant: nesting is bounded by MAX_DEPTH, so no body can exhaust the stack.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from control.api.protobuf.leaves import READERS, text
from control.api.protobuf.wire import BYTES, FIXED64, Value, WireError, double, fields, signed, varints
from control.api.schema import Field, ObjectType, Type, lookup

MAX_DEPTH: Final = 64
_MAX_UNKNOWN: Final = 20

# Lists of lists, and this one list, are messages of their own that hold the elements as field 1.
_WRAPPED: Final = frozenset({("meta.v1.APIResource", "verbs")})

# Sum types of JSON schemas: no fields in the tables, for in JSON they are one value or another.
_UNIONS: Final = frozenset(
    f"apiextensions.v1.JSONSchemaPropsOr{what}" for what in ("Array", "Bool", "StringArray")
)  # fmt: skip


@dataclass(slots=True)
class Reader:
    """Decodes messages; unknown: paths of skipped fields, as "spec.#99", at most 20 of them."""

    unknown: list[str] = field(default_factory=list)

    def message(self, data: bytes, of: ObjectType, path: str = "", depth: int = 0) -> dict[str, Any]:
        """The JSON object of a message. WireError: the bytes do not fit the type."""
        if depth > MAX_DEPTH:
            raise WireError(f"{path}: nested deeper than {MAX_DEPTH} levels")
        found: dict[str, Any] = {}
        numbers = of.numbers()
        for number, wire, value in fields(data):
            known = numbers.get(number)
            if known is not None:
                self._put(found, known, (wire, value), f"{path}.{known.name}" if path else known.name, depth, of.name)
            elif number in of.embedded:
                found.update(self.message(_content(wire, value, path), of.embedded[number], path, depth + 1))
            elif len(self.unknown) < _MAX_UNKNOWN:
                self.unknown.append(f"{path}.#{number}" if path else f"#{number}")
        return found

    def _put(self, found: dict[str, Any], of: Field, raw: tuple[int, Value], path: str, depth: int, owner: str) -> None:
        wire, value = raw
        if of.type.list is not None and (owner, of.name) not in _WRAPPED:
            found.setdefault(of.name, []).extend(self._elements(of.type.list, wire, value, path, depth))
        elif of.type.list is not None:
            found[of.name] = self._wrapped(of.type.list, _content(wire, value, path), path, depth)
        elif of.type.map is not None:
            key, element = self._entry(of.type.map, _content(wire, value, path), path, depth)
            found.setdefault(of.name, {})[key] = element
        else:
            decoded = self._single(of.type, wire, value, path, depth)
            if _present(of, decoded):
                found[of.name] = decoded

    def _elements(self, of: Type, wire: int, value: Value, path: str, depth: int) -> list[Any]:
        if wire == BYTES and of.scalar in ("int32", "int64", "uint32", "bool"):
            return [bool(v) if of.scalar == "bool" else signed(v) for v in varints(_content(wire, value, path))]
        return [self._single(of, wire, value, path, depth)]

    def _wrapped(self, of: Type, data: bytes, path: str, depth: int) -> list[Any]:
        return [self._single(of, wire, value, path, depth) for number, wire, value in fields(data) if number == 1]

    def _entry(self, of: Type, data: bytes, path: str, depth: int) -> tuple[str, Any]:
        key, wire, value = "", BYTES, b""  # type: str, int, Value
        for number, member_wire, member in fields(data):
            if number == 1:
                key = text(_content(member_wire, member, path))
            elif number == 2:
                wire, value = member_wire, member
        return key, self._single(of, wire, value, f"{path}.{key}", depth)

    def _single(self, of: Type, wire: int, value: Value, path: str, depth: int) -> Any:
        if of.list is not None:
            return self._wrapped(of.list, _content(wire, value, path), path, depth + 1)
        if of.ref in _UNIONS:
            return self._union(of.ref, _content(wire, value, path), path, depth + 1)
        if of.ref:
            return self.message(_content(wire, value, path), lookup(of.ref), path, depth + 1)
        reader = READERS.get(of.scalar)
        if reader is not None:
            return reader(_content(wire, value, path))
        return _number(of.scalar, wire, value, path)

    def _union(self, name: str, data: bytes, path: str, depth: int) -> Any:
        schema = lookup("apiextensions.v1.JSONSchemaProps")
        members = [(n, wire, value) for n, wire, value in fields(data)]
        allows = any(bool(value) for n, _, value in members if n == 1 and not isinstance(value, bytes))
        boolean = name.endswith("Bool")
        single = [_content(w, v, path) for n, w, v in members if n == (2 if boolean else 1) and isinstance(v, bytes)]
        if single:
            return self.message(single[-1], schema, path, depth)
        if boolean:
            return allows
        rest = [_content(w, v, path) for n, w, v in members if n == 2]
        return [text(r) for r in rest] if name.endswith("StringArray") else [
            self.message(r, schema, path, depth) for r in rest
        ]  # fmt: skip


def _present(of: Field, value: Any) -> bool:
    if value is None:
        return False
    if of.type.pointer or value or (isinstance(value, bool | int | float | str) and of.required):
        return True
    return bool(of.type.scalar) and of.type.scalar in ("intOrString", "json", "raw")


def _content(wire: int, value: Value, path: str) -> bytes:
    if wire != BYTES or not isinstance(value, bytes):
        raise WireError(f"{path}: expected a message or text, found a number")
    return value


def _number(scalar: str, wire: int, value: Value, path: str) -> Any:
    if isinstance(value, bytes):
        raise WireError(f"{path}: expected a number, found a message or text")
    if scalar == "float64":
        if wire != FIXED64:
            raise WireError(f"{path}: expected a 64-bit float")
        return _plain(double(value))
    return bool(value) if scalar == "bool" else signed(value)


def _plain(value: float) -> float | int:
    # JSON's 1 and 1.0 are one number; Go prints the shorter.
    return int(value) if value.is_integer() else value
