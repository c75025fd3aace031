"""What a learner serves: its status, serializable reads, and snapshots. All else is refused, as by etcd 3.5.

The KV service asks by itself, for it depends on the request there and every put would pay for a second look.
"""

from __future__ import annotations

from kvstore.member.member import Member
from kvstore.services.guard import refuse_learner
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.methods import Method, ServerStream
from kvstore.wire.server import GrpcServer

SERVED = frozenset(("/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot"))
ASKS_BY_ITSELF = "/etcdserverpb.KV/"


def guard(server: GrpcServer, member: Member) -> None:
    """Refuse on a learner every method that the server has by now and a learner does not serve."""
    for path, method in server.methods.items():
        if path not in SERVED and not path.startswith(ASKS_BY_ITSELF):
            _guard(method, member)


def _guard(method: Method, member: Member) -> None:
    unary, factory = method.unary, method.factory

    def guarded_unary(call: Call, message: bytes) -> None:
        if member.is_learner:
            refuse_learner(member)
        assert unary is not None
        unary(call, message)

    def guarded_stream(call: Call) -> ServerStream:
        refuse_learner(member)
        assert factory is not None
        return factory(call)

    if unary is not None:
        method.unary = guarded_unary
    if factory is not None:
        method.factory = guarded_stream
