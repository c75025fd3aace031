"""The Lease service, decoded by protobuf."""

from __future__ import annotations

import pytest
from service_fakes import FakeCall, FakeMember, stream, unary

from kvstore.errors import Code, error
from kvstore.member.requests import RequestKind
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.lease import LeaseService, random_id


@pytest.fixture
def member() -> FakeMember:
    return FakeMember()


@pytest.fixture
def service(member: FakeMember) -> LeaseService:
    ids = iter(range(7001, 8000))
    return LeaseService(member, draw_id=lambda: next(ids))  # type: ignore[arg-type]


def grant(service: LeaseService, ttl: int, id: int = 0) -> FakeCall:
    return unary(service.grant, pb.LeaseGrantRequest(TTL=ttl, ID=id))


def test_grant(service: LeaseService, member: FakeMember) -> None:
    response = grant(service, 60, 5).taken(pb.LeaseGrantResponse)
    assert (response.ID, response.TTL, response.error) == (5, 60, "")
    assert (response.header.cluster_id, response.header.member_id) == (14, 15)
    assert (response.header.revision, response.header.raft_term) == (1, 3)
    assert member.lessor.exists(5)


def test_the_id_is_chosen_before_the_log(service: LeaseService, member: FakeMember) -> None:
    response = grant(service, 1).taken(pb.LeaseGrantResponse)
    assert (response.ID, response.TTL) == (7001, 2)
    ((kind, body),) = member.proposals
    assert kind == RequestKind.LEASE_GRANT
    assert pb.LeaseGrantRequest.FromString(body) == pb.LeaseGrantRequest(ID=7001, TTL=1)


def test_random_ids_are_positive_int64() -> None:
    for _ in range(100):
        assert 0 < random_id() < 1 << 63


