"""The small parts by themselves: messages, metadata, timeouts, percent-encoding, deadlines, frames."""

from __future__ import annotations

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_peer import message

from kvstore.errors import EtcdError
from kvstore.wire.grpc import metadata, status
from kvstore.wire.grpc.deadlines import GRAIN, Deadlines
from kvstore.wire.grpc.messages import MessageReader
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 2**32))
def test_messages_in_any_cut(bodies, seed):
    chance = random.Random(seed)
    reader = MessageReader(100)
    wire, found, at = b"".join(map(message, bodies)), [], 0
    while at < len(wire):
        size = chance.choice([1, 4, 5, 6, 50])
        found += reader.feed(wire[at : at + size])
        at += size
    assert found == bodies
    assert reader.held == 0


def test_what_is_held_of_a_message():
    reader = MessageReader(100)
    assert reader.feed(message(b"abc")[:6]) == []
    assert reader.held == 6
    assert reader.feed(message(b"abc")[6:] + b"\0\0") == [b"abc"]
    assert reader.held == 2


@pytest.mark.parametrize(
    ("prefix", "code", "text"),
    [
        (struct.pack(">BI", 0, 101), 8, "grpc: received message larger than max (101 vs. 100)"),
        (struct.pack(">BI", 1, 1), 12, "grpc: compressed messages are not supported, use identity"),
        (struct.pack(">BI", 7, 1), 13, "grpc: received unexpected payload format 7"),
    ],
)
def test_refused_messages(prefix, code, text):
    with pytest.raises(EtcdError) as caught:
        MessageReader(100).feed(prefix)
    assert (caught.value.code, caught.value.message) == (code, text)


@pytest.mark.parametrize(
    ("wire", "seconds"),
    [
        (b"1H", 3600),
        (b"2M", 120),
        (b"3S", 3),
        (b"4m", 0.004),
        (b"5u", 5e-6),
        (b"6n", 6e-9),
        (b"99999999S", 99_999_999),
        (b"0S", 0),
    ],
)
def test_timeouts(wire, seconds):
    assert metadata.parse_timeout(wire) == pytest.approx(seconds)


@given(st.floats(1e-9, 3e11, allow_nan=False))
def test_timeouts_there_and_back(seconds):
    wire = metadata.format_timeout(seconds)
    assert metadata.parse_timeout(wire) == pytest.approx(seconds, rel=1e-2)


def test_timeout_bounds():
    assert metadata.format_timeout(0) == b"1n"
    assert metadata.format_timeout(-5) == b"1n"
    assert metadata.format_timeout(1e30) == b"99999999H"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_grpc_message_there_and_back(text):
    wire = status.encode_message(text)
    assert all(0x20 <= octet <= 0x7E for octet in wire)
    assert status.decode_message(wire) == text


@pytest.mark.parametrize("wire", [b"%", b"%4", b"%zz", b"50%"])
def test_broken_escapes_stay(wire):
    assert status.decode_message(wire) == wire.decode()


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "token", "x-y"]), st.text("abc !~", max_size=5).map(str.strip)), max_size=4
    )
)
def test_metadata_there_and_back(pairs):
    fields = metadata.encode(pairs)
    assert metadata.decode(fields) == dict(pairs)


@given(st.binary(max_size=30))
def test_binary_metadata_there_and_back(value):
    fields = metadata.encode([("x-bin", value)])
    assert b"=" not in fields[0][1]
    assert metadata.decode_binary(fields) == {"x-bin": value}
    padded = [(name, raw + b"=" * (-len(raw) % 4)) for name, raw in fields]
    assert metadata.decode_binary(padded) == {"x-bin": value}


@pytest.mark.parametrize("pair", [("x", b"bytes"), ("x", "line\nfeed"), ("x", "ünïcode"), ("naïve", "x")])
def test_metadata_that_cannot_be_sent(pair):
    with pytest.raises(ValueError):
        metadata.encode([pair])


class Call:
    deadline_bucket = None
    closed = False

    def __init__(self, timeout=None):
        self.timeout = timeout

    def end(self):
        self.closed = True
        if self.deadline_bucket is not None:
            self.deadline_bucket.pop(self)


