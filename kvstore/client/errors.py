"""What can go wrong between a program and the store, as one small class tree.

    ClientError
    ├─ Unreachable        no endpoint answered; nothing was sent
    ├─ TimedOut           a read got no answer in time
    ├─ MaybeApplied       a write was sent and its fate is unknown: it may or may not have happened
    ├─ StoreError         the store answered with an error (code, message); it did not apply the request
    │  ├─ Compacted, FutureRevision, KeyNotFound, LeaseNotFound, LeaseExists, NoSpace, TooManyRequests,
    │  │  NoLeader, PermissionDenied, AuthenticationFailed, InvalidToken, MemberNotFound, NotLeader
    ├─ WatchCanceled      the store ended a watch for good
    ├─ LeaseLost          a lease expired or was revoked: what hung on it (a lock, a leadership) is gone
    ├─ NoElectionLeader   nobody holds the election
    ├─ ChecksumMismatch   a snapshot arrived damaged
    └─ BadCertificates    a certificate or key of ours cannot be read or used

The rule behind MaybeApplied: a write is repeated only when it is certain that it was not applied. Certain are a
connection that never came up and the store's own refusals; everything else (a connection that broke, a deadline, a
server that stopped) is not. Source: etcd's api/v3rpc/rpctypes for the strings, as held in kvstore.errors.
"""

from __future__ import annotations

from collections.abc import Sequence

from kvstore.errors import Code, EtcdError
from kvstore.errors import error as known_error
from kvstore.errors import names as known_names
from kvstore.pb import etcd_pb2 as pb


class ClientError(Exception):
    """Base of everything the client raises on purpose."""


class Unreachable(ClientError):
    """No endpoint could be connected, so nothing was sent. `reasons`: endpoint → what happened there."""

    def __init__(self, reasons: dict[str, str]) -> None:
        told = "; ".join(f"cannot reach {e}: {why}" for e, why in reasons.items())
        super().__init__(told or "no time left to connect")
        self.reasons = reasons


class TimedOut(ClientError):
    """A read got no answer within its timeout. Reading again is safe."""


class MaybeApplied(ClientError):
    """A write was sent, and whether it was applied is unknown. Read before writing again. `cause`: what broke."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"the write may have been applied: {cause}")
        self.cause = cause


class StoreError(EtcdError, ClientError):
    """The store refused the request: a gRPC status code and etcd's message."""


class Compacted(StoreError):
    """The revision asked for has been compacted. `compact_revision`: the oldest that can be read, 0 if not told.

    `response`: the one that ended the watch, if it was a watch.
    """

    def __init__(
        self, code: Code, message: str, compact_revision: int = 0, response: pb.WatchResponse | None = None
    ) -> None:
        super().__init__(code, message)
        self.compact_revision = compact_revision
        self.response = response

    @classmethod
    def at(cls, compact_revision: int, response: pb.WatchResponse | None = None) -> Compacted:
        """As a watch learns it: with the compacted revision."""
        known = known_error("COMPACTED")
        return cls(known.code, known.message, compact_revision, response)


class FutureRevision(StoreError):
    """The revision asked for does not exist yet."""


class KeyNotFound(StoreError):
    """A put with ignore_value or ignore_lease on a key that does not exist."""


class LeaseNotFound(StoreError):
    """The lease expired, was revoked, or never was."""


class LeaseExists(StoreError):
    """A lease with this id is there already."""


class NoSpace(StoreError):
    """The store is over its quota: compact, defragment, disarm the alarm."""


class TooManyRequests(StoreError):
    """The store has more work than it takes; try later."""


class NoLeader(StoreError):
    """The member has no leader and refused the request."""


class PermissionDenied(StoreError):
    """The user may not do this."""


class AuthenticationFailed(StoreError):
    """Wrong user or password."""


class InvalidToken(StoreError):
    """The authentication token is unknown or too old; the client fetches a new one by itself."""


class MemberNotFound(StoreError):
    """No member has this id."""


class NotLeader(StoreError):
    """The request is for the leader only."""


