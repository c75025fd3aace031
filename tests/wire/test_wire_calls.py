"""Calls as handlers and clients see them: gRPC's rules over frames written by hand."""

from __future__ import annotations

import random
import struct

import pytest
from wire_peer import BOOM, ECHO, LATER, PUT, RawPeer, data, message, request_fields

from kvstore.errors import Code, EtcdError, error
from kvstore.wire.grpc.methods import Method
from kvstore.wire.h2 import frames
from kvstore.wire.h2.errors import ErrorCode as E
from kvstore.wire.h2.frames import FrameType as F


def test_unary_call():
    peer = RawPeer()
    answer = peer.call(1, b"hello")
    assert [(f.kind, f.flags) for f in answer] == [(F.HEADERS, 4), (F.DATA, 0), (F.HEADERS, 5)]
    assert peer.fields(answer[0]) == {":status": "200", "content-type": "application/grpc"}
    assert peer.bodies(answer) == message(b"ok:hello")
    assert peer.fields(answer[2]) == {"grpc-status": "0"}
    assert not peer.connection.streams


@pytest.mark.parametrize("seed", range(25))
def test_any_cut_gives_the_same(seed):
    """Messages over frames, frames over reads, padding, CONTINUATION and empty frames between: the same calls."""
    chance = random.Random(seed)
    peer = RawPeer()
    wire, expected = frames.window_update(0, 2**30), []
    for number in range(1, 40, 2):
        body = chance.randbytes(chance.choice([0, 1, 4, 5, 300, 20_000]))
        expected.append(("put", body))
        block = peer.block(request_fields(token=chance.choice(["a", "b"])))
        cut = chance.choice([0, len(block) // 2])
        if cut:
            wire += frames.frame(F.HEADERS, 0, number, block[:cut]) + frames.frame(
                F.CONTINUATION, 4, number, block[cut:]
            )
        else:
            wire += frames.frame(F.HEADERS, 4, number, block)
        left = message(body)
        while left:
            size = chance.choice([1, 3, 5, 6, 100, 16_000, len(left)])
            piece, left = left[:size][:16_000], left[min(size, 16_000) :]
            end = not left and chance.random() < 0.7
            if chance.random() < 0.2:
                wire += frames.frame(F.DATA, 8 | end, number, b"\x02" + piece + b"\0\0")
            else:
                wire += data(number, piece, end=end)
        if not end:
            wire += chance.choice([data(number, b"", end=True), peer.headers(number, [("trailer", "x")], end=True)])
    at = 0
    while at < len(wire):
        size = chance.choice([1, 2, 9, 10, 1_000, 70_000])
        peer.connection.receive(wire[at : at + size], peer.now)
        at += size
    answer = peer.take()
    assert peer.log == expected, f"seed {seed}"
    for number, (_, body) in zip(range(1, 40, 2), expected, strict=True):
        assert peer.bodies(answer, number) == message(b"ok:" + body), f"seed {seed}"


def test_headers_of_many_calls_before_their_data():
    peer = RawPeer()
    peer.send(b"".join(peer.headers(n) for n in (1, 3, 5)))
    answer = peer.send(b"".join(data(n, message(b"%d" % n), end=True) for n in (5, 1, 3)))
    assert peer.log == [("put", b"5"), ("put", b"1"), ("put", b"3")]
    assert [f.stream_id for f in answer] == [5] * 3 + [1] * 3 + [3] * 3


def test_reply_later_and_out_of_order():
    peer = RawPeer()
    for number in (1, 3):
        assert peer.call(number, path=LATER) == []
    peer.calls[1].reply(b"second")
    peer.calls[0].reply(b"first")
    answer = peer.take()
    assert peer.bodies(answer, 1) == message(b"first")
    assert peer.bodies(answer, 3) == message(b"second")


def test_what_is_done_to_a_closed_call_is_dropped():
    peer = RawPeer()
    peer.call(1, path=LATER)
    (call,) = peer.calls
    call.reply(b"x")
    peer.take()
    call.reply(b"y")
    call.reply_parts([b"y"])
    call.send(b"y")
    call.finish()
    call.fail(5, "y")
    assert peer.take() == []
    assert peer.methods.by_path[LATER.encode()].handled[0] == 1
    assert sum(peer.methods.by_path[LATER.encode()].handled) == 1


def test_reply_parts_are_one_message():
    peer = RawPeer()
    peer.call(1, path=LATER)
    peer.calls[0].reply_parts([b"a", b"", b"bc"])
    answer = peer.take()
    assert peer.bodies(answer) == message(b"abc")
    assert peer.status(answer) == (0, "")


def test_fail_is_trailers_only():
    peer = RawPeer()
    peer.call(1, path=LATER)
    peer.calls[0].fail(Code.NOT_FOUND, "etcdserver: requested lease not found")
    (only,) = peer.take()
    assert only.flags == frames.END_STREAM | frames.END_HEADERS
    assert peer.fields(only) == {
        ":status": "200",
        "content-type": "application/grpc",
        "grpc-status": "5",
        "grpc-message": "etcdserver: requested lease not found",
    }


def test_fail_behind_messages():
    peer = RawPeer()
    peer.call(1, path=LATER)
    peer.calls[0].send(b"one")
    peer.calls[0].fail(14, "gone")
    answer = peer.take()
    assert peer.bodies(answer) == message(b"one")
    assert peer.status(answer) == (14, "gone")


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("100% sure\n", "100%25 sure%0A"),
        ("grüße", "gr%C3%BC%C3%9Fe"),
        ("plain: text, 'quoted'", "plain: text, 'quoted'"),
    ],
)
def test_messages_are_percent_encoded(text, wire):
    peer = RawPeer()
    peer.call(1, path=LATER)
    peer.calls[0].fail(2, text)
    assert peer.status(peer.take()) == (2, wire)


