"""Who may call which method, and whom a call comes from.

The table below has a rule for every path; a path without one needs root. What depends on keys is not decided here: the
call's identity goes into the log with its request, and every member checks it when it applies it.

Rules are those of etcd 3.5 with its security fixes: looser ones of early 3.5 (anybody may compact, or list leases) are
not followed. Identities come from the metadata `token` (or `authorization`, as the JSON gateway sends it), else from
the client certificate's common name where --client-cert-auth verifies it.

Simple tokens are named after the log entry that assigned them. A member that has not applied that entry yet waits until
it has, so that a client may go to another member with its token at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial

from kvstore.auth.types import Identity
from kvstore.errors import EtcdError, error
from kvstore.member.member import Member
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.methods import Method, ServerStream, StreamFactory, TogetherHandler, UnaryHandler
from kvstore.wire.server import GrpcServer

Judge = Callable[[bytes], object]
"""Raises EtcdError if a request's message is wrong in itself."""

# Messages of a stream that wait until its token is known.
MAX_HELD = 1_000


class Rule(Enum):
    """What a method asks of its caller while auth is on."""

    OPEN = "nothing"
    OWN = "what the service itself asks, by key or by message"
    CARRIED = "nothing here: the request carries who made it into the log"
    USER = "to be somebody, and carries who"
    ROOT = "to have the role root"


_SERVICES: dict[str, dict[str, Rule]] = {
    "etcdserverpb.KV": {
        "Range": Rule.OWN,
        "RangeStream": Rule.OWN,
        "Put": Rule.CARRIED,
        "DeleteRange": Rule.CARRIED,
        "Txn": Rule.CARRIED,
        "Compact": Rule.ROOT,
    },
    "etcdserverpb.Watch": {"Watch": Rule.OWN},
    "etcdserverpb.Lease": {
        "LeaseGrant": Rule.USER,
        "LeaseRevoke": Rule.USER,
        "LeaseTimeToLive": Rule.USER,
        "LeaseLeases": Rule.OWN,
        "LeaseKeepAlive": Rule.OWN,
    },
    "etcdserverpb.Cluster": {"MemberList": Rule.USER},
    "etcdserverpb.Maintenance": {"Status": Rule.USER, "Alarm": Rule.OWN},
    "etcdserverpb.Auth": {
        "Authenticate": Rule.OPEN,
        **dict.fromkeys(("AuthEnable", "AuthDisable", "AuthStatus"), Rule.CARRIED),
        **dict.fromkeys(("UserAdd", "UserGet", "UserList", "UserDelete", "UserChangePassword"), Rule.CARRIED),
        **dict.fromkeys(("UserGrantRole", "UserRevokeRole"), Rule.CARRIED),
        **dict.fromkeys(("RoleAdd", "RoleGet", "RoleList", "RoleDelete"), Rule.CARRIED),
        **dict.fromkeys(("RoleGrantPermission", "RoleRevokePermission"), Rule.CARRIED),
    },
    "v3lockpb.Lock": dict.fromkeys(("Lock", "Unlock"), Rule.CARRIED),
    "v3electionpb.Election": dict.fromkeys(("Campaign", "Proclaim", "Leader", "Observe", "Resign"), Rule.CARRIED),
    "grpc.health.v1.Health": dict.fromkeys(("Check", "Watch"), Rule.OPEN),
}
RULES = {f"/{service}/{method}": rule for service, methods in _SERVICES.items() for method, rule in methods.items()}


def identify(member: Member, call: Call) -> Identity | None:
    """Whom the call comes from; None for nobody, and while auth is off. Raises INVALID_AUTH_TOKEN."""
    auth = member.auth
    if not auth.enabled:
        return None
    token = _token(call)
    if token is not None:
        found = member.tokens.identify(token, auth.revision)
        if found is None:
            raise error("INVALID_AUTH_TOKEN")
        return found
    name = call.common_name if member.config.client_cert_auth else ""
    return Identity(name, auth.revision) if name else None


def require_user(member: Member, call: Call) -> Identity | None:
    """As identify, but somebody it must be while auth is on. Raises INVALID_AUTH_TOKEN, USER_EMPTY."""
    found = identify(member, call)
    if found is None and member.auth.enabled:
        raise error("USER_EMPTY")
    return found


def require_root(member: Member, call: Call) -> None:
    """Raises INVALID_AUTH_TOKEN, USER_EMPTY, USER_NOT_FOUND, PERMISSION_DENIED."""
    member.auth.check_root(identify(member, call))


