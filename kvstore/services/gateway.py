"""The JSON gateway: etcd's v3 API over plain HTTP, under /v3/ on the client port.

Every path stands for one gRPC method; the very handlers that serve gRPC are called, with all that guards them, and
nothing is done twice. A streaming method takes the JSON objects of the request's body as its messages, and answers with
one {"result": …} object after another. Follows etcd's gateway (api/etcdserverpb/gw), whose bodies may go on while the
answer comes; ours are read to their end first, which is all that curl and the usual HTTP libraries do.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from google.protobuf import message_factory
from google.protobuf.message import Message

from kvstore.errors import Code, EtcdError
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.gateway_call import JSON, GatewayCall
from kvstore.services.gateway_json import Failure, first_request, requests
from kvstore.wire.grpc.metadata import parse_timeout
from kvstore.wire.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from kvstore.member.member import Member
    from kvstore.wire.server import GrpcServer

PREFIX = "/v3/"
_OLD_PREFIX = "/v3beta/"
_PACKAGES = {"Lock": "v3lockpb", "Election": "v3electionpb"}

# Path below /v3/ → service and method.
ROUTES = {
    "kv/range": "KV/Range",
    "kv/put": "KV/Put",
    "kv/deleterange": "KV/DeleteRange",
    "kv/txn": "KV/Txn",
    "kv/compaction": "KV/Compact",
    "watch": "Watch/Watch",
    "lease/grant": "Lease/LeaseGrant",
    "lease/revoke": "Lease/LeaseRevoke",
    "lease/keepalive": "Lease/LeaseKeepAlive",
    "lease/timetolive": "Lease/LeaseTimeToLive",
    "lease/leases": "Lease/LeaseLeases",
    "kv/lease/revoke": "Lease/LeaseRevoke",
    "kv/lease/timetolive": "Lease/LeaseTimeToLive",
    "kv/lease/leases": "Lease/LeaseLeases",
    "cluster/member/add": "Cluster/MemberAdd",
    "cluster/member/remove": "Cluster/MemberRemove",
    "cluster/member/update": "Cluster/MemberUpdate",
    "cluster/member/list": "Cluster/MemberList",
    "cluster/member/promote": "Cluster/MemberPromote",
    "maintenance/alarm": "Maintenance/Alarm",
    "maintenance/status": "Maintenance/Status",
    "maintenance/defragment": "Maintenance/Defragment",
    "maintenance/hash": "Maintenance/Hash",
    "maintenance/hashkv": "Maintenance/HashKV",
    "maintenance/snapshot": "Maintenance/Snapshot",
    "maintenance/transfer-leadership": "Maintenance/MoveLeader",
    "maintenance/downgrade": "Maintenance/Downgrade",
    "auth/enable": "Auth/AuthEnable",
    "auth/disable": "Auth/AuthDisable",
    "auth/status": "Auth/AuthStatus",
    "auth/authenticate": "Auth/Authenticate",
    "auth/user/add": "Auth/UserAdd",
    "auth/user/get": "Auth/UserGet",
    "auth/user/list": "Auth/UserList",
    "auth/user/delete": "Auth/UserDelete",
    "auth/user/changepw": "Auth/UserChangePassword",
    "auth/user/grant": "Auth/UserGrantRole",
    "auth/user/revoke": "Auth/UserRevokeRole",
    "auth/role/add": "Auth/RoleAdd",
    "auth/role/get": "Auth/RoleGet",
    "auth/role/list": "Auth/RoleList",
    "auth/role/delete": "Auth/RoleDelete",
    "auth/role/grant": "Auth/RoleGrantPermission",
    "auth/role/revoke": "Auth/RoleRevokePermission",
    "lock/lock": "Lock/Lock",
    "lock/unlock": "Lock/Unlock",
    "election/campaign": "Election/Campaign",
    "election/proclaim": "Election/Proclaim",
    "election/leader": "Election/Leader",
    "election/observe": "Election/Observe",
    "election/resign": "Election/Resign",
}


class Gateway:
    """The gateway to the methods of one server."""

    def __init__(self, member: Member, server: GrpcServer) -> None:
        self._loop = member.loop
        self._server = server
        # One thread: answers that are made in it come out in order.
        self._threads = ThreadPoolExecutor(1, "gateway")
        self._kinds = {path: _kinds(target) for path, target in ROUTES.items()}

    @staticmethod
    def takes(path: str) -> bool:
        """Whether the path is the gateway's to answer."""
        return path.startswith((PREFIX, _OLD_PREFIX))

    def serve(self, request: HttpRequest, headers: tuple[tuple[str, str], ...]) -> HttpResponse | None:
        """Answer now, or later through the request. headers: go with every response."""
        route = request.path.removeprefix(_OLD_PREFIX).removeprefix(PREFIX)
        target = ROUTES.get(route)
        if target is None:
            return HttpResponse(404, b"Not Found\n", headers=headers)
        if request.method != "POST":
            return HttpResponse(405, b"Method Not Allowed\n", headers=(("Allow", "POST"), *headers))
        try:
            self._call(request, route, target, headers)
        except EtcdError as problem:
            failure = Failure(problem.code, problem.message)
            return HttpResponse(failure.http_status, failure.body(), JSON, headers)
        return None

    def _call(self, request: HttpRequest, route: str, target: str, headers: tuple[tuple[str, str], ...]) -> None:
        asked, answered = self._kinds[route]
        service = target.partition("/")[0]
        path = f"/{_PACKAGES.get(service, 'etcdserverpb')}.{target}"
        method = self._server.methods.get(path)
        if method is None:
            raise EtcdError(Code.UNIMPLEMENTED, f"unknown method {path}")
        timeout = _timeout(request)
        unary = method.unary is not None
        messages = [first_request(asked, request.body)] if unary else list(requests(asked, request.body))
        # Its messages are all that is needed of a body while the call lasts.
        request.body = b""
        call = GatewayCall(request, method, answered, headers, self._loop, self._threads)
        if timeout is not None:
            call.timeout = timeout
            timer = self._loop.call_later(timeout, call.expire)
            call.when_ended(timer.cancel)
        call.run(messages)
        if not unary:
            call.begin()


def _timeout(request: HttpRequest) -> float | None:
    """Seconds in the header Grpc-Timeout. Raises INVALID_ARGUMENT."""
    value = request.headers.get("grpc-timeout")
    try:
        return None if value is None else parse_timeout(value.encode("latin-1", "replace"))
    except ValueError as problem:
        raise EtcdError(Code.INVALID_ARGUMENT, str(problem)) from None


def _kinds(target: str) -> tuple[type[Message], type[Message]]:
    """The classes of a method's requests and answers."""
    service, _, name = target.partition("/")
    method = pb.DESCRIPTOR.services_by_name[service].methods_by_name[name]
    asked, answered = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    return asked, answered