def test_a_handler_that_raises():
    peer = RawPeer()
    assert peer.status(peer.call(1, path=BOOM)) == (2, "RuntimeError: boom")
    assert peer.status(peer.call(3), 3) == (0, "")


def test_a_handler_that_raises_an_etcd_error():
    def refuse(call, body):
        raise error("COMPACTED")

    peer = RawPeer()
    peer.methods.add(Method("/test.Store/Refuse", refuse, None))
    answer = peer.call(1, path="/test.Store/Refuse")
    assert peer.status(answer) == (11, "etcdserver: mvcc: required revision has been compacted")
    assert peer.methods.by_path[b"/test.Store/Refuse"].handled[11] == 1


def test_streams():
    peer = RawPeer()
    answer = peer.send(peer.headers(1, request_fields(ECHO)) + data(1, message(b"a") + message(b"b")[:3]))
    assert peer.bodies(answer) == message(b"a")
    answer = peer.send(data(1, message(b"b")[3:] + message(b"c"), end=True))
    assert peer.bodies(answer) == message(b"b") + message(b"c")
    assert peer.status(answer) == (0, "")
    assert [entry[0] for entry in peer.log] == ["open", "message", "message", "message", "half_close", "closed"]


def test_stream_that_is_only_headers():
    peer = RawPeer()
    assert peer.status(peer.send(peer.headers(1, request_fields(ECHO), end=True))) == (0, "")
    assert [entry[0] for entry in peer.log] == ["open", "half_close", "closed"]


def test_stream_that_the_server_ends_first():
    peer = RawPeer()
    peer.send(peer.headers(1, request_fields(ECHO)))
    call = peer.log[0][1]
    call.fail(Code.UNAVAILABLE, "etcdserver: no leader")
    answer = peer.take()
    assert peer.status(answer) == (14, "etcdserver: no leader")
    assert peer.resets(answer) == {1: E.NO_ERROR}
    assert peer.log[-1] == ("closed",)
    assert peer.send(data(1, message(b"late"))) == []


