"""Flow control both ways, frame sizes, and peers that read slowly."""

from __future__ import annotations

import random
import struct

import pytest
from wire_peer import ECHO, LATER, PUT, QUIET, RawPeer, data, message, request_fields, settings

from kvstore.wire.h2 import frames
from kvstore.wire.h2.errors import ErrorCode as E
from kvstore.wire.h2.frames import FrameType as F
from kvstore.wire.limits import Limits


def sent(answer, stream_id=1) -> int:
    return sum(len(f.payload) for f in answer if f.kind == F.DATA and f.stream_id == stream_id)


def waiting_call(peer: RawPeer, stream_id: int = 1):
    peer.call(stream_id, path=LATER)
    return peer.calls[-1]


def test_a_reply_waits_for_the_stream_window():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=10))
    call = waiting_call(peer)
    call.reply(b"x" * 100)
    first = peer.take()
    assert [f.kind for f in first] == [F.HEADERS, F.DATA]
    assert sent(first) == 10
    assert call.buffered == 95
    second = peer.send(frames.window_update(1, 90))
    assert sent(second) == 90
    assert call.buffered == 5
    last = peer.send(frames.window_update(1, 90))
    assert peer.bodies(first + second + last) == message(b"x" * 100)
    assert last[-1].kind == F.HEADERS
    assert last[-1].flags & frames.END_STREAM
    assert not peer.connection.streams


def test_a_reply_waits_for_the_connection_window():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=1_000_000))
    call = waiting_call(peer)
    call.reply(b"x" * 100_000)
    assert sent(peer.take()) == 65_535
    assert call.buffered == 100_005 - 65_535
    assert sent(peer.send(frames.window_update(1, 50_000))) == 0
    assert sent(peer.send(frames.window_update(0, 50_000))) == 100_005 - 65_535
    assert peer.connection.unsent == 0


def test_settings_change_the_window_of_open_streams_even_below_zero():
    peer = RawPeer()
    call = waiting_call(peer)
    call.send(b"x" * 995)
    assert sent(peer.take()) == 1_000
    peer.send(settings(INITIAL_WINDOW_SIZE=400))
    assert call.send_window == -600
    call.send(b"y" * 95)
    assert sent(peer.take()) == 0
    assert sent(peer.send(frames.window_update(1, 600))) == 0
    assert sent(peer.send(frames.window_update(1, 1))) == 1
    assert sent(peer.send(settings(INITIAL_WINDOW_SIZE=65_535))) == 99


@pytest.mark.parametrize("largest", [16_384, 20_000, 1_000_000])
def test_large_answers_are_cut_to_the_peers_frame_size(largest):
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=2**30, MAX_FRAME_SIZE=largest) + frames.window_update(0, 2**30))
    call = waiting_call(peer)
    body = random.Random(1).randbytes(3_000_000)
    call.reply_parts([body[:1_000_000], body[1_000_000:1_000_001], body[1_000_001:]])
    answer = peer.take()
    # One turn hands out a bounded piece; the rest follows.
    while peer.connection.has_more:
        assert sent(answer) < len(body)
        peer.connection.pump()
        answer += peer.take()
    assert peer.bodies(answer) == message(body)
    assert max(len(f.payload) for f in answer) <= largest
    assert peer.status(answer) == (0, "")


def test_streams_share_the_connection_window():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=2**30))
    peer.connection.send_window = 0
    calls = [waiting_call(peer, number) for number in (1, 3, 5)]
    for call in calls:
        call.reply(b"x" * 100_000)
    got = {1: 0, 3: 0, 5: 0}
    for _ in range(6):
        for frame in peer.send(frames.window_update(0, 16_384)):
            if frame.kind == F.DATA:
                got[frame.stream_id] += len(frame.payload)
    assert set(got.values()) == {2 * 16_384}


def test_one_shut_stream_does_not_stop_the_others():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=100))
    stuck = waiting_call(peer, 1)
    stuck.reply(b"x" * 1_000)
    peer.take()
    assert peer.status(peer.call(3), 3) == (0, "")
    assert stuck.buffered > 0


def test_on_drain_is_called_when_the_queue_is_empty():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=10))
    call = waiting_call(peer)
    drained = []
    call.on_drain = lambda: drained.append(call.buffered)
    call.send(b"x" * 20)
    peer.take()
    assert drained == []
    peer.send(frames.window_update(1, 100))
    assert drained == [0]


