"""The store's unary calls as data: path, response type, and whether asking twice is harmless.

The paths are etcd's (the message package is ours, see proto/etcd.proto). `repeatable` is what the retry rule in
transport.py reads: only a call that changes nothing, or changes nothing more the second time, may be repeated when
its fate is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from kvstore.pb import etcd_pb2 as pb

Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True, eq=False)
class Rpc(Generic[Response]):
    """One unary call. needs_leader: a member without a leader refuses it at once instead of letting it wait."""

    path: str
    response: type[Response]
    repeatable: bool = False
    needs_leader: bool = True


def encode(message: Message) -> bytes:
    """The message as its wire bytes."""
    return message.SerializeToString()


RANGE = Rpc("/etcdserverpb.KV/Range", pb.RangeResponse, repeatable=True)
SERIALIZABLE_RANGE = Rpc("/etcdserverpb.KV/Range", pb.RangeResponse, repeatable=True, needs_leader=False)
PUT = Rpc("/etcdserverpb.KV/Put", pb.PutResponse)
DELETE_RANGE = Rpc("/etcdserverpb.KV/DeleteRange", pb.DeleteRangeResponse)
TXN = Rpc("/etcdserverpb.KV/Txn", pb.TxnResponse)
# For transactions whose compares make a second application harmless, and those that only read.
REPEATABLE_TXN = Rpc("/etcdserverpb.KV/Txn", pb.TxnResponse, repeatable=True)
COMPACT = Rpc("/etcdserverpb.KV/Compact", pb.CompactionResponse)

LEASE_GRANT = Rpc("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantResponse)
# With an id that only the caller knows: "exists" then means "granted before".
REPEATABLE_LEASE_GRANT = Rpc("/etcdserverpb.Lease/LeaseGrant", pb.LeaseGrantResponse, repeatable=True)
LEASE_REVOKE = Rpc("/etcdserverpb.Lease/LeaseRevoke", pb.LeaseRevokeResponse)
LEASE_TIME_TO_LIVE = Rpc("/etcdserverpb.Lease/LeaseTimeToLive", pb.LeaseTimeToLiveResponse, repeatable=True)
LEASE_LEASES = Rpc("/etcdserverpb.Lease/LeaseLeases", pb.LeaseLeasesResponse, repeatable=True)

MEMBER_LIST = Rpc("/etcdserverpb.Cluster/MemberList", pb.MemberListResponse, repeatable=True, needs_leader=False)
MEMBER_ADD = Rpc("/etcdserverpb.Cluster/MemberAdd", pb.MemberAddResponse)
MEMBER_REMOVE = Rpc("/etcdserverpb.Cluster/MemberRemove", pb.MemberRemoveResponse)
MEMBER_UPDATE = Rpc("/etcdserverpb.Cluster/MemberUpdate", pb.MemberUpdateResponse)
MEMBER_PROMOTE = Rpc("/etcdserverpb.Cluster/MemberPromote", pb.MemberPromoteResponse)

STATUS = Rpc("/etcdserverpb.Maintenance/Status", pb.StatusResponse, repeatable=True, needs_leader=False)
HASH_KV = Rpc("/etcdserverpb.Maintenance/HashKV", pb.HashKVResponse, repeatable=True, needs_leader=False)
DEFRAGMENT = Rpc("/etcdserverpb.Maintenance/Defragment", pb.DefragmentResponse, needs_leader=False)
MOVE_LEADER = Rpc("/etcdserverpb.Maintenance/MoveLeader", pb.MoveLeaderResponse)
ALARM_GET = Rpc("/etcdserverpb.Maintenance/Alarm", pb.AlarmResponse, repeatable=True, needs_leader=False)
# Disarming an alarm twice is disarming it once.
ALARM_SET = Rpc("/etcdserverpb.Maintenance/Alarm", pb.AlarmResponse, repeatable=True)

AUTHENTICATE = Rpc("/etcdserverpb.Auth/Authenticate", pb.AuthenticateResponse, repeatable=True)
AUTH_ENABLE = Rpc("/etcdserverpb.Auth/AuthEnable", pb.AuthEnableResponse)
AUTH_DISABLE = Rpc("/etcdserverpb.Auth/AuthDisable", pb.AuthDisableResponse)
AUTH_STATUS = Rpc("/etcdserverpb.Auth/AuthStatus", pb.AuthStatusResponse, repeatable=True)
USER_ADD = Rpc("/etcdserverpb.Auth/UserAdd", pb.AuthUserAddResponse)
USER_GET = Rpc("/etcdserverpb.Auth/UserGet", pb.AuthUserGetResponse, repeatable=True)
USER_LIST = Rpc("/etcdserverpb.Auth/UserList", pb.AuthUserListResponse, repeatable=True)
USER_DELETE = Rpc("/etcdserverpb.Auth/UserDelete", pb.AuthUserDeleteResponse)
USER_CHANGE_PASSWORD = Rpc("/etcdserverpb.Auth/UserChangePassword", pb.AuthUserChangePasswordResponse)
USER_GRANT_ROLE = Rpc("/etcdserverpb.Auth/UserGrantRole", pb.AuthUserGrantRoleResponse)
USER_REVOKE_ROLE = Rpc("/etcdserverpb.Auth/UserRevokeRole", pb.AuthUserRevokeRoleResponse)
ROLE_ADD = Rpc("/etcdserverpb.Auth/RoleAdd", pb.AuthRoleAddResponse)
ROLE_GET = Rpc("/etcdserverpb.Auth/RoleGet", pb.AuthRoleGetResponse, repeatable=True)
ROLE_LIST = Rpc("/etcdserverpb.Auth/RoleList", pb.AuthRoleListResponse, repeatable=True)
ROLE_DELETE = Rpc("/etcdserverpb.Auth/RoleDelete", pb.AuthRoleDeleteResponse)
ROLE_GRANT_PERMISSION = Rpc("/etcdserverpb.Auth/RoleGrantPermission", pb.AuthRoleGrantPermissionResponse)
ROLE_REVOKE_PERMISSION = Rpc("/etcdserverpb.Auth/RoleRevokePermission", pb.AuthRoleRevokePermissionResponse)

WATCH_PATH = "/etcdserverpb.Watch/Watch"
KEEP_ALIVE_PATH = "/etcdserverpb.Lease/LeaseKeepAlive"
SNAPSHOT_PATH = "/etcdserverpb.Maintenance/Snapshot"
