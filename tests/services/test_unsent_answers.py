"""What waits for a client on its connection: more answers wait unmade, and its watches get one response each."""

from __future__ import annotations

from typing import Any

import pytest
from service_fakes import FakeCall, FakeMember, stream

from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.big_range import HELD_BYTES
from kvstore.services.kv import KvService
from kvstore.services.watch import WatchService


class Applying(FakeMember):
    """Applies what is proposed to its store."""

    def apply(self, kind: int, body: bytes, done: Any) -> None:
        request: Any
        if kind == RequestKind.PUT:
            request, step = pb.PutRequest.FromString(body), self.store.put
        elif kind == RequestKind.DELETE_RANGE:
            request, step = pb.DeleteRangeRequest.FromString(body), self.store.delete_range
        else:
            request, step = pb.TxnRequest.FromString(body), self.store.txn
        done(step(request), None)


PUT = pb.PutRequest(key=b"a", value=b"new", prev_kv=True)
READ = pb.RequestOp(request_range=pb.RangeRequest(key=b"a"))
WRITE = pb.RequestOp(request_put=PUT)
ASKED = {
    "put": (PUT, pb.PutResponse),
    "delete_range": (pb.DeleteRangeRequest(key=b"a", prev_kv=True), pb.DeleteRangeResponse),
    "reading txn": (pb.TxnRequest(success=[READ]), pb.TxnResponse),
    "writing txn": (pb.TxnRequest(success=[WRITE, READ]), pb.TxnResponse),
}


@pytest.mark.parametrize("asked", ASKED)
def test_an_answer_waits_until_the_client_has_taken_earlier_ones(asked: str) -> None:
    member = Applying()
    member.put(b"a", b"old")
    revision = member.store.revision
    service: Any = KvService(member)  # type: ignore[arg-type]
    request, kind = ASKED[asked]
    call = FakeCall()
    call.buffered_on_connection = HELD_BYTES + 1
    getattr(service, asked.rpartition(" ")[2])(call, request.SerializeToString())
    member.loop.advance(1.0)
    assert (call.sent, call.closed) == ([], False)
    assert (member.store.revision > revision) == (asked != "reading txn"), "writes do not wait, their answers do"
    call.buffered_on_connection = HELD_BYTES
    member.loop.advance(1.0)
    assert b"old" in call.taken(kind).SerializeToString()


def test_nobody_waits_for_a_call_that_is_over() -> None:
    member = Applying()
    service = KvService(member)  # type: ignore[arg-type]
    call = FakeCall()
    call.buffered_on_connection = HELD_BYTES + 1
    service.txn(call, pb.TxnRequest(success=[READ]).SerializeToString())  # type: ignore[arg-type]
    call.fail(1, "gone")
    member.loop.advance(1.0)
    assert not member.loop.timers


def test_watches_of_a_crowded_connection_get_a_response_each() -> None:
    member = FakeMember()
    service = WatchService(member, random=lambda: 0.5)  # type: ignore[arg-type]
    call = stream(service.watch)
    call.hear(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    call.take(pb.WatchResponse)
    call.buffered_on_connection = HELD_BYTES + 1
    member.put(b"a", b"one")
    member.loop.run()
    assert len(call.take(pb.WatchResponse)) == 1, "nothing of this watch waits: it is not the others' hostage"
    call.buffered = 100
    member.put(b"a", b"two")
    member.loop.run()
    assert call.take(pb.WatchResponse) == []
    # It may still say what it has to say.
    call.hear(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"b")))
    assert not call.closed
    call.take(pb.WatchResponse)
    call.drain()
    member.loop.run()
    (response,) = call.take(pb.WatchResponse)
    assert [event.kv.value for event in response.events] == [b"two"]


def test_a_watch_of_its_own_has_its_whole_bound() -> None:
    member = FakeMember()
    service = WatchService(member, random=lambda: 0.5)  # type: ignore[arg-type]
    call = stream(service.watch)
    call.hear(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"a")))
    call.take(pb.WatchResponse)
    call.buffered = call.buffered_on_connection = 1000
    member.put(b"a", b"one")
    member.loop.run()
    assert len(call.take(pb.WatchResponse)) == 1
