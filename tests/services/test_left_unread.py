"""A large answer whose client goes before it has read it: its slices go with it, without help of the cycle collector.

The collector may not come for hours on a quiet member, and a full collection holds the loop of one with much in memory.
"""

from __future__ import annotations

import struct
import weakref
from typing import Any

import pytest
from service_fakes import FakeMember

from kvstore.pb import etcd_pb2 as pb
from kvstore.services import big_range
from kvstore.services.big_range import BigRange
from kvstore.services.range_stream import RangeStream
from kvstore.services.sliced import BUFFERED, Gathered
from kvstore.wire.grpc.deadlines import Deadlines
from kvstore.wire.grpc.methods import Method, Methods
from kvstore.wire.grpc.server_connection import ServerConnection
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

RANGE = "/etcdserverpb.KV/Range"
STREAM = "/etcdserverpb.KV/RangeStream"
REQUEST = pb.RangeRequest(key=b"big", range_end=b"bih").SerializeToString()


pytestmark = pytest.mark.usefixtures("no_collector")


class Reader:
    """A client in memory that asks and opens no window; `watched` is what must not outlive its calls."""

    def __init__(self) -> None:
        self.member: Any = FakeMember()
        for number in range(50):
            self.member.put(b"big%d" % number, bytes(100_000))
        self.gathered = Gathered()
        self.watched: list[weakref.ref[Any]] = []
        methods = Methods()
        methods.add(Method(RANGE, self._range, None))
        methods.add(Method(STREAM, None, self._stream))
        self.connection = ServerConnection(
            Limits(), lambda: None, 0.0, methods=methods, deadlines=Deadlines(), peer="test:1", max_message=1 << 20
        )
        self.connection.receive(frames.PREFACE + frames.frame(FrameType.SETTINGS, 0, 0, b""), 0.0)

    def _range(self, call: Any, body: bytes) -> None:
        big = BigRange(self.member, call, pb.RangeRequest.FromString(body), self.gathered, 0)
        self._watch(call, big)
        big.start()

    def _stream(self, call: Any) -> RangeStream:
        stream = RangeStream(self.member, call)
        self._watch(call, stream)
        return stream

    def _watch(self, call: Any, answer: Any) -> None:
        self.watched += [weakref.ref(call), weakref.ref(answer)]

    def ask(self, path: str) -> None:
        """A whole request, and turns of the loop until nothing more is read for it."""
        fields = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"a"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        ]
        block = b"".join(b"\0" + bytes((len(k),)) + k + bytes((len(v),)) + v for k, v in fields)
        body = struct.pack(">BI", 0, len(REQUEST)) + REQUEST
        data = frames.frame(FrameType.DATA, frames.END_STREAM, 1, body)
        self.connection.receive(frames.headers(1, block, 16_384, end_stream=False) + data, 0.0)
        self.member.loop.run()
        assert self.connection.unsent > BUFFERED, "the client has read it"

    def left(self) -> list[str]:
        """What is still there."""
        return [type(each).__name__ for ref in self.watched if (each := ref()) is not None]


def lost(reader: Reader) -> None:
    """The connection went."""
    reader.connection.lost("gone")


def cancelled(reader: Reader) -> None:
    """The client wants no answer any more."""
    reader.connection.receive(frames.rst_stream(1, 8), 0.0)


@pytest.mark.parametrize("ends", [lost, cancelled])
@pytest.mark.parametrize("path", [RANGE, STREAM])
def test_nothing_is_left_of_an_answer_that_nobody_read(path, ends, monkeypatch) -> None:
    monkeypatch.setattr(big_range, "GATHERED_CALL", 1 << 20)
    reader = Reader()
    reader.ask(path)
    assert len(reader.left()) == 2
    ends(reader)
    assert reader.left() == []
    assert reader.connection.unsent == reader.gathered.total == 0


def test_a_deadline_lets_an_answer_go_though_the_client_still_does_not_read(monkeypatch) -> None:
    monkeypatch.setattr(big_range, "GATHERED_CALL", 1 << 20)
    reader = Reader()
    reader.ask(RANGE)
    reader.watched[0]().expire()
    assert reader.left() == ["Call"], "the end of the call waits behind what was sent before"


def test_a_paused_answer_keeps_no_slice(monkeypatch) -> None:
    monkeypatch.setattr(big_range, "GATHERED_CALL", 1 << 20)
    reader = Reader()
    reader.ask(RANGE)
    held = [each for each in vars(reader.watched[1]()).values() if hasattr(each, "kvs")]
    assert held == []
