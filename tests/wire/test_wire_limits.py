"""Each limit: ordinary use stays below it, and what goes over it ends the connection (or the stream) at once."""

from __future__ import annotations

import struct

import pytest
from wire_peer import ECHO, LATER, RawPeer, data, message, request_fields

from kvstore.wire.grpc.status import literal
from kvstore.wire.h2 import frames
from kvstore.wire.h2.budget import Budget
from kvstore.wire.h2.errors import ErrorCode as E
from kvstore.wire.h2.frames import FrameType as F
from kvstore.wire.limits import Limits, Rate

FEW = Rate(5, 1)


def limits(**changes) -> Limits:
    return Limits(**{"keepalive_interval": 0, **changes})


def reset_flood(peer: RawPeer, number: int) -> bytes:
    stream = 2 * number + 1
    return peer.headers(stream, request_fields(ECHO)) + frames.rst_stream(stream, E.CANCEL)


def empty_data_flood(peer: RawPeer, number: int) -> bytes:
    return (peer.headers(1, request_fields(ECHO)) if number == 0 else b"") + data(1, b"")


def stream_error_flood(peer: RawPeer, number: int) -> bytes:
    return peer.headers(2 * number + 1, [(":method", "GET")], end=True)


FLOODS = {
    "resets": reset_flood,
    "settings": lambda peer, number: frames.frame(F.SETTINGS, 0, 0, b""),
    "pings": lambda peer, number: frames.ping(b"12345678"),
    "priorities": lambda peer, number: frames.frame(F.PRIORITY, 0, 1, bytes(4) + b"\x10"),
    "empty_data": empty_data_flood,
    "stream_errors": stream_error_flood,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_flood(kind):
    peer = RawPeer(limits(**{kind: FEW}))
    answers = []
    for number in range(20):
        answers += peer.send(FLOODS[kind](peer, number))
        if peer.connection.failed:
            break
    assert peer.goaway(answers) == E.ENHANCE_YOUR_CALM
    # The greeting took two of the settings' tokens.
    assert number == (3 if kind == "settings" else 5)


@pytest.mark.parametrize("kind", FLOODS)
def test_the_same_at_an_ordinary_pace(kind):
    peer = RawPeer(limits(**{kind: FEW}))
    peer.now += 10
    for number in range(50):
        peer.now += 1
        assert peer.goaway(peer.send(FLOODS[kind](peer, number))) is None


def test_budget_refills_to_its_burst_and_no_further():
    budget = Budget(Rate(3, 2))
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(1.0) for _ in range(3)] == [True, True, False]
    assert [budget.spend(1_000.0) for _ in range(4)] == [True, True, True, False]
    # A clock that stands still or steps back refills nothing.
    assert not budget.spend(999.0)


def test_concurrent_streams():
    peer = RawPeer(limits(max_concurrent_streams=2))
    for number in (1, 3):
        peer.call(number, path=LATER)
    for number, path in ((5, LATER), (7, ECHO)):
        assert peer.resets(peer.call(number, path=path))[number] == E.REFUSED_STREAM
    peer.calls[0].reply(b"")
    peer.take()
    peer.call(9, path=LATER)
    assert len(peer.calls) == 3


def test_header_block_in_octets():
    peer = RawPeer(limits(max_header_block=1_000))
    block = literal(b"x", b"y" * 600)
    first = frames.frame(F.HEADERS, 0, 1, block)
    assert peer.goaway(peer.send(first)) is None
    assert peer.goaway(peer.send(frames.frame(F.CONTINUATION, 0, 1, block))) == E.ENHANCE_YOUR_CALM


def test_continuation_flood():
    peer = RawPeer(limits(max_continuations=3))
    peer.send(frames.frame(F.HEADERS, 0, 1, b""))
    answers = [peer.goaway(peer.send(frames.frame(F.CONTINUATION, 0, 1, b""))) for _ in range(4)]
    assert answers == [None, None, None, E.ENHANCE_YOUR_CALM]


def test_header_list_when_decoded():
    peer = RawPeer(limits(max_header_list=1_000), table=4096)
    answer = peer.send(peer.headers(1, request_fields(x="y" * 1_000)))
    assert peer.goaway(answer) == E.ENHANCE_YOUR_CALM


def test_header_bomb():
    """One octet names a field of the table that is 4,000 octets long: a small block with a very long list."""
    peer = RawPeer(greet=False)
    peer.send(frames.PREFACE + frames.frame(F.SETTINGS, 0, 0, b""))
    bomb = peer.block([("x", "y" * 4_000)])
    peer.send(frames.frame(F.HEADERS, 5, 1, bomb))
    assert peer.goaway(peer.send(frames.frame(F.HEADERS, 5, 3, b"\xbe" * 10_000))) == E.ENHANCE_YOUR_CALM