@pytest.mark.parametrize("raises_in", ["factory", "message", "half_close", "closed"])
def test_stream_objects_that_raise(raises_in):
    class Faulty:
        def __init__(self, call) -> None:
            self.call = call
            self.check("factory")

        def check(self, where: str) -> None:
            if where == raises_in:
                raise EtcdError(Code.ABORTED, where)

        def message(self, body: bytes) -> None:
            self.check("message")

        def half_close(self) -> None:
            self.check("half_close")
            self.call.finish()

        def closed(self) -> None:
            self.check("closed")

    peer = RawPeer()
    peer.methods.add(Method("/test.Store/Faulty", None, Faulty))
    answer = peer.send(peer.headers(1, request_fields("/test.Store/Faulty")) + data(1, message(b""), end=True))
    assert peer.status(answer) == ((0, "") if raises_in == "closed" else (10, raises_in))
    assert not peer.connection.streams
    assert peer.status(peer.call(3), 3) == (0, "")


@pytest.mark.parametrize("how", ["reset", "lost", "deadline"])
def test_on_closed_and_closed(how):
    peer = RawPeer()
    heard = []
    peer.send(peer.headers(1, request_fields(ECHO, grpc_timeout="1S")))
    peer.call(3, path=LATER, grpc_timeout="1S")
    for call in (peer.log[0][1], peer.calls[0]):
        call.on_closed = lambda: heard.append(how)
    if how == "reset":
        peer.send(frames.rst_stream(1, E.CANCEL) + frames.rst_stream(3, E.CANCEL))
    elif how == "lost":
        peer.connection.lost("gone")
    else:
        for call in peer.deadlines.expired(peer.now + 1.1):
            call.expire()
        answer = peer.take()
        assert peer.status(answer, 3) == (4, "context deadline exceeded")
    assert heard == [how] * 2
    assert peer.log[-1] == ("closed",)
    assert peer.calls[0].closed
    assert not peer.connection.streams
    assert len(peer.deadlines) == 0


def test_on_closed_is_not_called_for_our_own_end():
    peer = RawPeer()
    peer.call(1, path=LATER)
    heard = []
    peer.calls[0].on_closed = lambda: heard.append(1)
    peer.calls[0].reply(b"")
    peer.take()
    peer.connection.lost("gone")
    assert heard == []


def test_deadlines():
    peer = RawPeer()
    peer.call(1, path=LATER, grpc_timeout="500m")
    peer.call(3, path=LATER, grpc_timeout="2S")
    peer.call(5, path=LATER)
    assert [c.timeout for c in peer.calls] == [0.5, 2.0, None]
    assert peer.deadlines.expired(peer.now + 0.49) == []
    assert peer.deadlines.expired(peer.now + 0.53) == peer.calls[:1]
    peer.calls[1].reply(b"")
    assert len(peer.deadlines) == 0
    assert peer.deadlines.expired(peer.now + 10) == []


def test_a_deadline_runs_before_the_message_is_here():
    peer = RawPeer()
    peer.send(peer.headers(1, request_fields(grpc_timeout="1S")))
    (call,) = peer.deadlines.expired(peer.now + 1.1)
    call.expire()
    answer = peer.take()
    assert peer.status(answer)[0] == 4
    assert peer.resets(answer) == {1: E.NO_ERROR}
    assert peer.send(data(1, message(b"x"), end=True)) == []
    assert peer.log == []


@pytest.mark.parametrize("value", ["", "5", "S", "123456789S", "-1S", "1x", "1.5S", "1 S"])
def test_malformed_timeouts(value):
    peer = RawPeer()
    for number in (1, 3):
        answer = peer.call(number, path=LATER, grpc_timeout=value)
        assert peer.status(answer, number) == (13, "malformed grpc-timeout")
    assert peer.calls == []
    assert peer.methods.by_path[LATER.encode()].handled[13] == 2


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/test.Store/Nope", "unknown method Nope for service test.Store"),
        ("/other/Put", "unknown service other"),
        ("/Put", 'malformed method name: "/Put"'),
        ("Put", 'malformed method name: "Put"'),
    ],
)
def test_unknown_methods(path, text):
    peer = RawPeer()
    assert peer.status(peer.call(1, path=path)) == (12, text)
    assert peer.status(peer.call(3), 3) == (0, "")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"content-type": "application/json"}, "415"),
        ({"content-type": "application/grpcfoo"}, "415"),
        ({"content-type": ""}, "415"),
        ({":method": "GET"}, "405"),
    ],
)
def test_what_is_not_grpc(changes, status):
    peer = RawPeer()
    fields = [(name, changes.get(name, value)) for name, value in request_fields()]
    answer = peer.send(peer.headers(1, fields, end=True))
    assert peer.fields(answer[0]) == {":status": status}
    assert answer[0].flags & frames.END_STREAM