class WatchCanceled(ClientError):
    """The store ended the watch; `reason` is its own word."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"watch canceled by the store: {reason}")
        self.reason = reason


class LeaseLost(ClientError):
    """The lease expired or was revoked: its keys are gone, and so is what they stood for."""

    def __init__(self, lease_id: int) -> None:
        super().__init__(f"lease {lease_id:016x} expired or was revoked")
        self.lease_id = lease_id


class NoElectionLeader(ClientError):
    """Nobody holds the election."""


class ChecksumMismatch(ClientError):
    """A snapshot arrived damaged: its sha256 is not the one the store sent."""


class BadCertificates(ClientError):
    """A file of Settings.tls cannot be read or used; the message names it."""


_CLASSES: dict[str, type[StoreError]] = {
    "COMPACTED": Compacted,
    "FUTURE_REVISION": FutureRevision,
    "KEY_NOT_FOUND": KeyNotFound,
    "LEASE_NOT_FOUND": LeaseNotFound,
    "LEASE_EXISTS": LeaseExists,
    "NO_SPACE": NoSpace,
    "TOO_MANY_REQUESTS": TooManyRequests,
    "NO_LEADER": NoLeader,
    "PERMISSION_DENIED": PermissionDenied,
    "AUTH_FAILED": AuthenticationFailed,
    "INVALID_AUTH_TOKEN": InvalidToken,
    "AUTH_OLD_REVISION": InvalidToken,
    "MEMBER_NOT_FOUND": MemberNotFound,
    "NOT_LEADER": NotLeader,
}
_BY_MESSAGE = {known_error(name).message: cls for name, cls in _CLASSES.items()}
_KNOWN_MESSAGES = {known_error(name).message: name for name in known_names()}

# The store said these while the request may already have been in its log, so they promise nothing about a write.
_PROMISE_NOTHING = {
    known_error(name).message
    for name in (
        "LEADER_CHANGED",
        "STOPPED",
        "TIMEOUT",
        "TIMEOUT_LEADER_FAIL",
        "TIMEOUT_CONNECTION_LOST",
        "TIMEOUT_WAIT_APPLIED",
        "CORRUPT",
        "REQUEST_CANCELED",
        "DEADLINE_EXCEEDED",
    )
}
# Codes that a server gives only to a request that it refused. RESOURCE_EXHAUSTED is not one of them: grpc-go also
# says it of a response that was too large to send, after the write was done.
_REFUSALS = {
    Code.INVALID_ARGUMENT,
    Code.NOT_FOUND,
    Code.ALREADY_EXISTS,
    Code.PERMISSION_DENIED,
    Code.FAILED_PRECONDITION,
    Code.OUT_OF_RANGE,
    Code.UNIMPLEMENTED,
    Code.UNAUTHENTICATED,
}
# The call came without a login that the store knows: none, since there were no users yet, or one that is over.
_LOGIN_WANTED = tuple(known_error(name).message for name in ("INVALID_AUTH_TOKEN", "AUTH_OLD_REVISION", "USER_EMPTY"))
# Refused before it was proposed, and likely to work a moment later or at another member.
_REFUSED_FOR_NOW = {known_error(name).message for name in ("NO_LEADER", "TOO_MANY_REQUESTS")}
# A read may be asked again after these, too. The last three are what gRPC makes of a stream that was torn.
_TRANSIENT_CODES = {Code.UNAVAILABLE, Code.ABORTED, Code.UNKNOWN, Code.INTERNAL, Code.CANCELED}


def from_status(code: Code, message: str) -> StoreError:
    """The class for a status that the store answered with."""
    return _BY_MESSAGE.get(message, StoreError)(code, message)


def certainly_not_applied(code: Code, message: str) -> bool:
    """Whether a write that ended with this status is known not to have been applied."""
    if message in _KNOWN_MESSAGES:
        return message not in _PROMISE_NOTHING
    return code in _REFUSALS or "received message larger than max" in message


def refused_for_now(message: str) -> bool:
    """Whether even a write may be sent again after this refusal: it was turned away before it was proposed."""
    return message in _REFUSED_FOR_NOW


def worth_asking_again(code: Code, message: str) -> bool:
    """Whether a read that ended with this status may work at another member or a moment later."""
    return code in _TRANSIENT_CODES or refused_for_now(message)


def login_wanted(message: str) -> bool:
    """Whether the store said, in a status or as the reason for ending a watch, that it wants a new login."""
    return any(each in message for each in _LOGIN_WANTED)


def passing(problem: ClientError) -> bool:
    """Whether a read, or a login, that ended with this may work a moment later."""
    if isinstance(problem, StoreError):
        return worth_asking_again(problem.code, problem.message)
    return isinstance(problem, (Unreachable, TimedOut))


def summary(reasons: Sequence[str]) -> str:
    """The distinct reasons of several attempts, in order, as one line."""
    return "; ".join(dict.fromkeys(reasons))