def test_unfinished_messages_together():
    peer = RawPeer(limits(max_partial=100_000), max_message=90_000)
    part = struct.pack(">BI", 0, 80_000) + b"x" * 16_000
    answers = []
    for number in range(1, 16, 2):
        answers += peer.send(peer.headers(number, request_fields(ECHO)) + data(number, part))
    refused = [f for f in answers if f.kind == F.HEADERS]
    assert refused
    assert peer.status(refused[-1:], refused[-1].stream_id)[0] == 8
    assert peer.connection.partial <= 100_000
    assert peer.connection.failed is None
    for stream in list(peer.connection.streams.values()):
        peer.send(frames.rst_stream(stream.stream_id, E.CANCEL))
    assert peer.connection.partial == 0


def test_handshake_timeout():
    peer = RawPeer(limits(handshake_timeout=10), greet=False)
    peer.send(frames.PREFACE)
    peer.now += 9
    peer.send(b"\0")
    peer.connection.tick(peer.now)
    assert peer.goaway(peer.take()) is None
    # An octet now and then does not buy more time.
    peer.connection.tick(peer.now + 2)
    assert peer.goaway(peer.take()) == E.SETTINGS_TIMEOUT


def test_keepalive():
    peer = RawPeer(Limits(keepalive_interval=30, keepalive_timeout=5))
    peer.connection.tick(130.5)
    (ping,) = peer.take()
    assert ping.kind == F.PING
    assert not ping.flags
    peer.now = 131
    peer.send(frames.ping(ping.payload, ack=True))
    peer.connection.tick(140)
    assert peer.take() == []
    peer.connection.tick(161.5)
    assert [f.kind for f in peer.take()] == [F.PING]
    peer.connection.tick(166)
    assert peer.take() == []
    peer.connection.tick(167)
    assert peer.goaway(peer.take()) == E.NO_ERROR
    assert peer.connection.failed is not None


def test_idle_timeout():
    peer = RawPeer(limits(idle_timeout=60))
    peer.call(1, path=LATER)
    peer.connection.tick(1_000)
    assert peer.connection.failed is None
    peer.now = 1_000
    peer.calls[0].reply(b"")
    peer.take()
    peer.send(frames.ping(b"12345678"))
    peer.connection.tick(1_059)
    assert peer.connection.failed is None
    peer.connection.tick(1_061)
    assert peer.goaway(peer.take()) == E.NO_ERROR


def stalled(peer: RawPeer, how: str) -> None:
    peer.call(1, path=LATER)
    if how == "transport":
        # Everything was given to the transport, which is full.
        peer.connection.hold()
    elif how == "transport and queue":
        peer.connection.hold()
        peer.calls[0].send(b"x" * 10)
    else:
        peer.calls[0].send(b"x" * 100_000)
        if how == "finished":
            peer.calls[0].finish()
    peer.take()


@pytest.mark.parametrize(
    ("how", "ends"), [("transport", True), ("transport and queue", True), ("finished", True), ("watcher", False)]
)
def test_stall_timeout(how, ends):
    """A watcher may look away for ever; what is finished, or stuck in the transport, may not wait for ever."""
    peer = RawPeer(limits(stall_timeout=10))
    stalled(peer, how)
    peer.connection.tick(peer.now + 9)
    assert peer.connection.take_output() == []
    peer.connection.tick(peer.now + 11)
    assert (peer.goaway(peer.take()) is not None) == ends


def test_slow_progress_is_no_stall():
    peer = RawPeer(limits(stall_timeout=10))
    stalled(peer, "finished")
    for _ in range(30):
        peer.now += 9
        peer.send(frames.window_update(0, 100) + frames.window_update(1, 100))
        peer.connection.tick(peer.now)
    assert peer.connection.failed is None


def test_message_limit():
    peer = RawPeer(max_message=100)
    assert peer.status(peer.call(1, b"x" * 100)) == (0, "")
    answer = peer.call(3, b"x" * 101)
    assert peer.status(answer, 3) == (8, "grpc: received message larger than max (101 vs. 100)")
    # Refused by its prefix, before the octets come.
    answer = peer.send(peer.headers(5) + data(5, struct.pack(">BI", 0, 2**32 - 1)))
    assert peer.status(answer, 5)[0] == 8
    assert peer.resets(answer) == {5: E.NO_ERROR}
    assert peer.send(data(5, b"x" * 1_000)) == []
    assert message(b"") == bytes(5)
