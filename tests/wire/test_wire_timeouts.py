"""Timeouts read from a header block by the short way are what HPACK and gRPC say they are."""

from __future__ import annotations

import hpack
import pytest
from harness.plan import examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kvstore.wire.grpc.metadata import parse_timeout
from kvstore.wire.grpc.timeouts import seconds

NAME = b"grpc-timeout"
values = st.builds(
    lambda number, unit: f"{number}{unit}".encode(), st.integers(0, 10**8 - 1), st.sampled_from("HMSmun")
)
padded = st.builds(
    lambda digits, unit: (digits + unit).encode(), st.text("0123456789", max_size=10), st.sampled_from("HMSmun")
)
pieces = st.binary(min_size=1, max_size=12)


def literal_of(value: bytes, huffman: bool) -> bytes:
    """The value's string literal, cut out of a block."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    encoder.table_size_changes.clear()
    block: bytes = encoder.encode([(NAME, value)], huffman=huffman)
    name = 1 + 1 + (block[1] & 0x7F)
    return block[name:]


def said_by_hpack(literal: bytes) -> float | None:
    """None: it is no string, or no timeout."""
    block = b"\x00\x0cgrpc-timeout" + literal
    try:
        ((_, value),) = hpack.Decoder().decode(block, raw=True)
        return parse_timeout(bytes(value))
    except (hpack.HPACKError, ValueError):
        return None


@settings(max_examples=examples(500), deadline=None)
@given(values | padded, st.booleans())
@example(b"99999999H", True)
@example(b"00000000M", True)
@example(b"3333333S", True)
@example(b"123456789u", True)
@example(b"u", True)
def test_every_timeout(value: bytes, huffman: bool) -> None:
    literal = literal_of(value, huffman)
    expected = said_by_hpack(literal)
    assert seconds(literal) == pytest.approx(expected, rel=1e-12) if expected is not None else seconds(literal) is None


@pytest.mark.parametrize("value", [b"5S", b"4990m", b"4999877u", b"4999999u", b"99999999n", b"1H", b"86400000m"])
def test_those_in_use_need_no_decoder(value: bytes) -> None:
    for huffman in (True, False):
        assert seconds(literal_of(value, huffman)) == pytest.approx(parse_timeout(value), rel=1e-12)


@settings(max_examples=examples(1000), deadline=None)
@given(st.booleans(), pieces)
def test_octets_that_are_no_timeout_are_left_to_the_decoder(huffman: bool, octets: bytes) -> None:
    literal = bytes([len(octets) | (0x80 if huffman else 0)]) + octets
    found = seconds(literal)
    assert found is None or found == pytest.approx(said_by_hpack(literal), rel=1e-12)


@settings(max_examples=examples(500), deadline=None)
@given(values, st.integers(0, 70), st.booleans())
def test_a_flipped_bit_never_makes_another_answer_than_hpacks(value: bytes, bit: int, short: bool) -> None:
    literal = literal_of(value, True)
    octets = bytearray(literal[1:])
    octets[(bit // 8) % len(octets)] ^= 0x80 >> bit % 8
    if short:
        octets = octets[:-1] or octets
    changed = bytes([0x80 | len(octets)]) + bytes(octets)
    found = seconds(changed)
    assert found is None or found == pytest.approx(said_by_hpack(changed), rel=1e-12)
