"""The benchmark's unary calls: each answer counts once, however the octets come; what is no answer is an error."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from socket import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import feed, served
from support.bench.load import frames
from support.bench.load.answers import Answers
from support.bench.load.calls import Caller

OTHERS = [frames.frame(frames.PING, 0, 0, b"12345678"), frames.frame(frames.WINDOW, 0, 0, b"\0\0\1\0")]
FIRST, LAST = b"\x88\x5f\x01a", b"\x40\x01s\x010"
CALLS = 40
# Of the messages.
LENGTHS = [0, 7, 7, 7, 300, 301, 9, 10, 11, 12, 20_000]


def answer(stream: int, length: int = 7, first: bytes = FIRST, last: bytes = LAST) -> list[bytes]:
    """Its frames; a message above a frame's length has several."""
    head = frames.frame(frames.HEADERS, frames.END_HEADERS, stream, first)
    tail = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream, last)
    return [head, frames.data(stream, b"x" * length, last=False), tail]


def caller(streams: int = CALLS) -> AbstractContextManager[tuple[Caller, socket]]:
    """Which asks for CALLS, so many at once."""
    return served(lambda endpoint: Caller(endpoint, [("/test/Call", b"")] * CALLS, streams))


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 1 << 20), max_size=12))
def test_each_answer_counts_once(chance: random.Random, cuts: list[int]) -> None:
    """Whole ones in any order, some whose frames lie between those of others, and what servers say besides."""
    with caller() as (link, server):
        parts: list[bytes] = []
        torn: list[list[bytes]] = []
        for number in chance.sample(range(CALLS), CALLS):
            block = FIRST if chance.random() < 0.9 else b"\x88"
            made = answer(2 * number + 1, chance.choice(LENGTHS), block)
            if chance.random() < 0.2:
                torn.append(made)
            else:
                parts.append(b"".join(made))
            if chance.random() < 0.1:
                parts.append(chance.choice(OTHERS))
        for made in torn:
            at = sorted(chance.randrange(len(parts) + 1) for _ in made)
            for place, piece in zip(reversed(at), reversed(made), strict=True):
                parts.insert(place, piece)
        feed(link, server, b"".join(parts), cuts)
        assert len(link.ends) == len(link.took) == CALLS
        assert min(link.took) >= 0
        assert link.ends == sorted(link.ends)
        assert link.done


def test_whole_answers_are_cut_out_of_a_read() -> None:
    answers = Answers()
    whole = b"".join(b"".join(answer(stream, length)) for stream, length in ((1, 7), (3, 7), (5, 9)))
    assert answers.cut_out(whole) == ([], whole), "nothing is known yet"
    answers.learn(whole)
    streams, rest = answers.cut_out(whole)
    assert (streams, rest) == ([b"\0\0\0\1", b"\0\0\0\3"], b"".join(answer(5, 9)))
    answers.learn(rest)
    torn = answer(9)
    assert answers.cut_out(torn[0] + whole + torn[1]) == ([bytes([0, 0, 0, n]) for n in (1, 3, 5)], torn[0] + torn[1])
    other = b"".join(answer(7)[:2] + answer(9)[2:])
    assert answers.cut_out(other) == ([], other), "of two streams"
    refused = b"".join(answer(7, last=b"\x40\x01s\x015"))
    assert answers.cut_out(refused) == ([], refused), "another status"


def test_a_slot_that_is_free_is_used() -> None:
    with caller(streams=4) as (link, server):
        for begun in range(0, CALLS, 4):
            assert not link.done
            octets = b"".join(b"".join(answer(2 * n + 1)) for n in range(begun, begun + 4))
            feed(link, server, octets, [])
            assert len(link.ends) == begun + 4
        assert link.done


@pytest.mark.parametrize("known", [False, True])
def test_a_refusal_is_an_error(known: bool) -> None:
    with caller() as (link, server):
        if known:
            feed(link, server, b"".join(answer(1)), [])
        only = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 3, LAST)
        with pytest.raises(RuntimeError, match="refused"):
            feed(link, server, b"".join(answer(5)) + only, [])
