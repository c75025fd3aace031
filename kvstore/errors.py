"""etcd's errors as data: clients match the strings letter by letter, so each stands here once.

Source: etcd's api/v3rpc/rpctypes (messages and codes); gRPC status codes from the gRPC specification.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """gRPC status codes."""

    OK = 0
    CANCELED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class EtcdError(Exception):
    """An error a client is meant to see: a gRPC status code and etcd's message."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __repr__(self) -> str:
        return f"EtcdError({self.code.name}, {self.message!r})"


# name → (code, message); raise with `error("KEY_NOT_FOUND")`.
_TABLE: dict[str, tuple[Code, str]] = {
    # KV
    "EMPTY_KEY": (Code.INVALID_ARGUMENT, "etcdserver: key is not provided"),
    "KEY_NOT_FOUND": (Code.INVALID_ARGUMENT, "etcdserver: key not found"),
    "VALUE_PROVIDED": (Code.INVALID_ARGUMENT, "etcdserver: value is provided"),
    "LEASE_PROVIDED": (Code.INVALID_ARGUMENT, "etcdserver: lease is provided"),
    "TOO_MANY_OPS": (Code.INVALID_ARGUMENT, "etcdserver: too many operations in txn request"),
    "DUPLICATE_KEY": (Code.INVALID_ARGUMENT, "etcdserver: duplicate key given in txn request"),
    "INVALID_SORT_OPTION": (Code.INVALID_ARGUMENT, "etcdserver: invalid sort option"),
    "INVALID_CLIENT_API_VERSION": (Code.INVALID_ARGUMENT, "etcdserver: invalid client api version"),
    "COMPACTED": (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision has been compacted"),
    "FUTURE_REVISION": (Code.OUT_OF_RANGE, "etcdserver: mvcc: required revision is a future revision"),
    "NO_SPACE": (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded"),
    "REQUEST_TOO_LARGE": (Code.INVALID_ARGUMENT, "etcdserver: request is too large"),
    "TOO_MANY_REQUESTS": (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
    # Lease
    "LEASE_NOT_FOUND": (Code.NOT_FOUND, "etcdserver: requested lease not found"),
    "LEASE_EXISTS": (Code.FAILED_PRECONDITION, "etcdserver: lease already exists"),
    "LEASE_TTL_TOO_LARGE": (Code.OUT_OF_RANGE, "etcdserver: too large lease TTL"),
    # Watch
    "WATCH_CANCELED": (Code.CANCELED, "etcdserver: watch canceled"),
    # Cluster
    "MEMBER_EXISTS": (Code.FAILED_PRECONDITION, "etcdserver: member ID already exist"),
    "PEER_URL_EXISTS": (Code.FAILED_PRECONDITION, "etcdserver: Peer URLs already exists"),
    # UNKNOWN, by an oversight of etcd 3.5's.
    "MEMBER_NOT_ENOUGH_STARTED": (
        Code.UNKNOWN,
        "etcdserver: re-configuration failed due to not enough started members",
    ),
    "MEMBER_BAD_URLS": (Code.INVALID_ARGUMENT, "etcdserver: given member URLs are invalid"),
    "MEMBER_NOT_FOUND": (Code.NOT_FOUND, "etcdserver: member not found"),
    "MEMBER_NOT_LEARNER": (Code.FAILED_PRECONDITION, "etcdserver: can only promote a learner member"),
    "LEARNER_NOT_READY": (
        Code.FAILED_PRECONDITION,
        "etcdserver: can only promote a learner member which is in sync with leader",
    ),
    "TOO_MANY_LEARNERS": (Code.FAILED_PRECONDITION, "etcdserver: too many learner members in cluster"),
    "CLUSTER_ID_MISMATCH": (Code.FAILED_PRECONDITION, "etcdserver: cluster ID mismatch"),
    # 3.6 answers FAILED_PRECONDITION; with this one clients try another member.
    "NOT_SUPPORTED_FOR_LEARNER": (Code.UNAVAILABLE, "etcdserver: rpc not supported for learner"),
    "BAD_LEADER_TRANSFEREE": (Code.FAILED_PRECONDITION, "etcdserver: bad leader transferee"),
    "NOT_LEADER": (Code.FAILED_PRECONDITION, "etcdserver: not leader"),
    "UNHEALTHY": (Code.UNAVAILABLE, "etcdserver: unhealthy cluster"),
    # Availability
    "NO_LEADER": (Code.UNAVAILABLE, "etcdserver: no leader"),
    "LEADER_CHANGED": (Code.UNAVAILABLE, "etcdserver: leader changed"),
    "STOPPED": (Code.UNAVAILABLE, "etcdserver: server stopped"),
    "TIMEOUT": (Code.UNAVAILABLE, "etcdserver: request timed out"),
    "TIMEOUT_LEADER_FAIL": (
        Code.UNAVAILABLE,
        "etcdserver: request timed out, possibly due to previous leader failure",
    ),
    "TIMEOUT_CONNECTION_LOST": (Code.UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost"),
    "TIMEOUT_WAIT_APPLIED": (
        Code.UNAVAILABLE,
        "etcdserver: request timed out, waiting for the applied index took too long",
    ),
    "CORRUPT": (Code.DATA_LOSS, "etcdserver: corrupt cluster"),
    "NOT_CAPABLE": (Code.FAILED_PRECONDITION, "etcdserver: not capable"),
    "REQUEST_CANCELED": (Code.CANCELED, "etcdserver: request canceled"),
    "DEADLINE_EXCEEDED": (Code.DEADLINE_EXCEEDED, "etcdserver: context deadline exceeded"),
    # Auth
    "ROOT_USER_NOT_EXIST": (Code.FAILED_PRECONDITION, "etcdserver: root user does not exist"),
    "USER_ALREADY_EXISTS": (Code.FAILED_PRECONDITION, "etcdserver: user name already exists"),
    "USER_EMPTY": (Code.INVALID_ARGUMENT, "etcdserver: user name is empty"),
    "USER_NOT_FOUND": (Code.FAILED_PRECONDITION, "etcdserver: user name not found"),
    "ROOT_ROLE_NOT_EXIST": (Code.FAILED_PRECONDITION, "etcdserver: root user does not have root role"),
    "ROLE_ALREADY_EXISTS": (Code.FAILED_PRECONDITION, "etcdserver: role name already exists"),
    "ROLE_NOT_FOUND": (Code.FAILED_PRECONDITION, "etcdserver: role name not found"),
    "ROLE_EMPTY": (Code.INVALID_ARGUMENT, "etcdserver: role name is empty"),
    "AUTH_FAILED": (Code.INVALID_ARGUMENT, "etcdserver: authentication failed, invalid user ID or password"),
    "PERMISSION_NOT_GIVEN": (Code.INVALID_ARGUMENT, "etcdserver: permission not given"),
    "PERMISSION_DENIED": (Code.PERMISSION_DENIED, "etcdserver: permission denied"),
    "ROLE_NOT_GRANTED": (Code.FAILED_PRECONDITION, "etcdserver: role is not granted to the user"),
    "PERMISSION_NOT_GRANTED": (Code.FAILED_PRECONDITION, "etcdserver: permission is not granted to the role"),
    "AUTH_NOT_ENABLED": (Code.FAILED_PRECONDITION, "etcdserver: authentication is not enabled"),
    "INVALID_AUTH_TOKEN": (Code.UNAUTHENTICATED, "etcdserver: invalid auth token"),
    "AUTH_OLD_REVISION": (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
    "INVALID_AUTH_MGMT": (Code.INVALID_ARGUMENT, "etcdserver: invalid auth management"),
}


def error(name: str) -> EtcdError:
    """The error of that name, ready to raise. KeyError for a name that is not in the table."""
    code, message = _TABLE[name]
    return EtcdError(code, message)


def names() -> tuple[str, ...]:
    """Every error name, for tests that compare the table with a real etcd."""
    return tuple(_TABLE)
