"""From a snapshot's buckets to our tables: history, leases, alarms, users and roles; the members are the restorer's.

Faults assumed: a file whose structure is whole but whose content is not etcd's. Nothing is kept of a file that is
refused: the caller throws the tables away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from google.protobuf.message import DecodeError

from kvstore.auth.tables import row
from kvstore.backup import rows
from kvstore.mvcc.lease import lease_row, pack_lease
from kvstore.mvcc.loading import HistoryLoader
from kvstore.mvcc.types import Tables
from kvstore.pb.etcd_pb2 import AlarmMember, Role, User
from kvstore.storage.bolt import BoltFile


def load(bolt: BoltFile, tables: Tables, checkpoint: Callable[[], None], bump: int = 0) -> int:
    """Fill empty tables; the revision that the store then stands at.

    checkpoint: called after every change, for a caller that commits now and then. bump: revisions to skip; everything
    before is then compacted. Raises BoltDamaged.
    """
    if rows.KEY not in bolt.buckets():
        raise bolt.damaged("it has no bucket `key`")
    leases = _load_leases(bolt, tables)
    _load_alarms(bolt, tables)
    _load_auth(bolt, tables)
    loader = HistoryLoader(tables, leases.__contains__)
    with _blamed(bolt, "key"):
        for key, value in bolt.bucket(rows.KEY):
            revision, tombstone = rows.parse_revision(key)
            (loader.delete if tombstone else loader.put)(revision, value)
            checkpoint()
    scheduled, finished = _compacted(bolt)
    revision = max(loader.revision, scheduled)
    if bump:
        revision += bump
        scheduled = revision
    loader.finish(scheduled, finished)
    return revision


def _load_leases(bolt: BoltFile, tables: Tables) -> set[int]:
    table = tables.table("leases")
    known: set[int] = set()
    with _blamed(bolt, "lease"):
        for key, value in bolt.bucket(rows.LEASE):
            identity, ttl, remaining = rows.parse_lease(value)
            if key != lease_row(identity):
                raise ValueError(f"lease {identity:x} stands under {key.hex()}")
            table.put(key, pack_lease(ttl, remaining))
            known.add(identity)
    return known


def _load_alarms(bolt: BoltFile, tables: Tables) -> None:
    table = tables.table("alarms")
    with _blamed(bolt, "alarm"):
        for key, _ in bolt.bucket(rows.ALARM):
            alarm = AlarmMember.FromString(key)
            table.put(alarm.memberID.to_bytes(8, "big") + bytes((alarm.alarm,)), b"")


def _load_auth(bolt: BoltFile, tables: Tables) -> None:
    named = tables.table("auth")
    with _blamed(bolt, "auth"):
        for key, value in bolt.bucket(rows.AUTH):
            named.put(key, value)
    for name, kind in ((rows.AUTH_USERS, User), (rows.AUTH_ROLES, Role)):
        table = tables.table(name.decode())
        with _blamed(bolt, name.decode()):
            for key, value in bolt.bucket(name):
                if kind.FromString(value).name != key:
                    raise ValueError(f"{key!r} stands for another name")
                table.put(row(key), value)


def _compacted(bolt: BoltFile) -> tuple[int, int]:
    """(scheduled, finished) compacted revision; -1 where there is none."""
    with _blamed(bolt, "meta"):
        found = dict(bolt.bucket(rows.META))
        marks = [found.get(name) for name in (rows.SCHEDULED_COMPACT, rows.FINISHED_COMPACT)]
        scheduled, finished = (rows.parse_revision(mark)[0] >> 32 if mark else -1 for mark in marks)
    return max(scheduled, finished), finished


@contextmanager
def _blamed(bolt: BoltFile, bucket: str) -> Iterator[None]:
    """What cannot be parsed is the file's fault."""
    try:
        yield
    except (ValueError, IndexError, OverflowError, DecodeError) as problem:
        raise bolt.damaged(f"bucket `{bucket}`: {problem}") from None
