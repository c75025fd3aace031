"""Frames that come in one read have the result that they have one by one, and the one they have by the general way."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from wire_peer import LATER, PUT, Frame, RawPeer, data, message, request_fields

from kvstore.wire.grpc.methods import Method
from kvstore.wire.grpc.replies import reply_all
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType

BOTH = "/test.Store/Both"


class Peer(RawPeer):
    """One with a method whose calls are served together; `general`: without the short way."""

    def __init__(self, *, general: bool = False) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.methods.add(Method(BOTH, self._both, None, self._together))
        # Small windows are given back often.
        self.connection.recv_left, self.connection._recv_low = 2_000, 1_000
        if general:
            self.connection._burst = lambda octets, at, end: at  # type: ignore[method-assign]

    def _both(self, call: Any, body: bytes) -> None:
        self.log.append(("both", body))
        self.calls.append(call)

    def _together(self, calls: Any, bodies: Any) -> bool:
        if any(body.startswith(b"odd") for body in bodies):
            return False
        self.sizes.append(len(calls))
        for call, body in zip(calls, bodies, strict=True):
            self._both(call, body)
        return True


def wire(chance: random.Random) -> list[bytes]:
    """Frames of a client that is mostly sane: runs of HEADERS, runs of DATA, and what comes between."""
    encoder = RawPeer()
    stream = 1
    waiting: list[int] = []
    ended: list[int] = []
    sent: list[bytes] = []
    for _ in range(30):
        act = chance.choice(
            ["open", "open", "open", "end", "end", "end", "cut", "again", "reset", "ping", "late", "long"]
        )
        if act == "open":
            extra = chance.choice([{}, {}, {}, {"content_length": "8"}, {"grpc_timeout": "5S"}, {"a": "1"}, {"a": "2"}])
            fields = request_fields(chance.choice([BOTH, BOTH, PUT, LATER]), **extra)
            for _ in range(chance.randint(1, 6)):
                sent.append(encoder.headers(stream, fields))
                waiting.append(stream)
                stream += chance.choice([2] * 9 + [4])
        elif act == "ping":
            sent.append(frames.ping(b"12345678"))
        elif act == "end":
            body = chance.choice([b"abc", b"abc", b"odd", b"abcd", b"x" * 60, b""])
            for _ in range(min(len(waiting), chance.randint(1, 8))):
                number = waiting.pop(chance.choice([0, 0, 0, -1]))
                sent.append(data(number, message(body), end=True))
                ended.append(number)
        elif act == "cut" and waiting:
            number = waiting.pop(0)
            whole = message(b"abc")
            sent += [data(number, whole[:4]), data(number, whole[4:], end=True)]
        elif act == "late" and waiting:
            number = waiting.pop(0)
            sent += [data(number, message(b"abc")), data(number, b"", end=True)]
        elif act == "long" and waiting:
            sent.append(data(waiting.pop(0), chance.choice([b"\0\0\0\0\3abde", b"\1\0\0\0\3abc"]), end=True))
        elif act == "again" and ended and chance.random() < 0.3:
            sent.append(data(chance.choice(ended), message(b"abc"), end=True))
        elif act == "reset" and waiting:
            sent.append(frames.rst_stream(waiting.pop(0), 8))
    return sent


def outcome(peer: Peer, pieces: list[bytes]) -> tuple[Any, ...]:
    """What the handlers saw, and every stream's answers in order."""
    answers: dict[int, list[Frame]] = defaultdict(list)
    for piece in pieces:
        for frame in peer.send(piece):
            answers[frame.stream_id].append(frame)
    connection = peer.connection
    streams = list(connection.streams), connection.last_stream, connection._skipped
    reply_all((call, b"m" * (at % 5)) for at, call in enumerate(peer.calls))
    for frame in peer.take():
        answers[frame.stream_id].append(frame)
    given = sum(int.from_bytes(f.payload, "big") for f in answers[0] if f.kind == FrameType.WINDOW_UPDATE)
    rest = [frame for frame in answers.pop(0) if frame.kind != FrameType.WINDOW_UPDATE]
    counted = [(m.path, m.started, m.handled) for m in peer.methods.by_path.values()]
    windows = given - 2_000 + connection.recv_left, connection.send_window
    return peer.log, dict(answers), rest, counted, windows, streams, str(connection.failed), len(peer.deadlines)


@pytest.mark.parametrize("seed", range(60))
def test_one_read_or_many(seed: int) -> None:
    sent = wire(random.Random(seed))
    once = outcome(Peer(), [b"".join(sent)])
    assert once == outcome(Peer(), sent)
    assert once == outcome(Peer(general=True), sent)


def test_calls_that_came_together_are_served_together() -> None:
    peer = Peer()
    streams = range(1, 21, 2)
    asked = b"".join(peer.headers(stream, request_fields(BOTH)) for stream in streams)
    peer.send(asked + b"".join(data(stream, message(b"abc"), end=True) for stream in streams))
    assert peer.sizes == [10]


def test_the_limit_of_streams_holds_within_a_read() -> None:
    peer = Peer()
    most = peer.connection.limits.max_concurrent_streams
    streams = range(1, 2 * most + 5, 2)
    refused = peer.resets(peer.send(b"".join(peer.headers(stream, request_fields(BOTH)) for stream in streams)))
    assert refused == {streams[-2]: 7, streams[-1]: 7}
    assert len(peer.connection.streams) == most


def test_nothing_above_the_last_stream_of_a_goodbye_is_opened_within_a_read() -> None:
    peer = Peer()
    peer.send(peer.headers(1, request_fields(BOTH)))
    peer.connection.leave()
    peer.connection._accept_until = 5
    peer.send(b"".join(peer.headers(stream, request_fields(BOTH)) for stream in (3, 5, 7, 9)))
    assert list(peer.connection.streams) == [1, 3, 5]
