"""The `json` format: messages as Go's encoder writes etcd's structs.

Numbers stay numbers, bytes are base64, empty fields are left out. Answers that etcd's Go client keeps in structs of
its own (watches, leases) have that struct's names; so they are spelled out below.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from kvstore.cli.output.printer import AuthChange, EndpointHealth, MemberChange, Printer, SnapshotStatus, emit
from kvstore.pb import etcd_pb2 as pb

# Go escapes what could end a script inside a web page.
_GO_ESCAPES = {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}
_GO_ESCAPE_TABLE = str.maketrans(_GO_ESCAPES)


def dumps(value: Any) -> str:
    """JSON text as Go writes it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_GO_ESCAPE_TABLE)


def as_go(message: Message) -> dict[str, Any]:
    """The message's set fields in the order of their numbers."""
    fields = sorted(message.ListFields(), key=lambda pair: pair[0].number)
    return {field.name: _value(field, value) for field, value in fields}


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [_single(field, each) for each in value]
    return _single(field, value)


def _single(field: FieldDescriptor, value: Any) -> Any:
    if isinstance(value, pb.ResponseOp):
        return {"Response": as_go(value)}
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return as_go(value)
    return _base64(value) if field.type == FieldDescriptor.TYPE_BYTES else value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class JsonPrinter(Printer):
    """One JSON value a line. hex: member ids in hexadecimal."""

    name = "json"

    def __init__(self, hex: bool = False) -> None:
        self._hex = hex

    def get(self, answer: pb.RangeResponse) -> None:
        emit(dumps(as_go(answer)))

    def put(self, answer: pb.PutResponse) -> None:
        emit(dumps(as_go(answer)))

    def delete(self, answer: pb.DeleteRangeResponse) -> None:
        emit(dumps(as_go(answer)))

    def txn(self, answer: pb.TxnResponse) -> None:
        emit(dumps(as_go(answer)))

    def watch(self, answer: pb.WatchResponse) -> None:
        shown = {
            "Header": as_go(answer.header),
            "Events": [as_go(event) for event in answer.events],
            "CompactRevision": answer.compact_revision,
            "Canceled": answer.canceled,
            "Created": answer.created,
        }
        emit(dumps(shown))

    def lease_grant(self, answer: pb.LeaseGrantResponse) -> None:
        emit(dumps({**as_go(answer.header), "ID": answer.ID, "TTL": answer.TTL, "Error": answer.error}))

    def lease_revoke(self, lease_id: int, answer: pb.LeaseRevokeResponse) -> None:
        emit(dumps(as_go(answer)))

    def lease_keep_alive(self, answer: pb.LeaseKeepAliveResponse) -> None:
        emit(dumps({**as_go(answer.header), "ID": answer.ID, "TTL": answer.TTL}))

    def lease_time_to_live(self, answer: pb.LeaseTimeToLiveResponse, keys: bool) -> None:
        known = {"id": answer.ID, "ttl": answer.TTL, "granted-ttl": answer.grantedTTL}
        emit(dumps({**as_go(answer.header), **known, "keys": [_base64(key) for key in answer.keys] or None}))

    def lease_list(self, answer: pb.LeaseLeasesResponse) -> None:
        emit(dumps({**as_go(answer.header), "leases": [{"id": lease.ID} for lease in answer.leases]}))

    def member_add(self, answer: pb.MemberAddResponse) -> None:
        emit(dumps(as_go(answer)))

    def member_change(self, verb: str, member_id: int, answer: MemberChange) -> None:
        emit(dumps(as_go(answer)))

    def member_list(self, answer: pb.MemberListResponse) -> None:
        emit(dumps(_hex_members(answer) if self._hex else as_go(answer)))

    def endpoint_health(self, answers: Sequence[EndpointHealth]) -> None:
        emit(dumps([_health(one) for one in answers]))

    def endpoint_status(self, answers: Sequence[tuple[str, pb.StatusResponse]]) -> None:
        emit(dumps([{"Endpoint": endpoint, "Status": as_go(status)} for endpoint, status in answers]))

    def endpoint_hash_kv(self, answers: Sequence[tuple[str, pb.HashKVResponse]]) -> None:
        emit(dumps([{"Endpoint": endpoint, "HashKV": as_go(answer)} for endpoint, answer in answers]))

    def snapshot_status(self, found: SnapshotStatus) -> None:
        shown = {"hash": found.hash, "revision": found.revision}
        emit(dumps({**shown, "totalKey": found.total_key, "totalSize": found.total_size}))

    def move_leader(self, leader: int, target: int, answer: pb.MoveLeaderResponse) -> None:
        emit(dumps(as_go(answer)))

    def alarms(self, answer: pb.AlarmResponse) -> None:
        emit(dumps(as_go(answer)))

    def auth_status(self, answer: pb.AuthStatusResponse) -> None:
        emit(dumps(as_go(answer)))

    def auth_change(self, said: str, answer: AuthChange) -> None:
        emit(dumps(as_go(answer)))

    def user_get(self, user: str, answer: pb.AuthUserGetResponse) -> None:
        emit(dumps(as_go(answer)))

    def user_list(self, answer: pb.AuthUserListResponse) -> None:
        emit(dumps(as_go(answer)))

    def role_get(self, role: str, answer: pb.AuthRoleGetResponse) -> None:
        emit(dumps(as_go(answer)))

    def role_list(self, answer: pb.AuthRoleListResponse) -> None:
        emit(dumps(as_go(answer)))


def _health(one: EndpointHealth) -> dict[str, Any]:
    shown: dict[str, Any] = {"endpoint": one.endpoint, "health": one.health, "took": one.took}
    return {**shown, "error": one.error} if one.error else shown


def _hex_members(answer: pb.MemberListResponse) -> dict[str, Any]:
    header = answer.header
    # etcdctl writes the term in hexadecimal, too, and without quotes, which is no JSON from term 10 on.
    ids = {"cluster_id": f"{header.cluster_id:x}", "member_id": f"{header.member_id:x}", "raft_term": header.raft_term}
    shown: dict[str, Any] = {"header": ids}
    if answer.members:
        shown["members"] = [
            {"ID": f"{m.ID:x}", "name": m.name, "peerURLs": list(m.peerURLs), "clientURLS": list(m.clientURLs)}
            for m in answer.members
        ]
    return shown
