"""Messages that come again: the short way of what is remembered, and the general way, are the same to the client."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_peer import ECHO, EchoStream, Frame, RawPeer, data, message, request_fields

from kvstore.errors import error
from kvstore.wire.grpc.call import Call
from kvstore.wire.grpc.methods import Method
from kvstore.wire.grpc.repeats import Repeat, forget, put_answers, remember
from kvstore.wire.h2 import frames
from kvstore.wire.h2.frames import FrameType
from kvstore.wire.limits import Limits

AGAIN = "/test.Store/Again"
LIMITS = Limits(stream_window=65_535, keepalive_interval=0)
# Of a run, what takes the general way after all; and ends the call there.
ODD, BAD = b"odd", b"bad"


class AgainStream(EchoStream):
    """Sends every message back, and remembers it."""

    def message(self, data: bytes) -> None:
        super().message(data)
        if data == BAD:
            raise error("COMPACTED")
        remember(Repeat(self.call, data, self.log, serve))


def serve(run: Sequence[Repeat]) -> None:
    quick = next((at for at, repeat in enumerate(run) if repeat.message == ODD), len(run))
    for repeat in run[:quick]:
        repeat.note.append(("again", repeat.message))
        repeat.answer_with(repeat.message)
    put_answers(run[0].call.connection, run[:quick])
    for repeat in run[quick:]:
        repeat.call.serve_again(repeat.message)


def opened(path: str, streams: int = 2) -> RawPeer:
    peer = RawPeer(LIMITS)
    peer.methods.add(Method(AGAIN, None, lambda call: AgainStream(call, peer.log)))
    for number in range(streams):
        peer.send(peer.headers(2 * number + 1, request_fields(path)))
    return peer


def again(peer: RawPeer) -> list[bytes]:
    return [event[1] for event in peer.log if event[0] == "again"]


def calls(peer: RawPeer) -> list[Call]:
    return [event[1] for event in peer.log if event[0] == "open"]


def seen(answer: list[Frame]) -> dict[int, tuple[bytes, list[tuple[int, int]]]]:
    """What each stream was sent: its octets, and its other frames' kinds and flags."""
    found: dict[int, tuple[bytes, list[tuple[int, int]]]] = {}
    for frame in answer:
        octets, others = found.get(frame.stream_id, (b"", []))
        if frame.kind == FrameType.DATA:
            octets += frame.payload
        elif frame.kind != FrameType.WINDOW_UPDATE:
            others = [*others, (frame.kind, frame.flags)]
        found[frame.stream_id] = octets, others
    return {stream: sent for stream, sent in found.items() if stream and any(sent)}


STREAMS = st.sampled_from((1, 3))
BODIES = st.sampled_from((b"", b"one", b"two", b"three", ODD, bytes(9_000)))
STEPS = st.one_of(
    st.tuples(st.just("say"), STREAMS, BODIES),
    st.tuples(st.just("half"), STREAMS, BODIES),
    st.tuples(st.just("piece"), STREAMS, BODIES),
    st.tuples(st.just("window"), st.sampled_from((0, 1, 3)), st.integers(1, 20_000)),
    st.tuples(st.just("end"), STREAMS, st.just(b"")),
    st.tuples(st.just("bad"), STREAMS, st.just(b"")),
)


def octets(step: tuple[str, int, bytes | int]) -> bytes:
    """On the wire: half and piece are a message in two frames, and one that the next frame may not follow."""
    kind, stream, what = step
    if isinstance(what, int):
        return frames.window_update(stream, what)
    whole = message(what)
    if kind == "half":
        return data(stream, whole[:3]) + data(stream, whole[3:])
    if kind == "piece":
        return data(stream, whole + message(b"behind"))
    return {"say": data(stream, whole), "end": data(stream, b"", end=True), "bad": data(stream, message(BAD))}[kind]


