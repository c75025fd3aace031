"""What every service asks before it begins: can the request be read, and is it this member's to serve."""

from __future__ import annotations

from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError

from kvstore.errors import Code, EtcdError, error
from kvstore.member.member import Member
from kvstore.wire.grpc.call import Call

M = TypeVar("M", covariant=True)


class Parser(Protocol[M]):
    """A generated message class, as far as reading goes."""

    def FromString(self, data: bytes, /) -> M:
        """Parse; raises DecodeError."""


def parse(kind: Parser[M], message: bytes) -> M:
    """The request in these bytes. Raises INTERNAL with the text grpc-go uses."""
    try:
        return kind.FromString(message)
    except DecodeError as problem:
        raise EtcdError(Code.INTERNAL, f"grpc: error unmarshalling request: {problem}") from None


def check_leader(member: Member, call: Call) -> None:
    """Clients that send `hasleader: true` want an error at once rather than a wait. Raises NO_LEADER."""
    if not member.leader_id and call.metadata.get("hasleader") == "true":
        raise error("NO_LEADER")


def refuse_learner(member: Member) -> None:
    """A learner serves only what it cannot get wrong. Raises NOT_SUPPORTED_FOR_LEARNER."""
    if member.is_learner:
        raise error("NOT_SUPPORTED_FOR_LEARNER")
