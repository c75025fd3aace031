"""A response's header list as the client's half reads it (gRPC's PROTOCOL-HTTP2, "Responses")."""

from __future__ import annotations

from kvstore.errors import Code
from kvstore.wire.grpc import status
from kvstore.wire.grpc.metadata import is_grpc
from kvstore.wire.h2.fields import Field, response_fault, trailer_fault


class ResponseHead:
    """Response headers or trailers. grpc_status: (code, message) if the list ends the call, else None."""

    def __init__(self, fields: list[Field]) -> None:
        found = dict(fields)
        self.fields = fields
        self.fault = response_fault(fields)
        self.trailer_fault = trailer_fault(fields)
        self.http_status = int(found[b":status"]) if not self.fault else 0
        self.is_grpc = is_grpc(found.get(b"content-type", b""))
        self.grpc_status = _status(found)

    def refusal(self) -> tuple[int, str]:
        """What the caller hears of a response that is not gRPC's."""
        code = status.FROM_HTTP.get(self.http_status, Code.UNKNOWN)
        return code, f"unexpected HTTP status {self.http_status} without a gRPC status"


def _status(found: dict[bytes, bytes]) -> tuple[int, str] | None:
    value = found.get(b"grpc-status")
    if value is None:
        return None
    message = status.decode_message(found.get(b"grpc-message", b""))
    if not value.isdigit() or len(value) > 2 or int(value) >= len(Code):
        return Code.UNKNOWN, message
    return int(value), message
