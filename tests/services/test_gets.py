"""Gathered gets say what any other Range says; what is unusual is left to that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from harness.plan import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st
from service_fakes import FakeCall, FakeMember

from kvstore.errors import EtcdError, error
from kvstore.pb import etcd_pb2 as pb
from kvstore.services.big_range import HELD_BYTES
from kvstore.services.encode import range_response
from kvstore.services.gets import Gets, plain_key
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Method, Methods
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.h2 import frames
from kvstore.wire.http2 import HttpStream
from kvstore.wire.limits import Limits

requests = st.builds(
    pb.RangeRequest,
    key=st.binary(max_size=200),
    range_end=st.sampled_from([b"", b"", b"\0"]),
    limit=st.sampled_from([0, 0, 1]),
    serializable=st.booleans(),
)


@settings(max_examples=examples(300), deadline=None)
@given(requests)
@example(pb.RangeRequest(key=b"k" * 127))
@example(pb.RangeRequest(key=b"k" * 128))
def test_exactly_the_short_keys_alone_are_plain(request: pb.RangeRequest) -> None:
    plain = request == pb.RangeRequest(key=request.key) and 0 < len(request.key) < 128
    assert plain_key(request.SerializeToString()) == (request.key if plain else None)


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=8) | st.builds(lambda key: b"\x0a" + bytes([len(key)]) + key, st.binary(max_size=140)))
def test_what_is_plain_is_what_protobuf_reads(message: bytes) -> None:
    key = plain_key(message)
    if key is not None:
        assert pb.RangeRequest.FromString(message) == pb.RangeRequest(key=key)


class Site:
    """Gets of a fake member; what is left to the general way is noted."""

    def __init__(self) -> None:
        self.member = FakeMember()
        self.left: list[tuple[Any, bytes, EtcdError | None]] = []
        self.gets = Gets(
            self.member,  # type: ignore[arg-type]
            lambda call, request, problem: self.left.append((call, request.key, problem)),
        )

    def ask(self, key: bytes) -> FakeCall:
        call = FakeCall()
        assert self.gets.take(call, key)  # type: ignore[arg-type]
        return call


@pytest.fixture
def site() -> Site:
    return Site()


def test_answers_are_those_of_a_range(site: Site) -> None:
    site.member.put(b"a", b"v" * 300)
    site.member.put(b"b", b"")
    site.member.put(b"a", b"w" * 300, lease=0)
    for key in (b"a", b"b", b"none"):
        call = site.ask(key)
        result = site.member.store.range(pb.RangeRequest(key=key))
        assert call.sent == [range_response(site.member.header_field(3 + 1), result)]
        assert call.status == (0, "")
    assert site.left == []


def test_the_state_at_the_end_of_the_round_is_answered(site: Site) -> None:
    site.member.put(b"a", b"old")
    site.member.held = []
    call = site.ask(b"a")
    site.member.put(b"a", b"new")
    (serve,) = site.member.held
    serve()
    assert call.taken(pb.RangeResponse).kvs[0].value == b"new"


def test_nobody_is_gathered_who_may_be_refused(site: Site) -> None:
    site.member.set_leader(0)
    assert not site.gets.take(FakeCall(), b"a")  # type: ignore[arg-type]
    site.member.set_leader(15)
    site.member.is_learner = True
    assert not site.gets.take(FakeCall(), b"a")  # type: ignore[arg-type]


@pytest.mark.parametrize("unusual", ["auth", "problem", "client"])
def test_what_is_unusual_goes_the_way_of_every_range(site: Site, unusual: str) -> None:
    site.member.held = []
    site.member.put(b"a")
    call = site.ask(b"a")
    if unusual == "auth":
        site.member.auth = type("On", (), {"enabled": True})()
    elif unusual == "problem":
        site.member.problem = error("TIMEOUT")
    else:
        call.buffered_on_connection = HELD_BYTES + 1
    (serve,) = site.member.held
    serve()
    assert call.sent == []
    assert site.left == [(call, b"a", site.member.problem)]


def test_a_call_that_is_over_is_passed_by(site: Site) -> None:
    site.member.held = []
    call = site.ask(b"a")
    call.fail(4, "context deadline exceeded")
    (serve,) = site.member.held
    serve()
    assert call.sent == []


def test_a_get_of_the_gateway_does_not_undo_what_others_took_of_the_window(site: Site) -> None:
    """It writes on the same connection while the answers before and behind it are gathered for one write."""
    connection = ServerConnection(Limits(), lambda: None, 0.0, methods=Methods(), deadlines=Deadlines())
    connection.receive(frames.PREFACE + frames.frame(frames.FrameType.SETTINGS, 0, 0, b""), 0.0)
    connection.take_output()
    site.member.put(b"a", b"v" * 64)
    method = Method("/etcdserverpb.KV/Range", lambda *_: None, None)

    class Json(FakeCall):
        """Writes what it is told to on the connection."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.http = HttpStream(connection, number, head)

        def reply(self, message: bytes) -> None:
            self.http.body(message)

    head: Any = SimpleNamespace(method=method, fields=[])
    gets: list[Any] = []
    for number in (1, 3, 5, 7, 9):
        call: Any = Json(number)
        if number not in (3, 5):
            call = Call(connection, number, head, None)
            call.whole = call.remote_closed = True
            connection.streams[number] = call
        gets.append((call, b"a"))
    before = connection.send_window
    site.gets._serve(gets, None)
    written, sent = b"".join(connection.take_output()), []
    while written:
        word, _, number = frames.HEAD.unpack_from(written)
        sent += [(number, word >> 8)] if not word & 0xFF else []
        written = written[frames.HEAD_SIZE + (word >> 8) :]
    assert sorted(number for number, _ in sent) == [1, 3, 5, 7, 9]
    assert before - connection.send_window == sum(size for _, size in sent)
