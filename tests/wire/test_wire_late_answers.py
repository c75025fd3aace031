"""Answers to calls that were cancelled meanwhile: any number of them is no fault of the server's."""

from __future__ import annotations

import pytest
from wire_peer import LATER, settings, split

from kvstore.wire.grpc.client_connection import ClientConnection
from kvstore.wire.grpc.status import RESPONSE, TRAILERS_OK
from kvstore.wire.h2 import frames
from kvstore.wire.h2.errors import ErrorCode
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

COUNT = 3_000


class Listener:
    """Notes how its call ended."""

    def __init__(self) -> None:
        self.end: tuple[int, str] | None = None

    def message(self, data: bytes) -> None:
        """Nothing is done with it."""

    def finished(self, code: int, message: str) -> None:
        self.end = (code, message)


def connected(limits: Limits) -> ClientConnection:
    client = ClientConnection(limits, lambda: None, 0.0, authority="x:1")
    client.receive(settings() + frames.frame(4, frames.ACK, 0, b""), 0.0)
    return client


def answer(number: int, body: bytes) -> bytes:
    head = frames.headers(number, RESPONSE, 16_384, end_stream=False)
    return head + frames.frame(0, 0, number, body) + frames.headers(number, TRAILERS_OK, 16_384, end_stream=True)


@pytest.mark.parametrize("size", [6, 10_000])
def test_late_answers_end_nothing_and_give_their_window_back(size):
    client = connected(Limits(connection_window=1_000_000))
    watch = Listener()
    client.open(LATER, (), watch, None)
    calls = [client.open(LATER, (), Listener(), None) for _ in range(COUNT)]
    for call in calls:
        call.cancel()
    client.take_output()
    for call in calls:
        client.receive(answer(call.stream_id, b"\0" * size), 1.0)
        assert client.recv_left >= 400_000
    assert (client.failed, watch.end) == (None, None)
    # Nor is any of it worth another word.
    assert {frame.kind for frame in split(b"".join(client.take_output()))} <= {FrameType.WINDOW_UPDATE}
    assert list(client.streams) == [1]


def test_streams_that_were_never_opened_are_still_a_fault():
    client = connected(Limits())
    client.receive(answer(3, b"x"), 1.0)
    assert client.failed is not None
    assert client.failed.code == ErrorCode.PROTOCOL_ERROR
