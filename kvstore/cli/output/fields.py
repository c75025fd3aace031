"""The `fields` format: every field as `"Name" : value`, strings as Go quotes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kvstore.cli.output.printer import AuthChange, EndpointHealth, Printer, SnapshotStatus, emit
from kvstore.cli.output.rows import truth
from kvstore.cli.quoting import quote
from kvstore.pb import etcd_pb2 as pb

Pair = tuple[str, object]


def _header(header: pb.ResponseHeader) -> list[Pair]:
    return [
        ("ClusterID", header.cluster_id),
        ("MemberID", header.member_id),
        ("Revision", header.revision),
        ("RaftTerm", header.raft_term),
    ]


def _kv(prefix: str, kv: pb.KeyValue) -> list[Pair]:
    return [
        (f"{prefix}Key", quote(kv.key)),
        (f"{prefix}CreateRevision", kv.create_revision),
        (f"{prefix}ModRevision", kv.mod_revision),
        (f"{prefix}Version", kv.version),
        (f"{prefix}Value", quote(kv.value)),
        (f"{prefix}Lease", kv.lease),
    ]


def _kvs(prefix: str, kvs: Iterable[pb.KeyValue]) -> list[Pair]:
    return [pair for kv in kvs for pair in _kv(prefix, kv)]


def _emit(*pairs: Pair, blank: bool = False) -> None:
    lines = [f'"{name}" : {truth(value) if isinstance(value, bool) else value}' for name, value in pairs]
    emit(*lines, *([""] if blank else []))


class FieldsPrinter(Printer):
    """Everything the store said, field by field."""

    name = "fields"

    def get(self, answer: pb.RangeResponse) -> None:
        _emit(*_header(answer.header), *_kvs("", answer.kvs), ("More", answer.more), ("Count", answer.count))

    def put(self, answer: pb.PutResponse) -> None:
        _emit(*_header(answer.header), *(_kv("Prev", answer.prev_kv) if answer.HasField("prev_kv") else []))

    def delete(self, answer: pb.DeleteRangeResponse) -> None:
        _emit(*_header(answer.header), ("Deleted", answer.deleted), *_kvs("Prev", answer.prev_kvs))

    def txn(self, answer: pb.TxnResponse) -> None:
        _emit(*_header(answer.header), ("Succeeded", answer.succeeded))
        for response in answer.responses:
            kind = response.WhichOneof("response")
            if kind == "response_range":
                self.get(response.response_range)
            elif kind == "response_put":
                self.put(response.response_put)
            elif kind == "response_delete_range":
                self.delete(response.response_delete_range)
            else:
                self.txn(response.response_txn)

    def watch(self, answer: pb.WatchResponse) -> None:
        _emit(*_header(answer.header))
        for event in answer.events:
            previous = _kv("Prev", event.prev_kv) if event.HasField("prev_kv") else []
            _emit(("Type", pb.Event.EventType.Name(event.type)), *previous, *_kv("", event.kv))

    def lease_grant(self, answer: pb.LeaseGrantResponse) -> None:
        _emit(*_header(answer.header), ("ID", answer.ID), ("TTL", answer.TTL))

    def lease_revoke(self, lease_id: int, answer: pb.LeaseRevokeResponse) -> None:
        _emit(*_header(answer.header))

    def lease_keep_alive(self, answer: pb.LeaseKeepAliveResponse) -> None:
        _emit(*_header(answer.header), ("ID", answer.ID), ("TTL", answer.TTL))

    def lease_time_to_live(self, answer: pb.LeaseTimeToLiveResponse, keys: bool) -> None:
        attached: list[Pair] = [("Key", quote(key)) for key in answer.keys]
        known: list[Pair] = [("ID", answer.ID), ("TTL", answer.TTL), ("GrantedTTL", answer.grantedTTL)]
        _emit(*_header(answer.header), *known, *attached)

    def lease_list(self, answer: pb.LeaseLeasesResponse) -> None:
        _emit(*_header(answer.header), *(("ID", lease.ID) for lease in answer.leases))

    def member_list(self, answer: pb.MemberListResponse) -> None:
        _emit(*_header(answer.header))
        for member in answer.members:
            _emit(
                ("ID", member.ID),
                ("Name", quote(member.name)),
                *(("PeerURL", quote(url)) for url in member.peerURLs),
                *(("ClientURL", quote(url)) for url in member.clientURLs),
                ("IsLearner", member.isLearner),
                blank=True,
            )

    def endpoint_health(self, answers: Sequence[EndpointHealth]) -> None:
        for one in answers:
            pairs = [
                ("Endpoint", quote(one.endpoint)),
                ("Health", one.health),
                ("Took", one.took),
                ("Error", one.error),
            ]
            _emit(*pairs, blank=True)

    def endpoint_status(self, answers: Sequence[tuple[str, pb.StatusResponse]]) -> None:
        for endpoint, status in answers:
            _emit(
                *_header(status.header),
                ("Version", quote(status.version)),
                ("DBSize", status.dbSize),
                ("Leader", status.leader),
                ("IsLearner", status.isLearner),
                ("RaftIndex", status.raftIndex),
                ("RaftTerm", status.raftTerm),
                ("RaftAppliedIndex", status.raftAppliedIndex),
                ("Errors", f"[{' '.join(status.errors)}]"),
                ("Endpoint", quote(endpoint)),
                blank=True,
            )

    def endpoint_hash_kv(self, answers: Sequence[tuple[str, pb.HashKVResponse]]) -> None:
        for endpoint, answer in answers:
            _emit(*_header(answer.header), ("Endpoint", quote(endpoint)), ("Hash", answer.hash), blank=True)

    def auth_change(self, said: str, answer: AuthChange) -> None:
        _emit(*_header(answer.header))

    def role_get(self, role: str, answer: pb.AuthRoleGetResponse) -> None:
        _emit(*_header(answer.header))
        for permission in answer.perm:
            # The second space is etcdctl's.
            kind = f" {pb.Permission.Type.Name(permission.permType)}"
            _emit(("PermType", kind), ("Key", quote(permission.key)), ("RangeEnd", quote(permission.range_end)))

    def role_list(self, answer: pb.AuthRoleListResponse) -> None:
        _emit(*_header(answer.header))
        emit(" ".join(['"Roles" :', *(quote(role) for role in answer.roles)]))

    def alarms(self, answer: pb.AlarmResponse) -> None:
        _emit(*_header(answer.header))
        for alarm in answer.alarms:
            _emit(("MemberID", alarm.memberID), ("AlarmType", pb.AlarmType.Name(alarm.alarm)), blank=True)

    def snapshot_status(self, found: SnapshotStatus) -> None:
        _emit(("Hash", found.hash), ("Revision", found.revision), ("Keys", found.total_key), ("Size", found.total_size))
