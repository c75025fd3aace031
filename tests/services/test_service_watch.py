"""The Watch service on a real store and hub, decoded by protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from service_fakes import FakeCall, FakeMember, stream

from kvstore.errors import Code
from kvstore.mvcc.types import DELETE, PUT
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.watch import WatchService


@pytest.fixture
def member() -> FakeMember:
    return FakeMember()


@pytest.fixture
def service(member: FakeMember) -> WatchService:
    return WatchService(member, random=lambda: 0.5)  # type: ignore[arg-type]


@pytest.fixture
def call(service: WatchService) -> FakeCall:
    return stream(service.watch)


def create(key: bytes = b"a", **fields: Any) -> pb.WatchRequest:
    return pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, **fields))


def cancel(id: int) -> pb.WatchRequest:
    return pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=id))


PROGRESS = pb.WatchRequest(progress_request=pb.WatchProgressRequest())


def take(call: FakeCall) -> list[pb.WatchResponse]:
    return call.take(pb.WatchResponse)


def taken(call: FakeCall) -> pb.WatchResponse:
    response = call.taken(pb.WatchResponse)
    assert isinstance(response, pb.WatchResponse)
    return response


def revisions(response: pb.WatchResponse) -> list[int]:
    return [event.kv.mod_revision for event in response.events]


# ---- create


def test_created_comes_first(call: FakeCall, member: FakeMember) -> None:
    member.put(b"a")
    call.hear(create(start_revision=2))
    member.put(b"a")
    member.loop.run()
    created, events = take(call)
    assert created == pb.WatchResponse(
        header=pb.ResponseHeader(cluster_id=14, member_id=15, revision=2, raft_term=3), watch_id=0, created=True
    )
    assert not events.created
    assert revisions(events) == [2, 3]
    assert events.header.revision == 3


def test_an_event(call: FakeCall, member: FakeMember) -> None:
    call.hear(create())
    take(call)
    member.put(b"a", b"one")
    member.loop.run()
    response = taken(call)
    kv = pb.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, value=b"one")
    assert list(response.events) == [pb.Event(kv=kv)]
    assert response.header == pb.ResponseHeader(cluster_id=14, member_id=15, revision=2, raft_term=3)
    assert (response.watch_id, response.created, response.canceled, response.fragment) == (0, False, False, False)


def test_a_delete_has_key_and_revision_only(call: FakeCall, member: FakeMember) -> None:
    member.put(b"a", b"one")
    call.hear(create(prev_kv=True))
    take(call)
    member.delete(b"a")
    member.loop.run()
    (event,) = taken(call).events
    assert event.type == pb.Event.DELETE
    assert event.kv == pb.KeyValue(key=b"a", mod_revision=3)
    assert event.prev_kv == pb.KeyValue(key=b"a", create_revision=2, mod_revision=2, version=1, value=b"one")


def test_ids_count_from_zero_and_may_be_chosen(call: FakeCall) -> None:
    for wanted in (0, 0, 2, 7, -5, 0, 0):
        call.hear(create(watch_id=wanted))
    assert [response.watch_id for response in take(call)] == [0, 1, 2, 7, -5, 3, 4]


def test_a_chosen_id_reaches_the_events(call: FakeCall, member: FakeMember) -> None:
    call.hear(create(watch_id=1 << 40))
    member.put(b"a")
    member.loop.run()
    assert [response.watch_id for response in take(call)] == [1 << 40, 1 << 40]


def refusal(call: FakeCall) -> str:
    response = taken(call)
    assert (response.created, response.canceled, response.watch_id) == (True, True, -1)
    assert response.header.revision > 0
    assert not call.closed
    return str(response.cancel_reason)


def test_refused_creates(call: FakeCall) -> None:
    call.hear(create(start_revision=-1))
    assert refusal(call) == "etcdserver: mvcc: required revision has been compacted"
    for end in (b"a", b"A"):
        call.hear(create(range_end=end))
        assert refusal(call) == "mvcc: watcher range is empty"
    call.hear(create(watch_id=3))
    take(call)
    call.hear(create(watch_id=3))
    assert refusal(call) == "mvcc: duplicate watch ID provided on the WatchStream"


def test_an_empty_key_means_the_smallest(call: FakeCall, member: FakeMember) -> None:
    call.hear(create(b"", range_end=b"\0"))
    call.hear(create(b""))
    take(call)
    member.put(b"anything")
    member.put(b"\0")
    member.loop.run()
    seen: dict[int, list[int]] = {0: [], 1: []}
    for response in take(call):
        seen[response.watch_id] += revisions(response)
    assert seen == {0: [2, 3], 1: [3]}


def test_filters(call: FakeCall, member: FakeMember) -> None:
    NOPUT, NODELETE = pb.WatchCreateRequest.NOPUT, pb.WatchCreateRequest.NODELETE
    call.hear(create(filters=[NOPUT]))
    call.hear(create(filters=[NODELETE]))
    call.hear(create(filters=[NOPUT, NODELETE, 17]))
    take(call)
    member.put(b"a")
    member.delete(b"a")
    member.loop.run()
    got = {response.watch_id: [event.type for event in response.events] for response in take(call)}
    assert got == {0: [DELETE], 1: [PUT]}


# ---- cancel and compaction


def test_cancel(call: FakeCall, member: FakeMember) -> None:
    call.hear(create())
    take(call)
    member.put(b"a")
    call.hear(cancel(0))
    member.put(b"a")
    member.loop.run()
    events, canceled = take(call)
    assert revisions(events) == [2]
    assert (canceled.watch_id, canceled.canceled, canceled.cancel_reason) == (0, True, "")
    assert canceled.header.revision == 2
    call.hear(cancel(0))
    call.hear(cancel(99))
    assert take(call) == []
    assert member.watches.watcher_count == 0


def test_ids_are_free_after_a_cancel(call: FakeCall) -> None:
    call.hear(create(watch_id=4))
    call.hear(cancel(4))
    call.hear(create(watch_id=4))
    assert [(r.created, r.canceled) for r in take(call)] == [(True, False), (False, True), (True, False)]


def test_compacted_start(call: FakeCall, member: FakeMember) -> None:
    for _ in range(5):
        member.put(b"a")
    member.compact(4)
    call.hear(create(start_revision=3))
    call.hear(create(start_revision=4))
    member.loop.run()
    first, second, canceled, events = take(call)
    assert (first.created, second.created) == (True, True)
    assert (canceled.watch_id, canceled.canceled, canceled.compact_revision) == (0, True, 4)
    assert (canceled.cancel_reason, canceled.header.revision) == ("", 0)
    assert events.watch_id == 1
    assert revisions(events) == [4, 5, 6]
    call.hear(cancel(0))
    assert taken(call).canceled, "a client that cancels it all the same is answered"


def test_previous_values_that_are_compacted_are_left_out(call: FakeCall, member: FakeMember) -> None:
    for _ in range(4):
        member.put(b"a")
    member.compact(4)
    call.hear(create(start_revision=4, prev_kv=True))
    member.loop.run()
    _, events = take(call)
    assert [(e.kv.mod_revision, e.prev_kv.mod_revision) for e in events.events] == [(4, 0), (5, 4)]


# ---- batches and fragments


def test_a_turn_of_the_loop_is_one_response(call: FakeCall, member: FakeMember) -> None:
    """But for its first events: see below."""
    call.hear(create(range_end=b"c"))
    take(call)
    member.put(b"b")
    taken(call)
    member.put(b"a")
    member.txn((b"a", b"x"), (b"b", b"y"))
    assert call.sent == []
    member.loop.run()
    response = taken(call)
    assert revisions(response) == [3, 4, 4]
    assert response.header.revision == 4


def test_the_first_events_of_a_turn_leave_at_once_if_few_want_them(call: FakeCall, member: FakeMember) -> None:
    """Nobody waits for them behind answers, and what else follows from applying."""
    for _ in range(4):
        call.hear(create())
    take(call)
    member.put(b"a")
    assert [revisions(response) for response in take(call)] == [[2]] * 4
    assert call.flushes == 4
    member.loop.run()
    assert (call.sent, call.flushes) == ([], 4)
    member.put(b"a")
    assert len(take(call)) == 4
    member.loop.run()
    call.hear(create())
    take(call)
    member.put(b"a")
    assert call.sent == []
    member.loop.run()
    assert [revisions(response) for response in take(call)] == [[4]] * 5
    assert call.flushes == 8


def test_a_watch_that_begins_gets_nothing_before_it_is_confirmed(call: FakeCall, member: FakeMember) -> None:
    member.put(b"a")
    call.hear(create(start_revision=2))
    created = taken(call)
    assert created.created
    assert not created.events
    member.loop.run()
    assert revisions(taken(call)) == [2]


def big_txn(member: FakeMember) -> None:
    # Each event is about 2 KB; the test's limit is 8 KiB.
    member.txn(*[(b"k%02d" % n, b"v" * 2000) for n in range(10)])


def small_limit(service: WatchService) -> None:
    service.fragment_bytes = 8192


def test_fragments(call: FakeCall, service: WatchService, member: FakeMember) -> None:
    small_limit(service)
    call.hear(create(b"k", range_end=b"l", fragment=True))
    take(call)
    big_txn(member)
    member.loop.run()
    assert all(len(message) < 8192 for message in call.sent)
    parts = take(call)
    assert [part.fragment for part in parts] == [True, True, False]
    assert [len(part.events) for part in parts] == [4, 4, 2]
    assert [event.kv.key for part in parts for event in part.events] == [b"k%02d" % n for n in range(10)]
    assert {(part.watch_id, part.header.revision) for part in parts} == {(0, 2)}


def test_without_fragment_a_revision_is_whole(call: FakeCall, service: WatchService, member: FakeMember) -> None:
    small_limit(service)
    call.hear(create(b"k", range_end=b"l"))
    take(call)
    big_txn(member)
    member.loop.run()
    assert len(taken(call).events) == 10


def test_one_event_over_the_limit_is_sent(call: FakeCall, service: WatchService, member: FakeMember) -> None:
    small_limit(service)
    call.hear(create(range_end=b"c", fragment=True))
    take(call)
    member.txn((b"a", b"v" * 9000), (b"b", b"v"))
    member.loop.run()
    parts = take(call)
    assert [(part.fragment, len(part.events)) for part in parts] == [(True, 1), (False, 1)]


def test_small_responses_are_not_split(call: FakeCall, service: WatchService, member: FakeMember) -> None:
    call.hear(create(fragment=True, watch_id=3))
    member.put(b"a")
    member.loop.run()
    _, events = take(call)
    assert (events.fragment, events.watch_id, revisions(events)) == (False, 3, [2])


# ---- progress


def test_progress_request(call: FakeCall, member: FakeMember) -> None:
    call.hear(PROGRESS)
    assert (taken(call).watch_id, call.status) == (-1, None)
    call.hear(create())
    call.hear(create())
    take(call)
    member.put(b"other")
    member.put(b"a")
    call.hear(PROGRESS)
    *events, report = take(call)
    assert [revisions(response) for response in events] == [[3], [3]]
    assert (report.watch_id, report.header.revision, len(report.events)) == (-1, 3, 0)


def test_progress_request_waits_for_those_behind(call: FakeCall, member: FakeMember) -> None:
    for _ in range(5):
        member.put(b"a")
    call.hear(create())
    call.hear(create(start_revision=2))
    call.hear(PROGRESS)
    assert all(response.watch_id >= 0 for response in take(call))
    member.loop.run()
    events, report = take(call)
    assert revisions(events) == [2, 3, 4, 5, 6]
    assert (report.watch_id, report.header.revision) == (-1, 6)


def test_periodic_progress(call: FakeCall, member: FakeMember) -> None:
    call.hear(create(progress_notify=True))
    call.hear(create())
    take(call)
    member.loop.advance(629)
    assert take(call) == []
    member.loop.advance(2)  # 600 s and half of a tenth
    report = taken(call)
    assert (report.watch_id, report.header.revision, len(report.events)) == (0, 1, 0)
    member.put(b"a")
    member.loop.run()
    assert len(take(call)) == 2
    member.loop.advance(630)
    assert take(call) == [], "skipped after events"
    member.loop.advance(630)
    assert taken(call).header.revision == 2


def test_no_periodic_progress_for_a_future_start(call: FakeCall, member: FakeMember) -> None:
    call.hear(create(progress_notify=True, start_revision=4))
    take(call)
    member.loop.advance(631)
    assert take(call) == []
    member.put(b"other")
    member.put(b"other")
    member.loop.advance(631)
    assert taken(call).header.revision == 3


def test_no_report_to_who_does_not_read(call: FakeCall, member: FakeMember) -> None:
    call.hear(create(progress_notify=True))
    take(call)
    call.buffered = 1
    member.loop.advance(6000)
    assert take(call) == []


# ---- slow and bad clients


def test_a_client_that_does_not_read_falls_back_to_history(call: FakeCall, member: FakeMember) -> None:
    call.hear(create())
    take(call)
    call.buffered = 2 << 20
    for _ in range(20):
        member.put(b"a")
        member.loop.run()
    assert take(call) == []
    call.drain()
    member.loop.run()
    assert [r for response in take(call) for r in revisions(response)] == list(range(2, 22))


def test_requests_of_a_client_that_does_not_read_are_refused(call: FakeCall, member: FakeMember) -> None:
    call.hear(create())
    call.buffered = 17 << 20
    call.hear(create())
    assert call.status == (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")
    assert member.watches.watcher_count == 0


def test_nonsense_ends_the_stream(call: FakeCall, member: FakeMember) -> None:
    call.hear(create())
    call.hear(b"\xff\xff")
    assert call.status is not None
    assert call.status[0] == Code.INTERNAL
    assert member.watches.watcher_count == 0


def test_an_empty_request_is_passed_over(call: FakeCall) -> None:
    call.hear(pb.WatchRequest())
    assert take(call) == []
    assert call.status is None


def test_half_close_goes_on_reading(call: FakeCall, member: FakeMember) -> None:
    call.hear(create())
    call.stream.half_close()
    member.put(b"a")
    member.loop.run()
    assert len(take(call)) == 2
    assert call.status is None


def test_closed_ends_all_watches(call: FakeCall, member: FakeMember) -> None:
    call.hear(create(progress_notify=True))
    call.hear(create(start_revision=1))
    call.hear(create(start_revision=99))
    call.hear(PROGRESS)
    call.stream.closed()
    assert member.watches.watcher_count == 0
    assert not any(timer.live for timer in member.loop.timers)
    member.put(b"a")
    call.drain()
    call.stream.closed()
    member.loop.run()
    assert len(take(call)) == 3


def test_streams_share_the_encoded_batch(service: WatchService, member: FakeMember) -> None:
    calls = [stream(service.watch) for _ in range(3)]
    for number, call in enumerate(calls):
        call.hear(create(range_end=b"b", watch_id=number))
        take(call)
    member.put(b"a", b"v" * 5000)
    member.loop.run()
    for number, call in enumerate(calls):
        response = taken(call)
        assert response.watch_id == number
        assert response.events[0].kv.value == b"v" * 5000


# ---- leaders


def test_has_leader(service: WatchService, member: FakeMember) -> None:
    strict, patient = stream(service.watch, hasleader="true"), stream(service.watch)
    for call in (strict, patient):
        call.hear(create())
    member.set_leader(0)
    assert stream(service.watch, hasleader="true").status == (Code.UNAVAILABLE, "etcdserver: no leader")
    member.loop.advance(2.9)
    assert strict.status is None
    member.loop.advance(0.2)
    assert strict.status == (Code.UNAVAILABLE, "etcdserver: no leader")
    assert patient.status is None
    assert member.watches.watcher_count == 1


def test_learners_refuse(service: WatchService, member: FakeMember) -> None:
    member.is_learner = True
    status = stream(service.watch).status
    assert status == (Code.UNAVAILABLE, "etcdserver: rpc not supported for learner")
