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


def all_hold(keyspace: Keyspace, compares: Sequence[Compare]) -> bool:
    """Whether every compare holds now; true if there are none."""
    return all(_holds(keyspace, compare) for compare in compares)


def _holds(keyspace: Keyspace, compare: Compare) -> bool:
    index = keyspace.index
    if not index.count(compare.key, compare.range_end):
        return compare.target != Compare.VALUE and _test(compare, 0, _wanted(compare))
    wanted = _wanted(compare)
    if not compare.range_end:
        return _test(compare, _found(keyspace, compare.target, index.revisions[compare.key]), wanted)
    keys = index.slice(*index.span(compare.key, compare.range_end))
    return all(_test(compare, _found(keyspace, compare.target, index.revisions[key]), wanted) for key in keys)


def _wanted(compare: Compare) -> int | bytes:
    # A union member of another target reads as zero, as in etcd.
    match compare.target:
        case Compare.VERSION:
            return compare.version
        case Compare.CREATE:
            return compare.create_revision
        case Compare.MOD:
            return compare.mod_revision
        case Compare.VALUE:
            return compare.value
        case Compare.LEASE:
            return compare.lease
    return 0


def _found(keyspace: Keyspace, target: int, revision: int) -> int | bytes:
    if target == Compare.MOD:
        return main_of(revision)
    record = keyspace.record(revision)
    if target == Compare.VALUE:
        return value_of(record[HEADER_SIZE:])
    _, _, create, version, lease, _ = HEADER.unpack_from(record)
    found: dict[int, int] = {Compare.VERSION: version, Compare.CREATE: create, Compare.LEASE: lease}
    return found.get(target, 0)


def _test(compare: Compare, found: int | bytes, wanted: int | bytes) -> bool:
    match compare.result:
        case Compare.EQUAL:
            return found == wanted
        case Compare.NOT_EQUAL:
            return found != wanted
        case Compare.GREATER:
            return found > wanted  # type: ignore[operator]  # both are ints or both are bytes, by target
        case Compare.LESS:
            return found < wanted  # type: ignore[operator]
    return True  # etcd: an unknown result holds