def test_on_drain_may_send_more():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=10))
    call = waiting_call(peer)
    left = [5]

    def more() -> None:
        while left[0] and not call.buffered:
            left[0] -= 1
            call.send(b"y" * 20)
        if not left[0]:
            call.finish()

    call.on_drain = more
    call.send(b"y" * 20)
    answer = peer.take()
    for _ in range(8):
        answer += peer.send(frames.window_update(1, 30))
    assert peer.bodies(answer) == message(b"y" * 20) * 6
    assert peer.status(answer) == (0, "")


def test_reset_while_queued_gives_everything_back():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=10))
    call = waiting_call(peer)
    call.reply(b"x" * 1_000)
    assert peer.connection.unsent == 995
    peer.send(frames.rst_stream(1, E.CANCEL))
    assert peer.connection.unsent == 0
    assert not peer.connection.ready
    assert sent(peer.send(frames.window_update(0, 1_000))) == 0


def test_a_held_transport_holds_data_but_not_control_frames():
    peer = RawPeer()
    call = waiting_call(peer)
    peer.connection.hold()
    call.reply(b"x" * 10)
    answer = peer.take() + peer.send(frames.ping(b"12345678"))
    assert [f.kind for f in answer] == [F.HEADERS, F.PING]
    peer.connection.release()
    answer += peer.take()
    assert peer.bodies(answer) == message(b"x" * 10)
    assert peer.status(answer) == (0, "")


def test_peer_that_reads_nothing_is_cut_off():
    peer = RawPeer(Limits(max_unsent=100_000, keepalive_interval=0))
    peer.send(settings(INITIAL_WINDOW_SIZE=0))
    for number in (1, 3, 5):
        waiting_call(peer, number).reply(b"x" * 60_000)
    waiting = waiting_call(peer, 7)
    assert peer.goaway(peer.take()) is None
    peer.connection.tick(peer.now + 6)
    answer = peer.take()
    assert peer.goaway(answer) == E.ENHANCE_YOUR_CALM
    assert waiting.closed
    assert peer.connection.unsent == 0


def test_one_answer_may_be_larger_than_the_limit():
    peer = RawPeer(Limits(max_unsent=1_000, keepalive_interval=0))
    call = waiting_call(peer)
    call.reply(b"x" * 500_000)
    assert peer.goaway(peer.take()) is None


def test_receive_windows_are_given_back_in_large_pieces():
    limits = Limits(stream_window=100_000, connection_window=200_000, keepalive_interval=0)
    peer = RawPeer(limits, max_message=10**9)
    peer.send(peer.headers(1, request_fields(ECHO)))
    stream_credit = connection_credit = 0
    total = 0
    chunk = message(b"x" * 9_995)
    for _ in range(100):
        for frame in peer.send(data(1, chunk)):
            if frame.kind == F.WINDOW_UPDATE:
                (credit,) = struct.unpack(">I", frame.payload)
                assert credit >= 50_000
                if frame.stream_id:
                    stream_credit += credit
                else:
                    connection_credit += credit
        total += len(chunk)
        # Always enough left for the next one.
        assert total - stream_credit <= 100_000 - len(chunk)
        assert total - connection_credit <= 200_000 - len(chunk)


def test_more_than_the_stream_window_breaks_the_stream():
    peer = RawPeer(Limits(stream_window=70_000, keepalive_interval=0))
    peer.send(peer.headers(1, request_fields(ECHO)))
    frame = data(1, struct.pack(">BI", 0, 10**6) + b"x" * 16_000)
    # Nothing may be given back while what was sent is below half of the window.
    peer.connection.streams[1]._received = 69_000
    assert peer.resets(peer.send(frame)) == {1: E.FLOW_CONTROL_ERROR}
    assert peer.connection.failed is None


def test_more_than_the_connection_window_breaks_the_connection():
    peer = RawPeer(QUIET)
    peer.send(peer.headers(1, request_fields(ECHO)))
    peer.connection.recv_left = 10
    peer.connection._recv_low = 0
    assert peer.goaway(peer.send(data(1, b"x" * 11))) == E.FLOW_CONTROL_ERROR


def test_padding_counts_for_flow_control():
    peer = RawPeer()
    peer.send(peer.headers(1, request_fields(ECHO)))
    before = peer.connection.recv_left
    peer.send(frames.frame(F.DATA, frames.PADDED, 1, b"\x64" + message(b"") + bytes(100)))
    assert before - peer.connection.recv_left == 106


