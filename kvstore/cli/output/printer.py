"""What every output format can be asked to print, and how bytes reach stdout.

Each format overrides what it supports; the rest ends with etcdctl's exit code for an unsupported feature.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from kvstore.cli.exits import BAD_FEATURE, CommandError
from kvstore.pb import etcd_pb2 as pb

AuthChange = (
    pb.AuthUserAddResponse
    | pb.AuthUserDeleteResponse
    | pb.AuthUserChangePasswordResponse
    | pb.AuthUserGrantRoleResponse
    | pb.AuthUserRevokeRoleResponse
    | pb.AuthRoleAddResponse
    | pb.AuthRoleDeleteResponse
    | pb.AuthRoleGrantPermissionResponse
    | pb.AuthRoleRevokePermissionResponse
)
MemberChange = pb.MemberRemoveResponse | pb.MemberUpdateResponse | pb.MemberPromoteResponse


@dataclass(frozen=True)
class EndpointHealth:
    """What one member answered to a health check. took: as Go writes durations."""

    endpoint: str
    health: bool
    took: str
    error: str = ""


@dataclass(frozen=True)
class SnapshotStatus:
    """What a snapshot file holds; total_size in bytes."""

    hash: int
    revision: int
    total_key: int
    total_size: int


def emit(*lines: str | bytes) -> None:
    """Write lines to stdout at once: keys and values go out as the bytes they are. Raises as write()."""
    as_bytes = (line.encode("utf-8", "surrogateescape") if isinstance(line, str) else line for line in lines)
    write(b"".join(line + b"\n" for line in as_bytes))


def write(data: bytes) -> None:
    """To stdout, at once. CommandError where it is closed or takes no more; BrokenPipeError where nobody reads it."""
    # Python has none when the descriptor was closed at its start (>&-).
    if sys.stdout is None:
        raise CommandError("cannot write to stdout: it is closed")
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise CommandError(f"cannot write to stdout: {problem.strerror}") from problem


class Printer:
    """One output format."""

    name = ""

    def _unsupported(self) -> NoReturn:
        raise CommandError(f"{self.name} not supported as output format", BAD_FEATURE)

    def get(self, answer: pb.RangeResponse) -> None:
        """The answer of a range."""
        self._unsupported()

    def put(self, answer: pb.PutResponse) -> None:
        """The answer of a put."""
        self._unsupported()

    def delete(self, answer: pb.DeleteRangeResponse) -> None:
        """The answer of a delete."""
        self._unsupported()

    def txn(self, answer: pb.TxnResponse) -> None:
        """The answer of a transaction."""
        self._unsupported()

    def watch(self, answer: pb.WatchResponse) -> None:
        """One response of a watch."""
        self._unsupported()

    def lease_grant(self, answer: pb.LeaseGrantResponse) -> None:
        """A new lease."""
        self._unsupported()

    def lease_revoke(self, lease_id: int, answer: pb.LeaseRevokeResponse) -> None:
        """A lease that was ended."""
        self._unsupported()

    def lease_keep_alive(self, answer: pb.LeaseKeepAliveResponse) -> None:
        """One renewal."""
        self._unsupported()

    def lease_time_to_live(self, answer: pb.LeaseTimeToLiveResponse, keys: bool) -> None:
        """What is known of a lease."""
        self._unsupported()

    def lease_list(self, answer: pb.LeaseLeasesResponse) -> None:
        """Every lease."""
        self._unsupported()

    def member_add(self, answer: pb.MemberAddResponse) -> None:
        """A new member."""
        self._unsupported()

    def member_change(self, verb: str, member_id: int, answer: MemberChange) -> None:
        """A member that was removed, updated or promoted; verb: with its preposition."""
        self._unsupported()

    def member_list(self, answer: pb.MemberListResponse) -> None:
        """Every member."""
        self._unsupported()

    def endpoint_health(self, answers: Sequence[EndpointHealth]) -> None:
        """The health of each endpoint."""
        self._unsupported()

    def endpoint_status(self, answers: Sequence[tuple[str, pb.StatusResponse]]) -> None:
        """The status of each endpoint."""
        self._unsupported()

    def endpoint_hash_kv(self, answers: Sequence[tuple[str, pb.HashKVResponse]]) -> None:
        """The hash of each endpoint."""
        self._unsupported()

    def snapshot_status(self, found: SnapshotStatus) -> None:
        """What a snapshot file holds."""
        self._unsupported()

    def move_leader(self, leader: int, target: int, answer: pb.MoveLeaderResponse) -> None:
        """A leadership that was handed over."""
        self._unsupported()

    def alarms(self, answer: pb.AlarmResponse) -> None:
        """Alarms that are on, or were turned off."""
        self._unsupported()

    def auth_status(self, answer: pb.AuthStatusResponse) -> None:
        """Whether authentication is on."""
        self._unsupported()

    def auth_change(self, said: str, answer: AuthChange) -> None:
        """A change of users or roles; said: in a sentence."""
        self._unsupported()

    def user_get(self, user: str, answer: pb.AuthUserGetResponse) -> None:
        """A user's roles."""
        self._unsupported()

    def user_list(self, answer: pb.AuthUserListResponse) -> None:
        """Every user."""
        self._unsupported()

    def role_get(self, role: str, answer: pb.AuthRoleGetResponse) -> None:
        """A role's permissions."""
        self._unsupported()

    def role_list(self, answer: pb.AuthRoleListResponse) -> None:
        """Every role."""
        self._unsupported()