def test_refused_grants(service: LeaseService, member: FakeMember) -> None:
    call = grant(service, 9_000_000_001)
    assert call.status == (Code.OUT_OF_RANGE, "etcdserver: too large lease TTL")
    assert member.proposals == []
    grant(service, 60, 5)
    call = grant(service, 60, 5)
    assert call.status == (Code.FAILED_PRECONDITION, "etcdserver: lease already exists")
    call = unary(service.grant, b"\xff")
    assert call.status is not None
    assert call.status[0] == Code.INTERNAL
    member.alarms.no_space = True
    call = grant(service, 60)
    assert call.status == (Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")


def test_revoke_deletes_the_keys_in_one_revision(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    for key in (b"b", b"a", b"c"):
        member.put(key, lease=5)
    member.put(b"c")  # a put without lease detaches it
    call = unary(service.revoke, pb.LeaseRevokeRequest(ID=5))
    assert call.taken(pb.LeaseRevokeResponse).header.revision == 6
    assert member.store.revision == 6
    assert member.store.key_count == 1
    call = unary(service.revoke, pb.LeaseRevokeRequest(ID=5))
    assert call.status == (Code.NOT_FOUND, "etcdserver: requested lease not found")


def test_revoke_without_keys_takes_no_revision(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    response = unary(service.revoke, pb.LeaseRevokeRequest(ID=5)).taken(pb.LeaseRevokeResponse)
    assert response.header.revision == 1


def test_time_to_live(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    member.put(b"b", lease=5)
    member.put(b"a", lease=5)
    member.loop.advance(10.5)
    response = unary(service.time_to_live, pb.LeaseTimeToLiveRequest(ID=5)).taken(pb.LeaseTimeToLiveResponse)
    assert (response.ID, response.TTL, response.grantedTTL, list(response.keys)) == (5, 49, 60, [])
    assert response.header.revision == 3
    request = pb.LeaseTimeToLiveRequest(ID=5, keys=True)
    response = unary(service.time_to_live, request).taken(pb.LeaseTimeToLiveResponse)
    assert list(response.keys) == [b"a", b"b"]
    request.ID = 6
    response = unary(service.time_to_live, request).taken(pb.LeaseTimeToLiveResponse)
    assert (response.ID, response.TTL, response.grantedTTL, list(response.keys)) == (6, -1, 0, [])


def test_leases(service: LeaseService) -> None:
    grant(service, 60, 5)
    grant(service, 30, 6)
    response = unary(service.leases, pb.LeaseLeasesRequest()).taken(pb.LeaseLeasesResponse)
    assert [lease.ID for lease in response.leases] == [6, 5]
    assert response.header.revision == 1


def test_errors_of_the_member_reach_the_client(service: LeaseService, member: FakeMember) -> None:
    member.problem = error("TIMEOUT")
    timed_out = (Code.UNAVAILABLE, "etcdserver: request timed out")
    assert grant(service, 60).status == timed_out
    assert unary(service.revoke, pb.LeaseRevokeRequest(ID=5)).status == timed_out
    assert unary(service.leases, pb.LeaseLeasesRequest()).status == timed_out
    for keys in (False, True):
        assert unary(service.time_to_live, pb.LeaseTimeToLiveRequest(ID=5, keys=keys)).status == timed_out


def test_without_a_leader(service: LeaseService, member: FakeMember) -> None:
    member.set_leader(0)
    no_leader = (Code.UNAVAILABLE, "etcdserver: no leader")
    assert unary(service.grant, pb.LeaseGrantRequest(TTL=5), hasleader="true").status == no_leader
    assert stream(service.keep_alive, hasleader="true").status == no_leader
    assert stream(service.keep_alive).status is None


def test_on_a_learner(service: LeaseService, member: FakeMember) -> None:
    member.is_learner = True
    refused = (Code.UNAVAILABLE, "etcdserver: rpc not supported for learner")
    assert grant(service, 60).status == refused
    assert stream(service.keep_alive).status == refused


def keep_alive(id: int) -> pb.LeaseKeepAliveRequest:
    return pb.LeaseKeepAliveRequest(ID=id)


def test_keep_alive(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    call = stream(service.keep_alive)
    member.loop.advance(50)
    call.hear(keep_alive(5))
    response = call.taken(pb.LeaseKeepAliveResponse)
    assert (response.ID, response.TTL, response.header.revision) == (5, 60, 1)
    assert member.lessor.time_to_live(5, 50.0) == (60, 60)


def test_keep_alive_of_an_unknown_lease(service: LeaseService) -> None:
    call = stream(service.keep_alive)
    call.hear(keep_alive(9))
    response = call.taken(pb.LeaseKeepAliveResponse)
    assert (response.ID, response.TTL) == (9, 0)
    assert call.status is None


def test_the_header_is_older_than_the_renewal(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    call = stream(service.keep_alive)
    member.held = []
    call.hear(keep_alive(5))
    member.put(b"a")
    for work in member.held:
        work()
    assert call.taken(pb.LeaseKeepAliveResponse).header.revision == 1


def test_answers_keep_their_order(service: LeaseService, member: FakeMember) -> None:
    for id in (1, 2, 3):
        grant(service, 60 + id, id)
    call = stream(service.keep_alive)
    member.held = []
    for id in (1, 2, 3):
        call.hear(keep_alive(id))
    first, second, third = member.held
    third()
    second()
    assert call.sent == []
    call.stream.half_close()
    assert call.status is None, "not before all is answered"
    first()
    assert [(r.ID, r.TTL) for r in call.take(pb.LeaseKeepAliveResponse)] == [(1, 61), (2, 62), (3, 63)]
    assert call.status == (Code.OK, "")


def test_a_follower_asks_the_leader(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    member.id = 16
    member.gather = None  # type: ignore[assignment,method-assign]  # nothing is renewed here
    call = stream(service.keep_alive)
    for id in (5, 6):
        call.hear(keep_alive(id))
    assert [(r.ID, r.TTL) for r in call.take(pb.LeaseKeepAliveResponse)] == [(5, 60), (6, 0)]


def test_whoever_lost_the_lead_renews_nothing(service: LeaseService, member: FakeMember) -> None:
    grant(service, 60, 5)
    call = stream(service.keep_alive)
    member.held = []
    call.hear(keep_alive(5))
    call.hear(keep_alive(5))
    member.set_leader(16)
    member.lessor.demote()
    (first, second), member.held = member.held, []
    first()
    second()
    assert call.sent == []
    assert len(member.held) == 2, "the new leader is asked"
    assert member.lessor.renewed == 0
    member.lessor.promote(0.0)  # the fake leader has the same leases
    for work in reversed(member.held):
        work()
    assert [(r.ID, r.TTL) for r in call.take(pb.LeaseKeepAliveResponse)] == [(5, 60), (5, 60)]


def test_a_renewal_that_cannot_even_be_asked_for_ends_its_stream_only(
    service: LeaseService, member: FakeMember
) -> None:
    def refuse(lease: int, done: object) -> None:
        raise error("STOPPED")

    gone, call = stream(service.keep_alive), stream(service.keep_alive)
    member.held = []
    for each in (gone, call):
        each.hear(keep_alive(5))
    member.problem = error("STOPPED")
    member.renew_lease = refuse  # type: ignore[assignment,method-assign]
    for work in member.held:
        work()
    assert gone.status == call.status == (Code.UNAVAILABLE, "etcdserver: server stopped")


def test_requests_are_remembered_within_bounds(service: LeaseService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvstore.services.keep_alive.MAX_KNOWN", 3)
    ids = (1, 2, -1, 1 << 62, 1, 0)
    call = stream(service.keep_alive)
    for id in ids * 2:
        call.hear(keep_alive(id))
    assert [r.ID for r in call.take(pb.LeaseKeepAliveResponse)] == [*ids, *ids]
    assert len(service._renewals._known) <= 3
    # The last id counts, as in every protobuf message; and nothing long is remembered.
    call.hear(keep_alive(7).SerializeToString() * 9 + keep_alive(8).SerializeToString())
    assert call.taken(pb.LeaseKeepAliveResponse).ID == 8
    assert all(len(data) <= 11 for data in service._renewals._known)


def test_half_close_of_an_idle_stream_ends_it(service: LeaseService) -> None:
    call = stream(service.keep_alive)
    call.stream.half_close()
    assert call.status == (Code.OK, "")


def test_a_failed_renewal_ends_the_stream(service: LeaseService, member: FakeMember) -> None:
    call = stream(service.keep_alive)
    member.problem = error("NO_LEADER")
    call.hear(keep_alive(1))
    assert call.status == (Code.UNAVAILABLE, "etcdserver: no leader")


def test_a_late_answer_to_a_closed_stream_is_dropped(service: LeaseService, member: FakeMember) -> None:
    call = stream(service.keep_alive)
    member.held = []
    call.hear(keep_alive(1))
    call.fail(Code.CANCELED, "")
    for work in member.held:
        work()
    assert call.sent == []


def test_renewals_in_waiting_are_bounded(
    service: LeaseService, member: FakeMember, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvstore.services.keep_alive.MAX_RENEWALS", 3)
    call = stream(service.keep_alive)
    member.held = []
    for id in range(4):
        call.hear(keep_alive(id))
    assert len(member.held) == 3
    assert call.status == (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")


def test_a_client_that_does_not_read_is_refused(service: LeaseService) -> None:
    call = stream(service.keep_alive)
    call.buffered = 2 << 20
    call.hear(keep_alive(1))
    assert call.status == (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests")


def test_nonsense_ends_the_stream(service: LeaseService) -> None:
    call = stream(service.keep_alive)
    call.hear(b"\xff")
    assert call.status is not None
    assert call.status[0] == Code.INTERNAL


def test_streams_that_want_a_leader_end_without_one(service: LeaseService, member: FakeMember) -> None:
    strict, patient = stream(service.keep_alive, hasleader="true"), stream(service.keep_alive)
    gone = stream(service.keep_alive, hasleader="true")
    gone.stream.closed()
    member.set_leader(0)
    member.loop.advance(2.9)
    member.set_leader(16)
    member.loop.advance(10)
    assert strict.status is None
    member.set_leader(0)
    member.loop.advance(3.1)
    assert strict.status == (Code.UNAVAILABLE, "etcdserver: no leader")
    assert patient.status is None
    assert gone.status is None
