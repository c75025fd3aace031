"""Kubernetes' protobuf bodies as JSON objects and back, generic over the numbers in the schema tables.

    decode(body)  ->  Decoded(api_version, kind, object, warnings)
    encode(object)  ->  bytes

Source: "Protobuf encoding idl" in the API concepts of Kubernetes: `k8s\\0` followed by a runtime.Unknown message.
"""

from control.api.protobuf.envelope import CONTENT_TYPE, MAGIC, Decoded, decode, encode, type_of

__all__ = ["CONTENT_TYPE", "MAGIC", "Decoded", "decode", "encode", "type_of"]
