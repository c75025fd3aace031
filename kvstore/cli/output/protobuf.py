"""The `protobuf` format: the message's bytes as the store sent them, for programs that read them again."""

from __future__ import annotations

from google.protobuf.message import Message

from kvstore.cli.output.printer import AuthChange, MemberChange, Printer, write
from kvstore.pb import etcd_pb2 as pb


def _emit(message: Message) -> None:
    write(message.SerializeToString())


class ProtobufPrinter(Printer):
    """Whatever is one message of the API."""

    name = "protobuf"

    def get(self, answer: pb.RangeResponse) -> None:
        _emit(answer)

    def put(self, answer: pb.PutResponse) -> None:
        _emit(answer)

    def delete(self, answer: pb.DeleteRangeResponse) -> None:
        _emit(answer)

    def txn(self, answer: pb.TxnResponse) -> None:
        _emit(answer)

    def watch(self, answer: pb.WatchResponse) -> None:
        # Without the watch id, which is the client's own business.
        _emit(
            pb.WatchResponse(
                header=answer.header,
                events=answer.events,
                compact_revision=answer.compact_revision,
                canceled=answer.canceled,
                created=answer.created,
            )
        )

    def lease_revoke(self, lease_id: int, answer: pb.LeaseRevokeResponse) -> None:
        _emit(answer)

    def member_add(self, answer: pb.MemberAddResponse) -> None:
        _emit(answer)

    def member_change(self, verb: str, member_id: int, answer: MemberChange) -> None:
        _emit(answer)

    def member_list(self, answer: pb.MemberListResponse) -> None:
        _emit(answer)

    def move_leader(self, leader: int, target: int, answer: pb.MoveLeaderResponse) -> None:
        _emit(answer)

    def auth_status(self, answer: pb.AuthStatusResponse) -> None:
        _emit(answer)

    def auth_change(self, said: str, answer: AuthChange) -> None:
        _emit(answer)

    def user_get(self, user: str, answer: pb.AuthUserGetResponse) -> None:
        _emit(answer)

    def user_list(self, answer: pb.AuthUserListResponse) -> None:
        _emit(answer)

    def role_get(self, role: str, answer: pb.AuthRoleGetResponse) -> None:
        _emit(answer)

    def role_list(self, answer: pb.AuthRoleListResponse) -> None:
        _emit(answer)

    def alarms(self, answer: pb.AlarmResponse) -> None:
        _emit(answer)