def test_wake_is_called_once_for_many_answers():
    peer = RawPeer()
    calls = [waiting_call(peer, number) for number in range(1, 41, 2)]
    before = peer.wakes
    for call in calls:
        call.reply(b"x")
    assert peer.wakes == before + 1
    assert len(peer.take()) == 3 * len(calls)
    # Answers within receive() need no wake: whoever calls it takes the output.
    peer.send(peer.headers(41) + data(41, message(b""), end=True))
    assert peer.wakes == before + 1


@pytest.mark.parametrize("seed", range(20))
def test_any_windows_deliver_everything_in_order(seed):
    """Random windows, frame sizes, updates and interleavings: each stream's octets arrive whole and in order."""
    chance = random.Random(seed)
    peer = RawPeer()
    window = chance.choice([0, 1, 7, 1_000, 65_535])
    peer.send(settings(INITIAL_WINDOW_SIZE=window))
    bodies = {
        number: [chance.randbytes(chance.choice([0, 1, 5, 3_000, 40_000])) for _ in range(4)] for number in (1, 3, 5)
    }
    calls = {number: waiting_call(peer, number) for number in bodies}
    left = {number: list(parts) for number, parts in bodies.items()}
    answer = []
    used = {0: 0, 1: 0, 3: 0, 5: 0}
    for _ in range(20_000):
        number = chance.choice([1, 3, 5])
        if left[number] and chance.random() < 0.3:
            calls[number].send(left[number].pop(0))
            if not left[number]:
                calls[number].finish()
        granted = chance.choice([1, 100, 30_000])
        which = chance.choice([0, number])
        if peer.connection.send_window + granted < 2**31 - 1:
            answer += (
                peer.send(frames.window_update(which, granted))
                if which == 0 or number in peer.connection.streams
                else []
            )
        if chance.random() < 0.1:
            peer.connection.hold() if chance.random() < 0.5 else peer.connection.release()
        answer += peer.take()
        if not peer.connection.streams:
            break
    else:
        peer.connection.release()
    assert not peer.connection.streams, f"seed {seed}: {used}"
    for number, parts in bodies.items():
        assert peer.bodies(answer, number) == b"".join(map(message, parts)), f"seed {seed}"
    assert peer.connection.unsent == 0


def test_table_size_zero_is_acknowledged_in_the_first_block():
    """A client without a table must see that we use none (RFC 7541 section 4.2), whatever the answer."""
    for path, body in ((PUT, b"x"), ("/nowhere/None", b"x"), (ECHO, b"x")):
        peer = RawPeer()
        peer.send(settings(HEADER_TABLE_SIZE=0))
        peer.decoder.max_allowed_table_size = 0
        answer = peer.call(1, body, path=path) + peer.call(3, body, path=path)
        for frame in answer:
            if frame.kind == F.HEADERS:
                peer.fields(frame)
        assert sum(f.kind == F.HEADERS and f.payload[0] == 0x20 for f in answer) == 1


def test_on_drain_that_raises_ends_its_call_only():
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=10))
    call = waiting_call(peer)
    call.on_drain = lambda: 1 / 0
    call.send(b"x" * 20)
    peer.take()
    assert peer.status(peer.send(frames.window_update(1, 100))) == (2, "ZeroDivisionError: division by zero")
    assert peer.status(peer.call(3, b""), 3) == (0, "")


def test_a_paused_stream_gets_no_more_window():
    limits = Limits(stream_window=100_000, connection_window=10**7, keepalive_interval=0)
    peer = RawPeer(limits, max_message=10**9)
    peer.send(peer.headers(1, request_fields(ECHO)))
    call = peer.log[0][1]
    call.pause()
    chunk = data(1, message(b"x" * 9_995))
    given = [f for _ in range(10) for f in peer.send(chunk) if f.kind == F.WINDOW_UPDATE]
    assert given == []
    # What is on its way is still heard.
    assert len(peer.log) == 11
    call.resume()
    (credit,) = peer.take()
    assert (credit.kind, credit.payload) == (F.WINDOW_UPDATE, struct.pack(">I", 100_000))
    call.fail(1, "enough")
    peer.take()
    call.resume()
    assert peer.take() == []