@pytest.mark.parametrize("kind", ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"])
def test_what_is_grpc(kind):
    peer = RawPeer()
    fields = [(name, kind if name == "content-type" else value) for name, value in request_fields()]
    answer = peer.send(peer.headers(1, fields) + data(1, message(b""), end=True))
    assert peer.status(answer) == (0, "")


@pytest.mark.parametrize("path", [PUT, ECHO])
def test_compression_is_refused(path):
    peer = RawPeer()
    answer = peer.send(peer.headers(1, request_fields(path)) + data(1, b"\1\0\0\0\1x", end=True))
    assert peer.status(answer)[0] == 12
    answer = peer.call(3, path=path, grpc_encoding="snappy")
    assert peer.fields(answer[0])["grpc-accept-encoding"] == "identity"
    assert peer.status(answer, 3) == (12, 'grpc: Decompressor is not installed for grpc-encoding "snappy"')
    answer = peer.call(5, path=path, grpc_encoding="identity")
    assert peer.status(answer, 5) == (0, "")
    answer = peer.send(peer.headers(7, request_fields(path)) + data(7, b"\2\0\0\0\1x", end=True))
    assert peer.status(answer, 7)[0] == 13


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0", message(b"abc")[:-1], message(b"abc") + b"\0", message(b"a") + message(b"b")],
    ids=["none", "one octet", "short", "one octet more", "two"],
)
def test_unary_needs_one_whole_message(payload):
    peer = RawPeer()
    assert peer.status(peer.send(peer.headers(1) + data(1, payload, end=True)))[0] == 13
    assert peer.log == []
    assert peer.connection.partial == 0
    assert peer.status(peer.call(3), 3) == (0, "")


def test_metadata():
    peer = RawPeer()
    extra = [
        ("token", "abc"),
        ("hasleader", "true"),
        ("trace-bin", "AAH/"),
        ("broken-bin", "!"),
        ("twice", "1"),
        ("twice", "2"),
    ]
    peer.send(peer.headers(1, request_fields(LATER) + extra) + data(1, message(b""), end=True))
    (call,) = peer.calls
    assert call.path == LATER
    assert call.peer == "test:1"
    assert call.metadata["token"] == "abc"
    assert call.metadata["hasleader"] == "true"
    assert call.metadata["twice"] == "2"
    assert call.metadata_bin == {"trace-bin": b"\0\1\xff"}
    assert not any(name.startswith((":", "grpc-")) or name == "te" for name in call.metadata)


def test_a_path_is_registered_once():
    peer = RawPeer()
    with pytest.raises(ValueError, match="twice"):
        peer.methods.add(Method(PUT, lambda call, body: None, None))


def test_counters():
    peer = RawPeer()
    method = peer.methods.by_path[LATER.encode()]
    for number in (1, 3, 5):
        peer.call(number, path=LATER)
    assert (method.started, sum(method.handled)) == (3, 0)
    peer.calls[0].reply(b"")
    peer.calls[1].fail(5, "")
    peer.send(frames.rst_stream(5, E.CANCEL))
    assert (method.started, method.handled[0], method.handled[5], method.handled[1]) == (3, 1, 1, 1)


def test_leave_lets_running_calls_finish():
    peer = RawPeer()
    peer.call(1, path=LATER)
    peer.connection.leave()
    notice, ping = peer.take()
    assert struct.unpack(">II", notice.payload) == (2**31 - 1, 0)
    # Still accepted: the client had not heard of it.
    peer.call(3, path=LATER)
    (final,) = peer.send(frames.ping(ping.payload, ack=True))
    assert struct.unpack(">II", final.payload) == (3, 0)
    assert peer.send(peer.headers(5) + data(5, message(b"x"), end=True)) == []
    assert not peer.connection.finished
    peer.calls[0].reply(b"")
    peer.calls[1].reply(b"")
    assert peer.status(peer.take(), 3) == (0, "")
    assert peer.connection.finished