@given(st.lists(st.lists(STEPS, max_size=8), max_size=8))
def test_whatever_comes_gives_the_same(reads: list[list[tuple[str, int, bytes | int]]]) -> None:
    quick, plain = opened(AGAIN), opened(AGAIN)
    # The one that remembers nothing: what is looked up there is never found.
    plain.connection.repeats = Forgetful()
    answers = []
    for peer in (quick, plain):
        sent: list[Frame] = []
        for read in reads:
            sent += peer.send(b"".join(map(octets, read)))
        answers.append((seen(sent), peer.connection.unsent, peer.connection.send_window, peer.connection.recv_left))
    assert answers[0] == answers[1]
    assert not again(plain)
    left = {frame for call in calls(quick) for frame in call.repeats or ()}
    assert left == set(quick.connection.repeats), "what is remembered belongs to an open call"


class Forgetful(dict[bytes, Repeat]):
    def __setitem__(self, frame: bytes, repeat: Repeat) -> None:
        pass


def test_all_of_a_read_are_served_and_answered_together() -> None:
    peer = opened(AGAIN)
    first = b"".join(data(stream, message(body)) for stream in (1, 3) for body in (b"one", b"two"))
    peer.send(first)
    assert again(peer) == []
    runs = []
    for repeat in peer.connection.repeats.values():
        repeat.serve = lambda run: (runs.append(list(run)), serve(run))
    answer = peer.send(first * 2)
    assert [len(run) for run in runs] == [8]
    assert b"".join(peer.bodies(answer, stream) for stream in (1, 3)) == (message(b"one") + message(b"two")) * 4
    assert again(peer) == [b"one", b"two"] * 4


def test_what_a_window_holds_back_follows_when_it_opens() -> None:
    peer = opened(AGAIN, 1)
    body = bytes(5_000)
    peer.send(data(1, message(body)))
    answer = peer.send(data(1, message(body)) * 13)
    sent = len(peer.bodies(answer)) + 5_005
    assert sent == 65_535, "all that the client's window allows"
    assert peer.connection.unsent == 14 * 5_005 - sent
    rest = peer.send(frames.window_update(0, 20_000) + frames.window_update(1, 20_000))
    assert sent + len(peer.bodies(rest)) == 14 * 5_005


def test_the_window_is_given_back() -> None:
    peer = opened(AGAIN, 1)
    updates = 0
    for _ in range(40):
        for frame in peer.send(data(1, message(bytes(8_000)))):
            if frame.kind == FrameType.WINDOW_UPDATE and frame.stream_id == 1:
                updates += int.from_bytes(frame.payload, "big")
        peer.send(frames.window_update(1, 8_005) + frames.window_update(0, 8_005))
    assert len(again(peer)) >= 20
    assert 40 * 8_005 - 65_535 <= updates <= 40 * 8_005


@pytest.mark.parametrize("how", ["end", "reset", "fail", "forget", "lost"])
def test_nothing_is_remembered_of_a_call_that_ended(how: str) -> None:
    peer = opened(AGAIN)
    for stream in (1, 3):
        peer.send(data(stream, message(b"one")))
    first = calls(peer)[0]
    if how == "end":
        peer.send(data(1, b"", end=True))
    elif how == "reset":
        peer.send(frames.rst_stream(1, 8))
    elif how == "fail":
        first.fail(5, "gone")
    elif how == "forget":
        forget(first)
    else:
        peer.connection.lost("away")
    assert {repeat.call.stream_id for repeat in peer.connection.repeats.values()} == (set() if how == "lost" else {3})
    assert not remember(Repeat(first, b"two", peer.log, serve)) or how == "forget"


def test_one_handler_a_connection() -> None:
    peer = opened(AGAIN)
    peer.send(data(1, message(b"one")))
    other = calls(peer)[1]
    assert not remember(Repeat(other, b"two", peer.log, lambda run: None))
    assert remember(Repeat(other, b"two", peer.log, serve))
    assert not remember(Repeat(other, b"two", peer.log, serve)), "it is already"


def test_streams_that_remember_nothing_are_as_they_were() -> None:
    peer = opened(ECHO)
    assert peer.bodies(peer.send(data(1, message(b"one")) * 3)) == message(b"one") * 3
    assert not peer.connection.repeats
