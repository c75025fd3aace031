"""Broken rules of RFC 9113 and what each costs the peer: the connection, the stream, or nothing. A table like h2spec's."""

# ruff: noqa: E501  (a table reads best with one case a line)

from __future__ import annotations

import struct

import pytest
from wire_peer import ECHO, LATER, PUT, SETTINGS, RawPeer, data, message, request_fields, settings

from kvstore.wire.h2 import frames
from kvstore.wire.h2.errors import ErrorCode as E
from kvstore.wire.h2.frames import FrameType as F

CONNECTION, STREAM, NOTHING = "connection", "stream", "nothing"


def raw(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return frames.frame(kind, flags, stream_id, payload)


def fields(*changes: tuple[str, str | None], extra: list[tuple[str, str]] | None = None, tail: bool = False):
    """A request's fields with some replaced (or removed, with None), and extra ones in front or behind."""
    base = [(n, dict(changes).get(n, v)) for n, v in request_fields()]
    kept = [(n, v) for n, v in base if v is not None]
    return kept + (extra or []) if tail else (extra or []) + kept


def opened(peer: RawPeer) -> bytes:
    """Stream 1 is open."""
    return peer.headers(1, request_fields(ECHO))


def half_closed(peer: RawPeer) -> bytes:
    """Stream 1 is half-closed (remote): the client is done, the answer is still to come."""
    return peer.headers(1, request_fields(LATER)) + data(1, message(b""), end=True)


def closed(peer: RawPeer) -> bytes:
    """Stream 1 was answered and is closed."""
    return peer.headers(1) + data(1, message(b""), end=True)


def reset(peer: RawPeer) -> bytes:
    """Stream 1 was reset by the client."""
    return opened(peer) + frames.rst_stream(1, E.CANCEL)


def nothing(peer: RawPeer) -> bytes:
    return b""


U32 = struct.Struct(">I").pack
PRIORITY_OF_1 = U32(1) + b"\x10"

# name, state of stream 1, the bytes, what breaks, with which code
CASES = [
    # 4.2 frame size
    ("data longer than max frame", opened, lambda p: data(1, b"x" * 16_385), CONNECTION, E.FRAME_SIZE_ERROR),
    ("headers longer than max frame", nothing, lambda p: raw(F.HEADERS, 5, 1, b"x" * 16_385), CONNECTION, E.FRAME_SIZE_ERROR),
    ("data of just max frame", opened, lambda p: data(1, message(b"x" * 16_379)), NOTHING, None),
    # 4.3 header compression
    ("block is no hpack", nothing, lambda p: raw(F.HEADERS, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff"), CONNECTION, E.COMPRESSION_ERROR),
    ("block with index 0", nothing, lambda p: raw(F.HEADERS, 5, 1, b"\x80"), CONNECTION, E.COMPRESSION_ERROR),
    ("block ends in a string", nothing, lambda p: raw(F.HEADERS, 5, 1, b"\x00\x05abc"), CONNECTION, E.COMPRESSION_ERROR),
    ("table larger than allowed", nothing, lambda p: raw(F.HEADERS, 5, 1, b"\x3f\xe1\x1f"), CONNECTION, E.COMPRESSION_ERROR),
    ("other frame within a block", nothing, lambda p: raw(F.HEADERS, 0, 1, p.block(request_fields())) + frames.ping(b"12345678"), CONNECTION, E.PROTOCOL_ERROR),
    ("unknown frame within a block", nothing, lambda p: raw(F.HEADERS, 0, 1, p.block(request_fields())) + raw(0x42, 0, 1), CONNECTION, E.PROTOCOL_ERROR),
    ("other stream's headers within a block", nothing, lambda p: raw(F.HEADERS, 0, 1, p.block(request_fields())) + p.headers(3), CONNECTION, E.PROTOCOL_ERROR),
    # 5.1 stream states: idle
    ("data on idle", nothing, lambda p: data(1, b""), CONNECTION, E.PROTOCOL_ERROR),
    ("reset on idle", nothing, lambda p: frames.rst_stream(1, 0), CONNECTION, E.PROTOCOL_ERROR),
    ("window update on idle", nothing, lambda p: frames.window_update(1, 1), CONNECTION, E.PROTOCOL_ERROR),
    ("continuation on idle", nothing, lambda p: raw(F.CONTINUATION, 4, 1), CONNECTION, E.PROTOCOL_ERROR),
    ("priority on idle", nothing, lambda p: raw(F.PRIORITY, 0, 1, U32(0) + b"\x10"), NOTHING, None),
    # half-closed (remote)
    ("data after the end", half_closed, lambda p: data(1, b"x"), STREAM, E.STREAM_CLOSED),
    ("a whole message after the end", half_closed, lambda p: data(1, message(b"x"), end=True), STREAM, E.STREAM_CLOSED),
    ("headers after the end", half_closed, lambda p: p.headers(1, end=True), CONNECTION, E.STREAM_CLOSED),
    ("window update after the end", half_closed, lambda p: frames.window_update(1, 1), NOTHING, None),
    ("priority after the end", half_closed, lambda p: raw(F.PRIORITY, 0, 1, U32(0) + b"\x10"), NOTHING, None),
    ("reset after the end", half_closed, lambda p: frames.rst_stream(1, E.CANCEL), NOTHING, None),
    # closed
    ("data on closed", closed, lambda p: data(1, b"x"), STREAM, E.STREAM_CLOSED),
    ("headers on closed", closed, lambda p: p.headers(1, end=True), CONNECTION, E.STREAM_CLOSED),
    ("window update on closed", closed, lambda p: frames.window_update(1, 1), NOTHING, None),
    ("reset on closed", closed, lambda p: frames.rst_stream(1, E.CANCEL), NOTHING, None),
    ("priority on closed", closed, lambda p: raw(F.PRIORITY, 0, 1, U32(0) + b"\x10"), NOTHING, None),
    ("data after a reset", reset, lambda p: data(1, b"x"), STREAM, E.STREAM_CLOSED),
    ("headers after a reset", reset, lambda p: p.headers(1, end=True), CONNECTION, E.STREAM_CLOSED),
    # 5.1.1 stream identifiers
    ("even stream", nothing, lambda p: p.headers(2, end=True), CONNECTION, E.PROTOCOL_ERROR),
    ("lower than one before, never opened", nothing, lambda p: p.headers(5, request_fields(LATER)) + p.headers(3), CONNECTION, E.PROTOCOL_ERROR),
    # 5.3.1 dependencies
    ("headers depend on themselves", nothing, lambda p: raw(F.HEADERS, 0x25, 1, PRIORITY_OF_1 + p.block(request_fields())), STREAM, E.PROTOCOL_ERROR),
    ("priority depends on itself", nothing, lambda p: raw(F.PRIORITY, 0, 1, PRIORITY_OF_1), STREAM, E.PROTOCOL_ERROR),
    # 5.5 extensions
    ("unknown frame", opened, lambda p: raw(0x42, 0xFF, 1, b"whatever"), NOTHING, None),
    ("unknown frame on the connection", nothing, lambda p: raw(0xFF, 0xFF, 0, b"whatever"), NOTHING, None),
    # 6.1 DATA
    ("data on stream 0", nothing, lambda p: data(0, b"x"), CONNECTION, E.PROTOCOL_ERROR),
    ("data with too much padding", opened, lambda p: raw(F.DATA, 8, 1, b"\x05abc"), CONNECTION, E.PROTOCOL_ERROR),
    ("data with only padding length", opened, lambda p: raw(F.DATA, 8, 1, b""), CONNECTION, E.PROTOCOL_ERROR),
    ("padded data", opened, lambda p: raw(F.DATA, 8, 1, b"\x03" + message(b"hi") + b"\0\0\0"), NOTHING, None),
    # 6.2 HEADERS
    ("headers on stream 0", nothing, lambda p: p.headers(0), CONNECTION, E.PROTOCOL_ERROR),
    ("headers with too much padding", nothing, lambda p: raw(F.HEADERS, 0x0D, 1, b"\xff" + p.block(request_fields())), CONNECTION, E.PROTOCOL_ERROR),
    ("headers without their priority", nothing, lambda p: raw(F.HEADERS, 0x25, 1, b"\0\0"), CONNECTION, E.FRAME_SIZE_ERROR),
    # 6.3 PRIORITY
    ("priority on stream 0", nothing, lambda p: raw(F.PRIORITY, 0, 0, U32(1) + b"\x10"), CONNECTION, E.PROTOCOL_ERROR),
    ("short priority", opened, lambda p: raw(F.PRIORITY, 0, 1, b"\0\0\0"), STREAM, E.FRAME_SIZE_ERROR),
    # 6.4 RST_STREAM
    ("reset on stream 0", nothing, lambda p: frames.rst_stream(0, 0), CONNECTION, E.PROTOCOL_ERROR),
    ("short reset", opened, lambda p: raw(F.RST_STREAM, 0, 1, b"\0"), CONNECTION, E.FRAME_SIZE_ERROR),
    ("reset with an unknown code", opened, lambda p: frames.rst_stream(1, 0xABCDEF), NOTHING, None),
    # 6.5 SETTINGS
    ("settings on a stream", nothing, lambda p: raw(F.SETTINGS, 0, 1), CONNECTION, E.PROTOCOL_ERROR),
    ("settings of 5 octets", nothing, lambda p: raw(F.SETTINGS, 0, 0, b"12345"), CONNECTION, E.FRAME_SIZE_ERROR),
    ("acknowledgement with payload", nothing, lambda p: raw(F.SETTINGS, 1, 0, b"123456"), CONNECTION, E.FRAME_SIZE_ERROR),
    ("enable push of 2", nothing, lambda p: settings(ENABLE_PUSH=2), CONNECTION, E.PROTOCOL_ERROR),
    ("window over 2^31-1", nothing, lambda p: settings(INITIAL_WINDOW_SIZE=2**31), CONNECTION, E.FLOW_CONTROL_ERROR),
    ("max frame too small", nothing, lambda p: settings(MAX_FRAME_SIZE=16_383), CONNECTION, E.PROTOCOL_ERROR),
    ("max frame too large", nothing, lambda p: settings(MAX_FRAME_SIZE=2**24), CONNECTION, E.PROTOCOL_ERROR),
    ("unknown setting", nothing, lambda p: raw(F.SETTINGS, 0, 0, struct.pack(">HI", 0xF0F0, 7)), NOTHING, None),
    # 6.6 PUSH_PROMISE
    ("push promise", opened, lambda p: raw(F.PUSH_PROMISE, 4, 1, U32(2)), CONNECTION, E.PROTOCOL_ERROR),
    # 6.7 PING
    ("ping on a stream", opened, lambda p: raw(F.PING, 0, 1, b"12345678"), CONNECTION, E.PROTOCOL_ERROR),
    ("ping of 7 octets", nothing, lambda p: raw(F.PING, 0, 0, b"1234567"), CONNECTION, E.FRAME_SIZE_ERROR),
    ("unasked ping answer", nothing, lambda p: frames.ping(b"12345678", ack=True), NOTHING, None),
    # 6.8 GOAWAY
    ("goaway on a stream", opened, lambda p: raw(F.GOAWAY, 0, 1, bytes(8)), CONNECTION, E.PROTOCOL_ERROR),
    ("short goaway", nothing, lambda p: raw(F.GOAWAY, 0, 0, bytes(7)), CONNECTION, E.FRAME_SIZE_ERROR),
    # 6.9 WINDOW_UPDATE
    ("window update of 0 on the connection", nothing, lambda p: frames.window_update(0, 0), CONNECTION, E.PROTOCOL_ERROR),
    ("window update of 0 on a stream", opened, lambda p: frames.window_update(1, 0), STREAM, E.PROTOCOL_ERROR),
    ("window update of 3 octets", nothing, lambda p: raw(F.WINDOW_UPDATE, 0, 0, b"\0\0\1"), CONNECTION, E.FRAME_SIZE_ERROR),
    ("connection window over 2^31-1", nothing, lambda p: frames.window_update(0, 2**31 - 1), CONNECTION, E.FLOW_CONTROL_ERROR),
    ("stream window over 2^31-1", opened, lambda p: frames.window_update(1, 2**31 - 1), STREAM, E.FLOW_CONTROL_ERROR),
    ("settings overflow a stream's window", opened, lambda p: frames.window_update(1, 2**31 - 1 - 65_535) + settings(INITIAL_WINDOW_SIZE=2**31 - 1), CONNECTION, E.FLOW_CONTROL_ERROR),
    # 6.10 CONTINUATION
    ("continuation after end headers", nothing, lambda p: p.headers(1) + raw(F.CONTINUATION, 4, 1), CONNECTION, E.PROTOCOL_ERROR),
    ("continuation on another stream", nothing, lambda p: raw(F.HEADERS, 0, 1, p.block(request_fields())) + raw(F.CONTINUATION, 4, 3), CONNECTION, E.PROTOCOL_ERROR),
    ("continuation on stream 0", nothing, lambda p: raw(F.HEADERS, 0, 1, p.block(request_fields())) + raw(F.CONTINUATION, 4, 0), CONNECTION, E.PROTOCOL_ERROR),
    # 8.1 messages
    ("second headers without end", opened, lambda p: p.headers(1, [("x", "y")]), STREAM, E.PROTOCOL_ERROR),
    ("trailers with a pseudo-header", opened, lambda p: p.headers(1, [(":path", "/")], end=True), STREAM, E.PROTOCOL_ERROR),
    ("trailers", opened, lambda p: p.headers(1, [("x", "y")], end=True), NOTHING, None),
    # 8.1.1 content-length
    ("content-length is less", nothing, lambda p: p.headers(1, request_fields(ECHO, content_length="3")) + data(1, message(b"x")), STREAM, E.PROTOCOL_ERROR),
    ("content-length is more", nothing, lambda p: p.headers(1, request_fields(content_length="9")) + data(1, message(b"x"), end=True), STREAM, E.PROTOCOL_ERROR),
    ("content-length is no number", nothing, lambda p: p.headers(1, request_fields(content_length="-1")), STREAM, E.PROTOCOL_ERROR),
    ("content-lengths differ", nothing, lambda p: p.headers(1, [*request_fields(content_length="1"), ("content-length", "2")]), STREAM, E.PROTOCOL_ERROR),
    ("content-length without data", nothing, lambda p: p.headers(1, request_fields(ECHO, content_length="1"), end=True), STREAM, E.PROTOCOL_ERROR),
    # 8.2 fields
    ("upper-case name", nothing, lambda p: p.headers(1, fields(extra=[("X-Y", "z")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("name with a space", nothing, lambda p: p.headers(1, fields(extra=[("x y", "z")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("empty name", nothing, lambda p: p.headers(1, fields(extra=[("", "z")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("value with a line feed", nothing, lambda p: p.headers(1, fields(extra=[("x", "a\nb")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("value with a NUL", nothing, lambda p: p.headers(1, fields(extra=[("x", "a\0b")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("value with a space in front", nothing, lambda p: p.headers(1, fields(extra=[("x", " a")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("connection field", nothing, lambda p: p.headers(1, fields(extra=[("connection", "close")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("transfer-encoding", nothing, lambda p: p.headers(1, fields(extra=[("transfer-encoding", "chunked")], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("te other than trailers", nothing, lambda p: p.headers(1, fields(("te", "gzip"))), STREAM, E.PROTOCOL_ERROR),
    # 8.3 pseudo-headers
    ("unknown pseudo-header", nothing, lambda p: p.headers(1, fields(extra=[(":test", "x")])), STREAM, E.PROTOCOL_ERROR),
    ("response's pseudo-header", nothing, lambda p: p.headers(1, fields(extra=[(":status", "200")])), STREAM, E.PROTOCOL_ERROR),
    ("pseudo-header behind a field", nothing, lambda p: p.headers(1, fields((":path", None), extra=[(":path", PUT)], tail=True)), STREAM, E.PROTOCOL_ERROR),
    ("two :path", nothing, lambda p: p.headers(1, fields(extra=[(":path", PUT)])), STREAM, E.PROTOCOL_ERROR),
    ("no :path", nothing, lambda p: p.headers(1, fields((":path", None))), STREAM, E.PROTOCOL_ERROR),
    ("empty :path", nothing, lambda p: p.headers(1, fields((":path", ""))), STREAM, E.PROTOCOL_ERROR),
    ("no :method", nothing, lambda p: p.headers(1, fields((":method", None))), STREAM, E.PROTOCOL_ERROR),
    ("no :scheme", nothing, lambda p: p.headers(1, fields((":scheme", None))), STREAM, E.PROTOCOL_ERROR),
]  # fmt: skip


@pytest.mark.parametrize("step", [0, 1], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(("name", "state", "build", "breaks", "code"), CASES, ids=[case[0] for case in CASES])
def test_rule(name, state, build, breaks, code, step):
    peer = RawPeer()
    peer.send(state(peer))
    answer = peer.send(build(peer), step=step)
    if breaks == CONNECTION:
        assert peer.goaway(answer) == code
        assert peer.connection.failed is not None
        assert not peer.connection.streams
        return
    assert peer.goaway(answer) is None
    assert peer.connection.failed is None
    assert peer.resets(answer) == ({1: code} if breaks == STREAM else {})
    # The connection still works, and so does its header table.
    assert peer.status(peer.call(101), 101) == (0, "")


@pytest.mark.parametrize(
    "first",
    [b"GET / HTTP/1.1\r\n\r\n padding so that it is long", frames.PREFACE[:-1] + b"X", b"\0" * 24],
    ids=["http/1.1", "last octet wrong", "zeros"],
)
@pytest.mark.parametrize("step", [0, 1])
def test_preface_must_be_right(first, step):
    peer = RawPeer(greet=False)
    assert peer.goaway(peer.send(first, step=step)) == E.PROTOCOL_ERROR


@pytest.mark.parametrize(
    "build", [lambda p: p.headers(1), lambda p: frames.ping(b"12345678"), lambda p: raw(F.SETTINGS, 1, 0)]
)
def test_the_first_frame_must_be_settings(build):
    peer = RawPeer(greet=False)
    assert peer.goaway(peer.send(frames.PREFACE + build(peer))) == E.PROTOCOL_ERROR


def test_nothing_is_read_after_a_failure():
    peer = RawPeer()
    peer.send(data(0, b"x"))
    assert peer.send(peer.headers(1) + data(1, message(b"late"), end=True)) == []
    assert peer.log == []


def test_reserved_bit_of_the_stream_number_is_ignored():
    peer = RawPeer()
    whole = peer.headers(1) + data(1, message(b"x"), end=True)
    for at in (5, len(peer.headers(1)) + 5):
        whole = whole[:at] + bytes([whole[at] | 0x80]) + whole[at + 1 :]
    assert peer.status(peer.send(whole)) == (0, "")


def test_goaway_names_the_last_stream():
    peer = RawPeer()
    peer.call(7)
    (answer,) = [f for f in peer.send(data(0, b"")) if f.kind == F.GOAWAY]
    assert struct.unpack_from(">I", answer.payload) == (7,)


def test_connection_failure_ends_running_calls():
    peer = RawPeer()
    peer.send(opened(peer))
    assert [entry[0] for entry in peer.log] == ["open"]
    peer.send(SETTINGS + data(0, b"x"))
    assert [entry[0] for entry in peer.log] == ["open", "closed"]


def test_data_for_a_stream_we_reset_is_dropped_without_a_word_but_counted():
    peer = RawPeer()
    answer = peer.send(peer.headers(1, request_fields("/nowhere/None")))
    assert peer.resets(answer) == {1: E.NO_ERROR}
    before = peer.connection.recv_left
    assert peer.send(data(1, b"x" * 100)) == []
    assert peer.connection.recv_left == before - 100
    assert peer.send(peer.headers(1, [("trailer", "x")], end=True)) == []
