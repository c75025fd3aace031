"""grpc.health.v1.Health: SERVING while this member knows a leader (gRPC health checking protocol)."""

from __future__ import annotations

from collections.abc import Callable

from google.protobuf.message import DecodeError

from kvstore.errors import Code
from kvstore.member.member import Member
from kvstore.pb import health_pb2 as pb
from kvstore.wire.grpc.call import Call
from kvstore.wire.server import GrpcServer

SERVICES = {
    "",
    "etcdserverpb.KV",
    "etcdserverpb.Watch",
    "etcdserverpb.Lease",
    "etcdserverpb.Cluster",
    "etcdserverpb.Maintenance",
    "etcdserverpb.Auth",
    "v3lockpb.Lock",
    "v3electionpb.Election",
}


def register(server: GrpcServer, member: Member) -> None:
    """Serve Check and Watch."""

    def check(call: Call, message: bytes) -> None:
        service = _service(call, message)
        if service is None:
            return
        if service not in SERVICES:
            call.fail(Code.NOT_FOUND, "unknown service")
        else:
            call.reply(pb.HealthCheckResponse(status=_status(member)).SerializeToString())

    server.unary("/grpc.health.v1.Health/Check", check)
    server.stream("/grpc.health.v1.Health/Watch", lambda call: _HealthWatch(member, call))


def _service(call: Call, message: bytes) -> str | None:
    try:
        return str(pb.HealthCheckRequest.FromString(message).service)
    except DecodeError:
        call.fail(Code.INTERNAL, "grpc: error unmarshalling request: not a HealthCheckRequest")
        return None


def _status(member: Member) -> pb.HealthCheckResponse.ServingStatus:
    serving = member.leader_id != 0 and not member.alarms.corrupt
    return pb.HealthCheckResponse.SERVING if serving else pb.HealthCheckResponse.NOT_SERVING


class _HealthWatch:
    """One Watch stream: the status now, and again whenever it changes."""

    def __init__(self, member: Member, call: Call) -> None:
        self._member = member
        self._call = call
        self._known = ""
        self._sent: int | None = None
        self._forget: Callable[[], None] | None = None

    def message(self, data: bytes) -> None:
        service = _service(self._call, data)
        if service is None or self._forget is not None:
            return
        self._known = service
        self._forget = self._member.on_leader_change(self._changed)
        self._changed()

    def half_close(self) -> None:
        """Clients close their side after the request; the stream goes on."""

    def closed(self) -> None:
        if self._forget is not None:
            self._forget()

    def _changed(self) -> None:
        unknown = pb.HealthCheckResponse.SERVICE_UNKNOWN
        status = _status(self._member) if self._known in SERVICES else unknown
        if status != self._sent:
            self._sent = status
            self._call.send(pb.HealthCheckResponse(status=status).SerializeToString())
