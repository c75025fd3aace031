"""Much that is unsent: no fault of a peer that reads, the end of one that does not."""

from __future__ import annotations

import pytest
from wire_peer import ECHO, LATER, RawPeer, message, request_fields, settings, split

from kvstore.wire.grpc.client_connection import ClientConnection
from kvstore.wire.h2 import frames
from kvstore.wire.h2.errors import ErrorCode as E
from kvstore.wire.h2.frames import FrameType as F
from kvstore.wire.limits import Limits

LIMITS = Limits(max_unsent=100_000, keepalive_interval=0)
CALLS = range(1, 21, 2)


def crowded() -> RawPeer:
    """Ten answers of 50 kB wait for a peer that has opened no window yet."""
    peer = RawPeer(LIMITS)
    peer.send(settings(INITIAL_WINDOW_SIZE=0))
    for number in CALLS:
        peer.call(number, path=LATER)
    for call in peer.calls:
        call.reply(b"x" * 50_000)
    assert peer.connection.unsent > 4 * LIMITS.max_unsent
    return peer


def test_what_is_queued_at_once_says_nothing_about_the_peer():
    peer = crowded()
    answer = peer.take() + peer.send(settings(INITIAL_WINDOW_SIZE=2**20) + frames.window_update(0, 2**20))
    peer.connection.tick(peer.now + 1)
    while peer.connection.has_more:
        peer.connection.pump()
    answer += peer.take()
    assert peer.goaway(answer) is None
    for number in CALLS:
        assert peer.bodies(answer, number) == message(b"x" * 50_000)


def test_a_peer_that_takes_nothing_of_too_much_is_cut_off_soon():
    peer = crowded()
    peer.connection.tick(peer.now + 4)
    assert peer.goaway(peer.take()) is None
    peer.connection.tick(peer.now + 6)
    assert peer.goaway(peer.take()) == E.ENHANCE_YOUR_CALM


def test_a_peer_that_takes_little_at_a_time_is_served():
    peer = crowded()
    for _ in range(10):
        peer.now += 4
        peer.send(frames.window_update(1, 100))
        peer.connection.tick(peer.now)
    assert peer.connection.failed is None


def test_streams_that_nobody_looks_at_are_no_reason():
    """What waits on them is bounded by whoever fills them."""
    peer = RawPeer(LIMITS)
    peer.send(settings(INITIAL_WINDOW_SIZE=0))
    for number in CALLS:
        peer.send(peer.headers(number, request_fields(ECHO)))
    for _, call in peer.log:
        call.send(b"x" * 50_000)
    assert peer.connection.unsent > LIMITS.max_unsent
    for _ in range(100):
        peer.now += 1
        peer.connection.tick(peer.now)
        assert peer.goaway(peer.take()) is None


def test_what_nobody_looked_at_for_long_leaves_the_others_their_time():
    peer = RawPeer(LIMITS)
    peer.send(settings(INITIAL_WINDOW_SIZE=0))
    peer.send(peer.headers(1, request_fields(ECHO)))
    peer.log[0][1].send(b"x")
    peer.now += 3600
    for number in (3, 5):
        peer.call(number, path=LATER)
        peer.calls[-1].reply(b"x" * 60_000)
    peer.connection.tick(peer.now + 4)
    assert peer.goaway(peer.take()) is None
    peer.connection.tick(peer.now + 6)
    assert peer.goaway(peer.take()) == E.ENHANCE_YOUR_CALM


class Listener:
    """Notes how its call ended."""

    def __init__(self) -> None:
        self.end: tuple[int, str] | None = None

    def message(self, data: bytes) -> None:
        raise AssertionError("no answer was sent")

    def finished(self, code: int, message: str) -> None:
        self.end = (code, message)


@pytest.mark.parametrize("seconds", [0, 30])
def test_a_client_does_not_end_its_own_connection(seconds):
    """What it has to say is its caller's memory; a server that is slow may be so up to stall_timeout."""
    client = ClientConnection(LIMITS, lambda: None, 0.0, authority="x:1")
    client.receive(settings() + frames.frame(4, frames.ACK, 0, b""), 0.0)
    listener = Listener()
    for _ in range(10):
        call = client.open(LATER, (), listener, None)
        call.send(b"x" * 50_000)
        call.half_close()
    client.take_output()
    client.tick(float(seconds))
    client.take_output()
    assert client.unsent > LIMITS.max_unsent
    assert (client.failed, listener.end) == (None, None)


def test_a_client_does_not_begin_all_of_many_long_messages_at_once():
    """The server would hold a part of each, and has a limit for that."""
    client = ClientConnection(Limits(), lambda: None, 0.0, authority="x:1")
    client.receive(settings(INITIAL_WINDOW_SIZE=2**22) + frames.frame(4, frames.ACK, 0, b""), 0.0)
    client.take_output()
    for _ in range(100):
        call = client.open(LATER, (), Listener(), None)
        call.send(b"x" * 200_000)
        call.half_close()
    unfinished: set[int] = set()
    most = 0
    while client.unsent:
        client.receive(frames.window_update(0, 50_000), 0.0)
        for frame in split(b"".join(client.take_output())):
            if frame.kind == F.DATA:
                (unfinished.discard if frame.flags & frames.END_STREAM else unfinished.add)(frame.stream_id)
        most = max(most, len(unfinished))
    assert not unfinished
    assert 1 < most <= client.abreast + 1
