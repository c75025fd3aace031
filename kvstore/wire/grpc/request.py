"""A request's header list, judged once and kept with its header block: equal blocks share one RequestHead."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from kvstore.wire.grpc import metadata
from kvstore.wire.grpc.methods import Method, Methods
from kvstore.wire.h2.fields import Field, request_fault


class RequestHead:
    """The list without its grpc-timeout. `fault` is why the list is malformed (RFC 9113), or ''.

    plain: the method, if this is a valid call of a unary method without compression, else None: the hot loop asks no
    more. length: content-length, or -1.
    """

    def __init__(self, fields: list[Field], methods: Methods) -> None:
        found = dict(fields)
        self.fields = fields
        self.fault = request_fault(fields)
        self.path = found.get(b":path", b"").decode("latin-1")
        self.http_method = found.get(b":method", b"")
        self.is_grpc = metadata.is_grpc(found.get(b"content-type", b""))
        self.length = int(found[b"content-length"]) if not self.fault and b"content-length" in found else -1
        self.encoding = found.get(b"grpc-encoding", b"identity")
        self.method: Method | None = None
        self.plain: Method | None = None
        if self.is_grpc and self.http_method == b"POST" and not self.fault:
            self.method = methods.by_path.get(found[b":path"])
        if self.method is not None and self.method.unary is not None and self.encoding == b"identity":
            self.plain = self.method

    @cached_property
    def metadata(self) -> Mapping[str, str]:
        """Names to values; `-bin` values as they stand."""
        return metadata.decode(self.fields)

    @cached_property
    def metadata_bin(self) -> Mapping[str, bytes]:
        """The `-bin` fields, decoded."""
        return metadata.decode_binary(self.fields)
