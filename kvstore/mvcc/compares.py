"""The compares of a transaction, evaluated on the state before it writes anything.

Source: etcd v3 API, Compare. A VALUE compare on no key at all is false; any other target then compares with zero.
With range_end every key of the range must pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from kvstore.pb.etcd_pb2 import Compare

from .encoding import HEADER, HEADER_SIZE, value_of
from .keyspace import Keyspace
from .types import main_of

# protobuf looks an enum's names up anew every time.
_MOD, VALUE, _LEASE = int(Compare.MOD), int(Compare.VALUE), int(Compare.LEASE)
_VERSION, _CREATE = int(Compare.VERSION), int(Compare.CREATE)
_EQUAL, _NOT_EQUAL = int(Compare.EQUAL), int(Compare.NOT_EQUAL)
_GREATER, _LESS = int(Compare.GREATER), int(Compare.LESS)

# Target → the field that says what to compare with.
_FIELDS = {
    _VERSION: "version",
    _CREATE: "create_revision",
    _MOD: "mod_revision",
    VALUE: "value",
    _LEASE: "lease",
}

# Target → where in a Head; what the put that follows wants to know of the key, too.
_IN_HEAD: dict[int, Literal[3, 5]] = {_VERSION: 3, _CREATE: 5}

UNION_TAGS = {
    target: Compare.DESCRIPTOR.fields_by_name[field].number << 3 | (2 if target == VALUE else 0)
    for target, field in _FIELDS.items()
}
"""Target → the tag of that field in the encoding."""


def all_hold(keyspace: Keyspace, compares: Sequence[Compare]) -> bool:
    """Whether every compare holds now; true if there are none."""
    return all(_holds(keyspace, compare) for compare in compares)


def _holds(keyspace: Keyspace, compare: Compare) -> bool:
    index, key, end, target = keyspace.index, compare.key, compare.range_end, compare.target
    # A union member of another target reads as zero, as in etcd.
    field = _FIELDS.get(target)
    wanted: int | bytes = getattr(compare, field) if field is not None else 0
    if not index.count(key, end):
        return target != VALUE and _test(compare.result, 0, wanted)
    if not end:
        return _test(compare.result, _found(keyspace, target, index.revisions[key]), wanted)
    keys = index.slice(*index.span(key, end))
    return all(_test(compare.result, _found(keyspace, target, index.revisions[each]), wanted) for each in keys)


def holds(keyspace: Keyspace, key: bytes, target: int, result: int, wanted: int | bytes) -> bool:
    """Whether a compare of one key holds now. wanted: what the field of that target says."""
    revision = keyspace.index.revisions.get(key, 0)
    if not revision:
        return target != VALUE and _test(result, 0, wanted)
    head = keyspace.head(key, revision) if target in _IN_HEAD else None
    found = head[_IN_HEAD[target]] if head is not None else _found(keyspace, target, revision)
    return found == wanted if result == _EQUAL else _test(result, found, wanted)


def _found(keyspace: Keyspace, target: int, revision: int) -> int | bytes:
    if target == _MOD:
        return main_of(revision)
    record = keyspace.record(revision)
    if target == VALUE:
        return value_of(record[HEADER_SIZE:])
    _, _, create, version, lease, _ = HEADER.unpack_from(record)
    if target == _VERSION:
        return version  # type: ignore[no-any-return]
    if target == _CREATE:
        return create  # type: ignore[no-any-return]
    return lease if target == _LEASE else 0


def _test(result: int, found: int | bytes, wanted: int | bytes) -> bool:
    if result == _EQUAL:
        return found == wanted
    if result == _NOT_EQUAL:
        return found != wanted
    if result == _GREATER:
        return found > wanted  # type: ignore[operator]  # both are ints or both are bytes, by target
    if result == _LESS:
        return found < wanted  # type: ignore[operator]
    return True  # etcd: an unknown result holds