def guard(server: GrpcServer, member: Member, judges: Mapping[str, Judge]) -> None:
    """Put its rule before every method that the server has by now.

    judges: by path, for requests that are wrong whoever makes them: etcd says so before it looks at a token.
    """
    for path, method in server.methods.items():
        _guard(method, member, RULES.get(path, Rule.ROOT), judges.get(path))


def _guard(method: Method, member: Member, rule: Rule, judge: Judge | None) -> None:
    if rule is Rule.OPEN:
        return
    admit = _ADMITTED[rule]
    if method.unary is not None:
        method.unary = _guarded_unary(method.unary, member, admit, judge)
    if method.together is not None:
        method.together = _guarded_together(method.together, member)
    if method.factory is not None:
        method.factory = _guarded_stream(method.factory, member, admit)


def _guarded_together(handler: TogetherHandler, member: Member) -> TogetherHandler:
    auth = member.auth

    def guarded(calls: Sequence[Call], messages: Sequence[bytes]) -> bool:
        # With auth on each is asked for.
        return not auth.enabled and handler(calls, messages)

    return guarded


def _guarded_unary(
    handler: UnaryHandler, member: Member, admit: Callable[[Member, Call], None], judge: Judge | None
) -> UnaryHandler:
    auth = member.auth

    def admitted(call: Call, message: bytes, problem: EtcdError | None = None) -> None:
        try:
            if problem is not None:
                raise problem
            try:
                admit(member, call)
            except EtcdError:
                if judge is not None:
                    judge(message)
                raise
            handler(call, message)
        except Exception as fault:
            call.fail_with(fault)

    def guarded(call: Call, message: bytes) -> None:
        # Hot: with auth off this is all that is done.
        if not auth.enabled:
            handler(call, message)
        elif _is_ahead(member, call):
            member.linearizable(partial(admitted, call, message))
        else:
            admitted(call, message)

    return guarded


def _guarded_stream(factory: StreamFactory, member: Member, admit: Callable[[Member, Call], None]) -> StreamFactory:
    def admitted(call: Call) -> ServerStream:
        if member.auth.enabled:
            admit(member, call)
        return factory(call)

    def guarded(call: Call) -> ServerStream:
        if member.auth.enabled and _is_ahead(member, call):
            held = _HeldStream(call, admitted)
            member.linearizable(held.release)
            return held
        return admitted(call)

    return guarded


def _token(call: Call) -> str | None:
    metadata = call.metadata
    token = metadata.get("token")
    if token is None:
        token = metadata.get("authorization")
    return None if token is None else token.removeprefix("Bearer ")


def _is_ahead(member: Member, call: Call) -> bool:
    """Whether the token was assigned by an entry that is not applied here yet."""
    token = _token(call)
    return token is not None and member.tokens.provider.index_of(token) > member.state.applied_index


def _carry(member: Member, call: Call) -> None:
    call.user = identify(member, call)


def _need_user(member: Member, call: Call) -> None:
    call.user = require_user(member, call)


def _need_nothing(member: Member, call: Call) -> None:
    """The service asks by itself."""


_ADMITTED: dict[Rule, Callable[[Member, Call], None]] = {
    Rule.OWN: _need_nothing,
    Rule.CARRIED: _carry,
    Rule.USER: _need_user,
    Rule.ROOT: require_root,
}


class _HeldStream:
    """A stream whose token is not known here yet: keeps what comes until it is, then hands it on."""

    def __init__(self, call: Call, factory: StreamFactory) -> None:
        self._call = call
        self._factory = factory
        self._held: list[bytes] = []
        self._half_closed = False
        self._stream: ServerStream | None = None

    def release(self, problem: EtcdError | None) -> None:
        """All that was acknowledged before the call is applied here; or it could not be waited for."""
        if self._call.closed:
            return
        try:
            if problem is not None:
                raise problem
            self._stream = self._factory(self._call)
            for message in self._held:
                self._stream.message(message)
            self._held.clear()
            if self._half_closed:
                self._stream.half_close()
        except Exception as fault:
            self._call.fail_with(fault)

    def message(self, data: bytes) -> None:
        """A message of the client's."""
        if self._stream is not None:
            self._stream.message(data)
        elif len(self._held) >= MAX_HELD:
            raise error("TOO_MANY_REQUESTS")
        else:
            self._held.append(data)

    def half_close(self) -> None:
        """The client will send no more."""
        self._half_closed = True
        if self._stream is not None:
            self._stream.half_close()

    def closed(self) -> None:
        """The call has ended."""
        self._held.clear()
        if self._stream is not None:
            self._stream.closed()