@given(st.lists(st.floats(0, 5), max_size=30), st.lists(st.floats(0, 0.5), max_size=40))
def test_deadlines_expire_once_and_never_early(ends, steps):
    deadlines, now = Deadlines(), 1_000.0
    due = {}
    for end in ends:
        call = Call()
        due[call] = now + end
        deadlines.add(call, now + end)
    for step in steps:
        now += step
        for call in deadlines.expired(now):
            assert due.pop(call) <= now
        assert all(end > now - 2 * GRAIN for end in due.values())
    assert len(deadlines) == len(due)


def test_a_removed_call_does_not_expire():
    deadlines, call = Deadlines(), Call()
    deadlines.add(call, 5.0)
    call.deadline_bucket.pop(call)
    assert deadlines.expired(100.0) == []


def test_a_deadline_in_the_past_expires_next():
    deadlines, call = Deadlines(), Call()
    deadlines.expired(100.0)
    deadlines.add(call, 3.0)
    assert deadlines.expired(100.0 + 2 * GRAIN) == [call]


@given(st.lists(st.tuples(st.floats(0, 0.3) | st.just(0), st.floats(0, 3), st.booleans(), st.booleans()), max_size=40))
def test_a_timer_that_is_set_as_told_finds_every_deadline(calls):
    """Who only looks when it was told to misses none, and is not told of calls that have ended."""
    timer = []
    deadlines, now = Deadlines(lambda at: timer.__setitem__(slice(None), [at])), 1_000.0
    due = {}

    def look_until(end):
        while timer and timer[0] <= end:
            (at,) = timer
            timer.clear()
            for call in deadlines.expired(at + GRAIN / 100):
                assert due.pop(call) <= at + GRAIN / 100
            if (then := deadlines.next_at()) is not None:
                timer[:] = [then]

    for pause, length, ends_early, at_once in calls:
        now += pause
        look_until(now)
        call = Call(length)
        if at_once:
            deadlines.add(call, now + length)
        else:
            deadlines.watch([call], now)
        if ends_early:
            call.end()
        else:
            due[call] = now + length
        assert all(end > now - 2 * GRAIN for end in due.values())
    look_until(now + 4)
    assert not due
    assert not timer


def test_calls_that_end_at_once_leave_nothing():
    """Most do: they are looked at once, a grain later, and then there is nothing to wake for."""
    told = []
    deadlines = Deadlines(told.append)
    calls = [Call(5.0) for _ in range(3)]
    deadlines.watch(calls[:2], 100.0)
    deadlines.watch(calls[2:], 100.001)
    assert len(deadlines) == 3
    for call in calls:
        call.end()
    assert len(deadlines) == 0
    assert told == [pytest.approx(100.0 + GRAIN)]
    assert deadlines.expired(100.0 + GRAIN) == []
    assert deadlines.next_at() is None


def test_an_idle_server_is_not_told_to_look():
    told = []
    deadlines, call = Deadlines(told.append), Call()
    for at in (5.0, 7.0, 5.0):
        deadlines.add(call, at)
        call.deadline_bucket.pop(call)
    assert told == [pytest.approx(5.0, abs=2 * GRAIN)]
    assert deadlines.next_at() is None


@pytest.mark.parametrize("length", [0, 1, 10, 11, 25, 30])
def test_long_blocks_are_cut(length):
    block = bytes(range(length))
    wire, at, pieces = frames.headers(3, block, 10, end_stream=True), 0, []
    while at < len(wire):
        word, flags, stream_id = frames.HEAD.unpack_from(wire, at)
        pieces.append((word & 0xFF, flags, stream_id, wire[at + 9 : at + 9 + (word >> 8)]))
        at += 9 + (word >> 8)
    assert b"".join(piece[3] for piece in pieces) == block
    assert pieces[0][0] == FrameType.HEADERS
    assert pieces[0][1] & frames.END_STREAM
    assert all(kind == FrameType.CONTINUATION and stream == 3 for kind, _, stream, _ in pieces[1:])
    assert [bool(piece[1] & frames.END_HEADERS) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
