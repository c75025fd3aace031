"""Requests and answers of these tests as etcd's messages, and back: every call with all that can be checked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message as Protobuf

from kvstore.pb import etcd_pb2 as pb
from linearizability.operations import Compare, Kv, Op, Request, Response
from linearizability.serial import Event
from linearizability.watching import Message, Seen, Watcher

_RELATIONS = {"=": pb.Compare.EQUAL, "!=": pb.Compare.NOT_EQUAL, "<": pb.Compare.LESS, ">": pb.Compare.GREATER}


def encode(request: Request) -> tuple[str, Protobuf]:
    """The RPC's name and its message: Put, Range or DeleteRange for one plain operation, else Txn."""
    if not request.compares and not request.failure and len(request.success) == 1:
        op = request.success[0]
        return {"put": "Put", "get": "Range", "delete": "DeleteRange"}[op.kind], _plain(op)
    return "Txn", pb.TxnRequest(
        compare=map(_compare, request.compares),
        success=map(_operation, request.success),
        failure=map(_operation, request.failure),
    )


def _plain(op: Op) -> Any:
    if op.kind == "put":
        return pb.PutRequest(key=op.key, value=op.value, prev_kv=True)
    if op.kind == "get":
        return pb.RangeRequest(key=op.key, range_end=op.end)
    return pb.DeleteRangeRequest(key=op.key, range_end=op.end, prev_kv=True)


def _operation(op: Op) -> pb.RequestOp:
    if op.kind == "put":
        return pb.RequestOp(request_put=_plain(op))
    if op.kind == "get":
        return pb.RequestOp(request_range=_plain(op))
    return pb.RequestOp(request_delete_range=_plain(op))


def _compare(compare: Compare) -> pb.Compare:
    if isinstance(compare.operand, bytes):
        return pb.Compare(
            key=compare.key, target=pb.Compare.VALUE, result=_RELATIONS[compare.relation], value=compare.operand
        )
    return pb.Compare(
        key=compare.key, target=pb.Compare.VERSION, result=_RELATIONS[compare.relation], version=compare.operand
    )


def decode(answer: Any) -> tuple[Response, int]:
    """What the answer says, and the revision of its header."""
    if isinstance(answer, pb.TxnResponse):
        results = tuple(_shown(getattr(each, each.WhichOneof("response"))) for each in answer.responses)
        return Response(results, answer.succeeded), answer.header.revision
    return Response((_shown(answer),)), answer.header.revision


def _shown(answer: Any) -> tuple[Kv, ...]:
    if isinstance(answer, pb.RangeResponse):
        return _kvs(answer.kvs)
    if isinstance(answer, pb.PutResponse):
        return _kvs([answer.prev_kv] if answer.HasField("prev_kv") else [])
    return _kvs(answer.prev_kvs)


def _kvs(kvs: Iterable[pb.KeyValue]) -> tuple[Kv, ...]:
    return tuple(Kv(kv.key, kv.value, kv.version, kv.create_revision, kv.mod_revision) for kv in kvs)


def event(message: pb.Event) -> Event:
    """An event as these tests know it."""
    kv = None if message.type == pb.Event.DELETE else _kvs([message.kv])[0]
    return Event(message.kv.key, message.kv.mod_revision, kv)


def create(watcher: Watcher) -> pb.WatchRequest:
    """The request that begins it."""
    filters = [pb.WatchCreateRequest.NOPUT] * watcher.no_put + [pb.WatchCreateRequest.NODELETE] * watcher.no_delete
    return pb.WatchRequest(
        create_request=pb.WatchCreateRequest(
            key=watcher.key,
            range_end=watcher.end,
            start_revision=watcher.start,
            prev_kv=watcher.prev_kv,
            fragment=watcher.fragmented,
            filters=filters,
        )
    )


def received(answer: pb.WatchResponse) -> Message:
    """A response that is neither `created` nor `canceled`."""
    seen = tuple(
        Seen(event(each), _kvs([each.prev_kv])[0] if each.HasField("prev_kv") else None) for each in answer.events
    )
    return Message(answer.header.revision, seen, progress=not seen, fragment=answer.fragment)
