"""Many answers at once are the same octets as one after the other, whatever state the calls are in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from wire_peer import LATER, RawPeer, data, message, request_fields, settings

from kvstore.wire.grpc.replies import reply_all
from kvstore.wire.h2 import frames


def asked(count: int, window: int) -> RawPeer:
    """A peer with calls that wait: one with a deadline, one that was answered, one cancelled, one whose DATA came in
    two frames, the rest plain."""
    peer = RawPeer()
    peer.send(settings(INITIAL_WINDOW_SIZE=window))
    for number in range(count):
        extra = {"grpc_timeout": "5S"} if number == 1 else {}
        stream = 2 * number + 1
        if number == 4:
            fields = request_fields(LATER)
            peer.send(peer.headers(stream, fields) + data(stream, b"") + data(stream, message(b"x"), end=True))
        else:
            peer.call(stream, path=LATER, **extra)
    peer.deadlines.expired(peer.now)  # sorts the deadline in
    peer.calls[2].reply(b"early")
    peer.calls[3].fail(1, "gone")
    peer.take()
    return peer


@pytest.mark.parametrize("window", [65_535, 24, 5])
@pytest.mark.parametrize("held", [False, True])
def test_the_same_as_one_by_one(window: int, held: bool) -> None:
    count = 8
    together, alone = asked(count, window), asked(count, window)
    answers = [b"m" * (12 + number) for number in range(count)]
    for peer in (together, alone):
        if held:
            peer.connection.hold()
    reply_all(zip(together.calls, answers, strict=True))
    for call, answer in zip(alone.calls, answers, strict=True):
        call.reply(answer)
    for peer in (together, alone):
        peer.connection.release()
    assert b"".join(together.connection.take_output()) == b"".join(alone.connection.take_output())
    assert together.connection.send_window == alone.connection.send_window
    assert together.connection.streams.keys() == alone.connection.streams.keys()
    assert together.methods.by_path[LATER.encode()].handled == alone.methods.by_path[LATER.encode()].handled
    assert [call.closed for call in together.calls] == [call.closed for call in alone.calls]
    assert len(together.deadlines) == len(alone.deadlines)


def test_one_that_cannot_be_answered_does_not_keep_the_others_from_it() -> None:
    peer = asked(8, 65_535)
    peer.calls[5].whole = False

    def broken(answer: bytes) -> None:
        raise RuntimeError("odd")

    peer.calls[5].reply = broken
    reply_all((call, b"m") for call in peer.calls)
    assert [call.closed for call in peer.calls] == [True] * 5 + [False] + [True] * 2


def test_at_once_the_answers_of_a_connection_leave_before_more_than_one_of_the_next_is_looked_at() -> None:
    notes: list[str] = []
    peers = {"first": asked(8, 65_535), "second": asked(8, 65_535)}

    def answers() -> Iterator[tuple[Any, bytes]]:
        for name, peer in peers.items():
            peer.connection.flush = lambda name=name: notes.append(f"{name} leaves")
            for call in peer.calls[5:]:
                notes.append(name)
                yield call, b"m"

    wakes = [peer.wakes for peer in peers.values()]
    reply_all(answers(), at_once=True)
    assert notes == ["first"] * 3 + ["second", "first leaves"] + ["second"] * 2 + ["second leaves"]
    assert [peer.wakes for peer in peers.values()] == wakes, "nothing is left to be woken for"


def test_a_read_that_leads_to_no_output_says_so_and_the_answer_wakes() -> None:
    peer = RawPeer()
    peer.send(settings())
    asking = peer.headers(1, request_fields(LATER)) + data(1, message(b"x"), end=True)
    peer.connection.receive(asking, peer.now)
    peer.take()
    again = peer.headers(3, request_fields(LATER)) + data(3, message(b"x"), end=True)
    assert not peer.connection.receive(again, peer.now)
    assert peer.connection.receive(frames.ping(b"12345678"), peer.now)
    peer.take()
    last = peer.headers(5, request_fields(LATER)) + data(5, message(b"x"), end=True)
    assert not peer.connection.receive(last, peer.now)
    wakes = peer.wakes
    peer.calls[-1].reply(b"m")
    assert peer.wakes == wakes + 1
    assert peer.take()
