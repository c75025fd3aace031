"""Raw gRPC stubs of every etcd service, made from the message descriptors and grpcio alone.

Independent of kvstore.client on purpose: a mistake there must not hide one in the server.
"""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf import message_factory

from kvstore.pb import etcd_pb2, health_pb2

_PACKAGES = {"Lock": "v3lockpb", "Election": "v3electionpb"}
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Each channel its own connection: without it grpcio shares one between channels of the same target.
    ("grpc.use_local_subchannel_pool", 1),
    # A member that was killed comes back within a second; do not wait a minute before the next attempt. The minimum is
    # in fact the time that an attempt may take.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 3000),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_retries", 0),
]


def open_channel(endpoint: str) -> grpc.Channel:
    """A plaintext channel to host:port of its own connection, without message size limits and without retries."""
    return grpc.insecure_channel(endpoint, options=CHANNEL_OPTIONS)


class Stub:
    """Every RPC of etcd's API as an attribute: Range, Put, Watch, LeaseGrant, Status, Lock, Campaign, …"""

    def __init__(self, channel: grpc.Channel) -> None:
        for service in etcd_pb2.DESCRIPTOR.services_by_name.values():
            package = _PACKAGES.get(service.name, "etcdserverpb")
            for method in service.methods:
                setattr(self, method.name, _callable(channel, f"/{package}.{service.name}/{method.name}", method))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"etcd has no RPC {name}")


class HealthStub:
    """grpc.health.v1.Health: Check and Watch."""

    def __init__(self, channel: grpc.Channel) -> None:
        service = health_pb2.DESCRIPTOR.services_by_name["Health"]
        for method in service.methods:
            setattr(self, method.name, _callable(channel, f"/grpc.health.v1.Health/{method.name}", method))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the health service has no RPC {name}")


def _callable(channel: grpc.Channel, path: str, method: Any) -> Any:
    """grpcio's callable for one method descriptor."""
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    kind = ("unary", "stream")[method.client_streaming] + "_" + ("unary", "stream")[method.server_streaming]
    return getattr(channel, kind)(
        path, request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
