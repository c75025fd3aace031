"""A member's state as a bbolt file with etcd's buckets: what Maintenance.Snapshot sends and etcdutl accepts.

Made from one read view, so it is the state of one moment while the member goes on writing; by another process
(child.py), for in a thread this work would make the member's loop wait for the interpreter again and again.
Bounded memory: history, which is nearly everything, is passed on row by row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from kvstore.backup import rows
from kvstore.mvcc.encoding import HEADER_SIZE, TOMBSTONE, encode_kv, record_key
from kvstore.mvcc.lease import unpack_lease
from kvstore.mvcc.meta import (
    APPLIED_INDEX,
    APPLIED_TERM,
    COMPACT_FINISHED,
    COMPACT_SCHEDULED,
    CONF_STATE,
    DELETE_UNFINISHED,
)
from kvstore.mvcc.types import pack, to_bytes
from kvstore.pb import raft_pb2
from kvstore.pb.etcd_pb2 import Member, Role, User
from kvstore.raft import codec
from kvstore.storage import ReadView
from kvstore.storage.bolt import BoltWriter
from kvstore.version import ETCD_CLUSTER_VERSION

Row = tuple[bytes, bytes]

_FLAGS = HEADER_SIZE - 1


def write_snapshot(view: ReadView, file: BinaryIO) -> int:
    """Write the view's tables to an empty file; its size in bytes. Blocks. OSError."""
    writer = BoltWriter(file)
    for name, pairs in (
        (rows.ALARM, _alarms(view)),
        (rows.AUTH, view.table("auth").scan()),
        (rows.AUTH_ROLES, _named(view, "authRoles", Role)),
        (rows.AUTH_USERS, _named(view, "authUsers", User)),
        (rows.CLUSTER, _cluster()),
        (rows.KEY, _history(view)),
        (rows.LEASE, _leases(view)),
        (rows.MEMBERS, _members(view)),
        (rows.MEMBERS_REMOVED, _removed(view)),
        (rows.META, _meta(view)),
    ):
        writer.bucket(name, pairs)
    return writer.finish()


def _history(view: ReadView) -> Iterator[Row]:
    """Every change that is not compacted. Hot."""
    # A large delete that was under way: nobody has seen its revision, and whoever has this file has not the rest of it.
    unfinished = int.from_bytes(view.table("meta").get(DELETE_UNFINISHED) or b"", "big") >> 32
    end = to_bytes(pack(unfinished)) if unfinished else None
    for revision, record in view.table("history").scan(end=end):
        if record[_FLAGS] & TOMBSTONE:
            yield rows.revision_key(revision, True), encode_kv(record_key(record), 0, 0, 0, b"", 0)
        else:
            yield revision[:8] + rows.BEFORE_SUB + revision[8:], record[HEADER_SIZE:]


def _alarms(view: ReadView) -> list[Row]:
    found = (key for key, _ in view.table("alarms").scan())
    return sorted((rows.alarm_key(int.from_bytes(key[:8], "big"), key[8]), b"") for key in found)


def _named(view: ReadView, table: str, kind: type[User] | type[Role]) -> list[Row]:
    """Users or roles under their whole names, which a table's key may be too short for."""
    return sorted((kind.FromString(value).name, value) for _, value in view.table(table).scan())


def _cluster() -> list[Row]:
    return [(rows.CLUSTER_VERSION, ETCD_CLUSTER_VERSION.encode())]


def _leases(view: ReadView) -> Iterator[Row]:
    for key, record in view.table("leases").scan():
        ttl, remaining = unpack_lease(record)
        yield key, rows.lease_value(int.from_bytes(key, "big", signed=True), ttl, remaining)


def _members(view: ReadView) -> list[Row]:
    members = [Member.FromString(value) for _, value in view.table("members").scan()]
    return sorted((rows.member_key(member.ID), rows.member_value(member)) for member in members)


def _removed(view: ReadView) -> list[Row]:
    gone = (int.from_bytes(key, "big") for key, _ in view.table("members_removed").scan())
    return sorted((rows.member_key(identity), b"removed") for identity in gone)


def _meta(view: ReadView) -> list[Row]:
    """Where the state stands in the log, and what of its history is compacted."""
    table = view.table("meta")

    def named(name: bytes) -> int | None:
        data = table.get(name)
        return None if data is None else int.from_bytes(data, "big", signed=True)

    state = codec.conf_state_from_pb(raft_pb2.ConfState.FromString(table.get(CONF_STATE) or b""))
    found = [
        (rows.CONSISTENT_INDEX, rows.number(named(APPLIED_INDEX) or 0)),
        (rows.TERM, rows.number(named(APPLIED_TERM) or 0)),
        (rows.CONF_STATE, rows.conf_state_value(state)),
    ]
    for name, mark in ((rows.SCHEDULED_COMPACT, COMPACT_SCHEDULED), (rows.FINISHED_COMPACT, COMPACT_FINISHED)):
        revision = named(mark)
        if revision is not None and revision >= 0:
            found.append((name, rows.compact_mark(revision)))
    return sorted(found)
