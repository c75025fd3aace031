"""The compares of a transaction, evaluated on the state before it writes anything.

Source: etcd v3 API, Compare. A VALUE compare on no key at all is false; any other target then compares with zero.
With range_end every key of the range must pass.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.pb.etcd_pb2 import Compare

from .encoding import HEADER, HEADER_SIZE, value_of
from .keyspace import Keyspace
from .types import main_of

# protobuf looks an enum's names up anew every time.
_MOD, _VALUE, _LEASE = int(Compare.MOD), int(Compare.VALUE), int(Compare.LEASE)
_VERSION, _CREATE = int(Compare.VERSION), int(Compare.CREATE)
_EQUAL, _NOT_EQUAL = int(Compare.EQUAL), int(Compare.NOT_EQUAL)
_GREATER, _LESS = int(Compare.GREATER), int(Compare.LESS)

# Target → the field that says what to compare with.
_FIELDS = {
    _VERSION: "version",
    _CREATE: "create_revision",
    _MOD: "mod_revision",
    _VALUE: "value",
    _LEASE: "lease",
}


def all_hold(keyspace: Keyspace, compares: Sequence[Compare]) -> bool:
    """Whether every compare holds now; true if there are none."""
    return all(_holds(keyspace, compare) for compare in compares)


def _holds(keyspace: Keyspace, compare: Compare) -> bool:
    index, key, end, target = keyspace.index, compare.key, compare.range_end, compare.target
    # A union member of another target reads as zero, as in etcd.
    field = _FIELDS.get(target)
    wanted: int | bytes = getattr(compare, field) if field is not None else 0
    if not index.count(key, end):
        return target != _VALUE and _test(compare.result, 0, wanted)
    if not end:
        return _test(compare.result, _found(keyspace, target, index.revisions[key]), wanted)
    keys = index.slice(*index.span(key, end))
    return all(_test(compare.result, _found(keyspace, target, index.revisions[each]), wanted) for each in keys)


def _found(keyspace: Keyspace, target: int, revision: int) -> int | bytes:
    if target == _MOD:
        return main_of(revision)
    record = keyspace.record(revision)
    if target == _VALUE:
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
