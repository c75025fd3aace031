"""Messages of an open stream: the short way of one frame that holds one message, and the long one, are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_peer import ECHO, EchoStream, RawPeer, data, message, request_fields

from kvstore.wire.grpc.methods import Method
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits


def opened(peer: RawPeer, path: str = ECHO) -> RawPeer:
    peer.send(peer.headers(1, request_fields(path)))
    return peer


def told(peer: RawPeer) -> list[bytes]:
    return [event[1] for event in peer.log if event[0] == "message"]


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(0, 2**20))
def test_any_cut_gives_the_same(bodies: list[bytes], cut: int) -> None:
    """Whole frames, several messages a frame, or frames that end in the middle of one."""
    wire = b"".join(map(message, bodies))
    at = cut % (len(wire) + 1)
    whole, pieces = opened(RawPeer()), opened(RawPeer())
    answers = [whole.bodies(whole.send(b"".join(data(1, message(body)) for body in bodies)))]
    answers.append(pieces.bodies(pieces.send(data(1, wire[:at]) + data(1, wire[at:]), step=1)))
    assert answers == [wire, wire]
    assert told(whole) == told(pieces) == bodies


def test_the_window_is_given_back_the_short_way_too() -> None:
    peer = opened(RawPeer(Limits(stream_window=65_535, keepalive_interval=0)))
    updates = 0
    for _ in range(40):
        for frame in peer.send(data(1, message(bytes(8_000)))):
            if frame.kind == FrameType.WINDOW_UPDATE and frame.stream_id == 1:
                updates += int.from_bytes(frame.payload, "big")
        peer.send(frames.window_update(1, 8_005) + frames.window_update(0, 8_005))
    assert len(told(peer)) == 40
    assert 40 * 8_005 - 65_535 <= updates <= 40 * 8_005


def test_who_is_paused_gets_no_window_and_may_not_overrun_it() -> None:
    peer = opened(RawPeer(Limits(stream_window=65_535, keepalive_interval=0)))
    (_, call), *_ = [event for event in peer.log if event[0] == "open"]
    call.pause()
    answer = peer.send(data(1, message(bytes(16_000))) * 4)
    assert not [f for f in answer if f.kind == FrameType.WINDOW_UPDATE and f.stream_id == 1]
    assert peer.resets(peer.send(data(1, message(bytes(16_000))))) == {1: 3}, "FLOW_CONTROL_ERROR"


def test_a_message_after_half_close_is_refused() -> None:
    peer = opened(RawPeer())
    peer.methods.add(Method("/test/Silent", None, lambda call: Silent(call, peer.log)))
    peer.send(peer.headers(3, request_fields("/test/Silent")) + data(3, b"", end=True))
    assert peer.resets(peer.send(data(3, message(b"late")))) == {3: 5}, "STREAM_CLOSED"


class Silent(EchoStream):
    """Answers nothing, ever."""

    def half_close(self) -> None:
        pass


class Breaks(EchoStream):
    def message(self, data: bytes) -> None:
        raise RuntimeError("a bug")


@pytest.mark.parametrize("step", [0, 1])
def test_a_listener_that_raises_ends_the_call(step: int) -> None:
    peer = RawPeer()
    peer.methods.add(Method("/test/Breaks", None, lambda call: Breaks(call, peer.log)))
    opened(peer, "/test/Breaks")
    answer = peer.send(data(1, message(b"x")), step=step)
    assert peer.status(answer) == (2, "RuntimeError: a bug")
    assert peer.log[-1] == ("closed",)
