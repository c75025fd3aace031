"""Members and endpoints as rows: what `simple` joins with commas and `table` draws."""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.cli.output.printer import EndpointHealth, SnapshotStatus
from kvstore.pb import etcd_pb2 as pb

Row = list[str]

MEMBER_COLUMNS = ["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"]
HEALTH_COLUMNS = ["endpoint", "health", "took", "error"]
STATUS_COLUMNS = [
    "endpoint",
    "ID",
    "version",
    "db size",
    "is leader",
    "is learner",
    "raft term",
    "raft index",
    "raft applied index",
    "errors",
]
HASH_COLUMNS = ["endpoint", "hash"]
SNAPSHOT_COLUMNS = ["hash", "revision", "total keys", "total size"]


def truth(value: bool) -> str:
    """As Go prints a bool."""
    return "true" if value else "false"


def size(count: int) -> str:
    """Bytes in decimal units, as etcdctl shows them: two digits, one decimal below ten."""
    if count < 10:
        return f"{count} B"
    value, units = float(count), iter(("B", "kB", "MB", "GB", "TB", "PB", "EB"))
    unit = next(units)
    while value >= 1000:
        value, unit = value / 1000, next(units)
    value = int(value * 10 + 0.5) / 10
    return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"


def members(answer: pb.MemberListResponse) -> list[Row]:
    """One row a member; without a name it has not started yet."""
    return [
        [
            f"{m.ID:x}",
            "started" if m.name else "unstarted",
            m.name,
            ",".join(m.peerURLs),
            ",".join(m.clientURLs),
            truth(m.isLearner),
        ]
        for m in answer.members
    ]


def health(answers: Sequence[EndpointHealth]) -> list[Row]:
    """One row an endpoint."""
    return [[h.endpoint, truth(h.health), h.took, h.error] for h in answers]


def status(answers: Sequence[tuple[str, pb.StatusResponse]]) -> list[Row]:
    """One row an endpoint."""
    return [
        [
            endpoint,
            f"{s.header.member_id:x}",
            s.version,
            size(s.dbSize),
            truth(s.leader == s.header.member_id),
            truth(s.isLearner),
            str(s.raftTerm),
            str(s.raftIndex),
            str(s.raftAppliedIndex),
            ", ".join(s.errors),
        ]
        for endpoint, s in answers
    ]


def hashes(answers: Sequence[tuple[str, pb.HashKVResponse]]) -> list[Row]:
    """One row an endpoint."""
    return [[endpoint, str(h.hash)] for endpoint, h in answers]


def snapshot(found: SnapshotStatus) -> Row:
    """The one row of a snapshot file."""
    return [f"{found.hash:x}", str(found.revision), str(found.total_key), size(found.total_size)]
