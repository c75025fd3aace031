"""Answers of two servers made comparable: what differs by chance is left out, all else counts letter by letter."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from harness.stubs import Stub
from kvstore.pb import etcd_pb2 as pb

# Members, terms, sizes and hashes belong to one cluster; a remaining TTL belongs to a moment.
_OF_ONE_CLUSTER = {"cluster_id", "member_id", "raft_term", "dbSize", "dbSizeInUse", "raftIndex", "raftTerm", "hash"}
_SORTED_BY = {1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}
_UNORDERED = {"leases", "keys"}

Answer = dict[str, Any]


def ask(stub: Stub, rpc: str, request: Message, timeout: float = 10.0, metadata: Any = None) -> Answer:
    """One unary call: the normalised response, or {"code", "details"} of its error."""
    try:
        response = getattr(stub, rpc)(request, timeout=timeout, metadata=metadata)
    except grpc.RpcError as failure:
        return {"code": failure.code().name, "details": failure.details()}
    return settle_ties(request, normalise(response))


def settle_ties(request: Message, answer: Answer) -> Answer:
    """The answer without the order of key-values that a sort found equal.

    Go's sort is not stable (and differs between Go versions), so neither is etcd's: what counts is the order of the
    values sorted by, and, unless a limit cut somewhere among equals, which key-values there are.
    """
    if isinstance(request, pb.RangeRequest) and request.sort_target != pb.RangeRequest.KEY:
        kvs = answer.pop("kvs", [])
        answer["order"] = [kv.get(_SORTED_BY[request.sort_target]) for kv in kvs]
        answer["kvs"] = None if answer.get("more") else sorted(kvs, key=repr)
    if isinstance(request, pb.TxnRequest):
        operations = request.success if answer.get("succeeded") else request.failure
        for operation, response in zip(operations, answer.get("responses", []), strict=True):
            which = operation.WhichOneof("request")
            if which:
                settle_ties(getattr(operation, which), response.get(which.replace("request", "response"), {}))
    return answer


def normalise(message: Message) -> Answer:
    """The message as a dict of its set fields without what belongs to one cluster or one moment."""
    answer: Answer = _strip(MessageToDict(message, preserving_proto_field_name=True))
    if message.DESCRIPTOR.name == "LeaseTimeToLiveResponse" and int(answer.get("TTL", 0)) > 0:
        # A whole second may have passed between the two servers' answers, so only "alive" is compared here.
        answer["TTL"] = "alive"
    return answer


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _sorted(k, _strip(v)) for k, v in value.items() if k not in _OF_ONE_CLUSTER}
    if isinstance(value, list):
        return [_strip(v) for v in value]
    return value


def _sorted(name: str, value: Any) -> Any:
    """Lists that etcd fills from a Go map have no order of their own."""
    return sorted(value, key=repr) if name in _UNORDERED and isinstance(value, list) else value


def revision_of(answer: Answer) -> int:
    """The revision in the answer's header; 0 for an error."""
    return int(answer.get("header", {}).get("revision", 0))
