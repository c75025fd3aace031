"""The `simple` format: values as they are, one thing a line."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from kvstore.cli.output import rows
from kvstore.cli.output.printer import AuthChange, EndpointHealth, MemberChange, Printer, SnapshotStatus, emit
from kvstore.client.requests import key_range
from kvstore.pb import etcd_pb2 as pb


class SimplePrinter(Printer):
    """hex: keys and values as \\x.. escapes. value_only: of a key-value only the value."""

    name = "simple"

    def __init__(self, hex: bool = False) -> None:
        self._hex = hex
        self.value_only = False

    def get(self, answer: pb.RangeResponse) -> None:
        emit(*self._lines(answer.kvs))

    def put(self, answer: pb.PutResponse) -> None:
        emit("OK", *self._lines([answer.prev_kv] if answer.HasField("prev_kv") else []))

    def delete(self, answer: pb.DeleteRangeResponse) -> None:
        emit(str(answer.deleted), *self._lines(answer.prev_kvs))

    def txn(self, answer: pb.TxnResponse) -> None:
        emit("SUCCESS" if answer.succeeded else "FAILURE")
        for response in answer.responses:
            emit("")
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
        for event in answer.events:
            kvs = [event.prev_kv, event.kv] if event.HasField("prev_kv") else [event.kv]
            emit(pb.Event.EventType.Name(event.type), *self._lines(kvs))

    def lease_grant(self, answer: pb.LeaseGrantResponse) -> None:
        emit(f"lease {answer.ID:016x} granted with TTL({answer.TTL}s)")

    def lease_revoke(self, lease_id: int, answer: pb.LeaseRevokeResponse) -> None:
        emit(f"lease {lease_id:016x} revoked")

    def lease_keep_alive(self, answer: pb.LeaseKeepAliveResponse) -> None:
        emit(f"lease {answer.ID:016x} keepalived with TTL({answer.TTL})")

    def lease_time_to_live(self, answer: pb.LeaseTimeToLiveResponse, keys: bool) -> None:
        if answer.grantedTTL == 0 and answer.TTL == -1:
            emit(f"lease {answer.ID:016x} already expired")
            return
        line = f"lease {answer.ID:016x} granted with TTL({answer.grantedTTL}s), remaining({answer.TTL}s)".encode()
        emit(line + b", attached keys([" + b" ".join(answer.keys) + b"])" if keys else line)

    def lease_list(self, answer: pb.LeaseLeasesResponse) -> None:
        emit(f"found {len(answer.leases)} leases", *(f"{lease.ID:016x}" for lease in answer.leases))

    def member_add(self, answer: pb.MemberAddResponse) -> None:
        emit(f"Member {answer.member.ID:16x} added to cluster {answer.header.cluster_id:16x}")

    def member_change(self, verb: str, member_id: int, answer: MemberChange) -> None:
        emit(f"Member {member_id:16x} {verb} cluster {answer.header.cluster_id:16x}")

    def member_list(self, answer: pb.MemberListResponse) -> None:
        emit(*map(", ".join, rows.members(answer)))

    def endpoint_health(self, answers: Sequence[EndpointHealth]) -> None:
        for one in answers:
            if one.error:
                print(f"{one.endpoint} is unhealthy: failed to commit proposal: {one.error}", file=sys.stderr)
            else:
                emit(f"{one.endpoint} is healthy: successfully committed proposal: took = {one.took}")

    def endpoint_status(self, answers: Sequence[tuple[str, pb.StatusResponse]]) -> None:
        emit(*map(", ".join, rows.status(answers)))

    def endpoint_hash_kv(self, answers: Sequence[tuple[str, pb.HashKVResponse]]) -> None:
        emit(*map(", ".join, rows.hashes(answers)))

    def snapshot_status(self, found: SnapshotStatus) -> None:
        emit(", ".join(rows.snapshot(found)))

    def move_leader(self, leader: int, target: int, answer: pb.MoveLeaderResponse) -> None:
        emit(f"Leadership transferred from {leader:x} to {target:x}")

    def alarms(self, answer: pb.AlarmResponse) -> None:
        # The space at the end is etcdctl's.
        emit(*(f"memberID:{alarm.memberID} alarm:{pb.AlarmType.Name(alarm.alarm)} " for alarm in answer.alarms))

    def auth_status(self, answer: pb.AuthStatusResponse) -> None:
        emit(f"Authentication Status: {rows.truth(answer.enabled)}", f"AuthRevision: {answer.authRevision}")

    def auth_change(self, said: str, answer: AuthChange) -> None:
        emit(said)

    def user_get(self, user: str, answer: pb.AuthUserGetResponse) -> None:
        emit(f"User: {user}", "".join(["Roles:", *(f" {role}" for role in answer.roles)]))

    def user_list(self, answer: pb.AuthUserListResponse) -> None:
        emit(*answer.users)

    def role_get(self, role: str, answer: pb.AuthRoleGetResponse) -> None:
        emit(f"Role {role}")
        for title, kind in (("KV Read:", pb.Permission.READ), ("KV Write:", pb.Permission.WRITE)):
            emit(title, *(_permission(p) for p in answer.perm if p.permType in (kind, pb.Permission.READWRITE)))

    def role_list(self, answer: pb.AuthRoleListResponse) -> None:
        emit(*answer.roles)

    def _lines(self, kvs: Iterable[pb.KeyValue]) -> list[bytes]:
        shown = [(self._bytes(kv.key), self._bytes(kv.value)) for kv in kvs]
        return [value for _, value in shown] if self.value_only else [part for pair in shown for part in pair]

    def _bytes(self, data: bytes) -> bytes:
        return "".join(f"\\x{byte:02x}" for byte in data).encode() if self._hex else data


def _permission(granted: pb.Permission) -> bytes:
    """A key, or a range; the open end without its bracket is etcdctl's."""
    key, end = granted.key, granted.range_end
    if not end:
        return b"\t" + key
    shown = b"<open ended>" if end == b"\0" else end + b")"
    prefix = b" (prefix " + key + b")" if key_range(key, prefix=True)[1] == end else b""
    return b"\t[" + key + b", " + shown + prefix
