"""Rows of etcd's buckets: how a revision, a lease, an alarm or a member is written there.

Source: the schema of etcd 3.5's backend. Leases and alarms are protobuf messages, members are JSON, numbers of the
bucket `meta` are big-endian.
"""

from __future__ import annotations

import json
from typing import Any, Final

from kvstore.pb.etcd_pb2 import AlarmMember, Member
from kvstore.raft.types import ConfState
from kvstore.varint import read_varint, varint

ALARM: Final = b"alarm"
AUTH: Final = b"auth"
AUTH_ROLES: Final = b"authRoles"
AUTH_USERS: Final = b"authUsers"
CLUSTER: Final = b"cluster"
KEY: Final = b"key"
LEASE: Final = b"lease"
MEMBERS: Final = b"members"
MEMBERS_REMOVED: Final = b"members_removed"
META: Final = b"meta"

CONSISTENT_INDEX: Final = b"consistent_index"
TERM: Final = b"term"
CONF_STATE: Final = b"confState"
SCHEDULED_COMPACT: Final = b"scheduledCompactRev"
FINISHED_COMPACT: Final = b"finishedCompactRev"
CLUSTER_VERSION: Final = b"clusterVersion"
STORAGE_VERSION: Final = b"storageVersion"

BEFORE_SUB: Final = b"_\0\0\0\0"
"""What stands between the 8 octets of a main revision and our 4 of a sub-revision."""
_TOMBSTONE: Final = b"t"
_PLAIN: Final = 17
_SUBS: Final = 1 << 32


def revision_key(revision: bytes, tombstone: bool) -> bytes:
    """The key of a change in the bucket `key`, from our 12 bytes: 8 of main, `_`, 8 of sub, `t` for a delete."""
    key = revision[:8] + BEFORE_SUB + revision[8:]
    return key + _TOMBSTONE if tombstone else key


def parse_revision(key: bytes) -> tuple[int, bool]:
    """(packed revision, is it a delete's) of a key of that bucket. ValueError for one that is none."""
    plain = key[:_PLAIN]
    if len(plain) != _PLAIN or plain[8:9] != b"_" or key[_PLAIN:] not in (b"", _TOMBSTONE):
        raise ValueError(f"{key.hex()} is no revision")
    main, sub = int.from_bytes(plain[:8], "big"), int.from_bytes(plain[9:], "big")
    if not 0 < main < 1 << 63 or sub >= _SUBS:
        raise ValueError(f"revision {main}.{sub} is out of range")
    return main << 32 | sub, len(key) > _PLAIN


def compact_mark(main: int) -> bytes:
    """A compacted revision as the bucket `meta` holds it."""
    return revision_key(main.to_bytes(8, "big") + bytes(4), False)


def number(value: int) -> bytes:
    """An unsigned number of the bucket `meta`."""
    return value.to_bytes(8, "big")


def lease_value(identity: int, ttl: int, remaining: int) -> bytes:
    """An encoded leasepb.Lease."""
    fields = ((b"\x08", identity), (b"\x10", ttl), (b"\x18", remaining))
    return b"".join(tag + varint(value) for tag, value in fields if value)


def parse_lease(value: bytes) -> tuple[int, int, int]:
    """(id, TTL, remaining TTL) of an encoded leasepb.Lease. ValueError, IndexError for one that is none."""
    fields = {1: 0, 2: 0, 3: 0}
    at = 0
    while at < len(value):
        tag, at = read_varint(value, at)
        if tag & 7:
            raise ValueError(f"a lease's field {tag >> 3} is no number")
        found, at = read_varint(value, at)
        fields[tag >> 3] = found - (1 << 64) if found >> 63 else found
    return fields[1], fields[2], fields[3]


def alarm_key(member: int, alarm: int) -> bytes:
    """The key of an alarm: the encoded AlarmMember."""
    encoded: bytes = AlarmMember(memberID=member, alarm=alarm).SerializeToString()  # type: ignore[arg-type]
    return encoded


def member_key(identity: int) -> bytes:
    """The key of a member: its id in hexadecimal."""
    return f"{identity:x}".encode()


def member_value(member: Member) -> bytes:
    """A member's JSON."""
    value: dict[str, Any] = {"id": member.ID, "peerURLs": list(member.peerURLs)}
    if member.isLearner:
        value["isLearner"] = True
    if member.name:
        value["name"] = member.name
    if member.clientURLs:
        value["clientURLs"] = list(member.clientURLs)
    return json.dumps(value, separators=(",", ":")).encode()


def conf_state_value(state: ConfState) -> bytes:
    """Raft's configuration as JSON."""
    named = {
        "voters": state.voters,
        "learners": state.learners,
        "voters_outgoing": state.voters_outgoing,
        "learners_next": state.learners_next,
    }
    value: dict[str, Any] = {name: list(ids) for name, ids in named.items() if ids}
    return json.dumps({**value, "auto_leave": state.auto_leave}, separators=(",", ":")).encode()
