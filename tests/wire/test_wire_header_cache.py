"""Remembering header blocks must never change what they mean: whatever a peer sends, hpack alone would say the same."""

from __future__ import annotations

import random

import hpack
import pytest
from harness.plan import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from kvstore.wire.grpc.status import literal
from kvstore.wire.h2.errors import ConnectionFault, ErrorCode
from kvstore.wire.h2.header_cache import HeaderDecoder
from kvstore.wire.h2.hpack_walk import spans

TIMEOUT = b"grpc-timeout"

names = st.sampled_from([":path", ":authority", "user-agent", "token", "x", "te", "grpc-timeout", "content-type"])
values = st.sampled_from(["", "/etcdserverpb.KV/Put", "a", "b", "trailers", "5S", "4999877u", "x" * 130, "\x7f\xff"])
lists = st.lists(st.tuples(names, values), max_size=6)


# (fields, indexing, table size to announce before them or None)
steps = st.lists(
    st.tuples(lists, st.sampled_from(["all", "none", "mixed"]), st.sampled_from([None, None, None, 0, 60, 200, 4096])),
    min_size=1,
    max_size=30,
)


def decoder(**options) -> HeaderDecoder:
    return HeaderDecoder(lambda fields: list(fields), max_list=65_536, volatile=TIMEOUT, **options)


def whole(found) -> list[tuple[bytes, bytes]]:
    made, late = found
    return sorted(made + ([] if late is None else [(TIMEOUT, late)]))


def encode(encoder: hpack.Encoder, fields, indexing: str, chance: random.Random) -> bytes:
    """By the encoder (which indexes), or as literals that enter no table, or a mixture."""
    pieces = []
    for name, value in fields:
        plain = indexing == "none" or (indexing == "mixed" and chance.random() < 0.5)
        raw = (name.encode(), value.encode("latin-1"))
        pieces.append(literal(*raw) if plain else encoder.encode([raw], huffman=chance.random() < 0.5))
    return b"".join(pieces)


@settings(max_examples=examples(300), deadline=None)
@given(steps, st.integers(0, 2**32))
def test_same_as_hpack_for_any_sequence(sequence, seed):
    chance = random.Random(seed)
    encoder, reference, ours = hpack.Encoder(), hpack.Decoder(), decoder()
    sent: list[bytes] = []
    for fields, indexing, size in sequence:
        update = b""
        if size is not None:
            encoder.header_table_size = size
            encoder.table_size_changes.clear()
            update = encoder._encode_table_size_change() or _size_update(size)
        block = update + encode(encoder, fields, indexing, chance)
        # A block whose bytes were seen before may mean something else by now; ask both again.
        sent.append(block)
        for asked in (block, chance.choice(sent)):
            if not agree(reference, ours, asked):
                return


def agree(reference: hpack.Decoder, ours: HeaderDecoder, block: bytes) -> bool:
    """Both say the same. False if both refuse the block, which ends a connection."""
    try:
        expected = sorted((bytes(n), bytes(v)) for n, v in reference.decode(block, raw=True))
    except hpack.HPACKError:
        with pytest.raises(ConnectionFault):
            ours.decode(block)
        return False
    assert whole(ours.decode(block)) == expected
    return True


def _size_update(size: int) -> bytes:
    encoded = hpack.hpack.encode_integer(size, 5)
    encoded[0] |= 0x20
    return bytes(encoded)


@settings(max_examples=examples(200), deadline=None)
@given(lists, lists, st.lists(st.text("0123456789", min_size=1, max_size=8), min_size=1, max_size=8), st.booleans())
def test_only_the_timeout_differs(before, behind, timeouts, huffman):
    """grpc-go's way: the same list each time but for one value, no table."""
    encoder, ours = hpack.Encoder(), decoder()
    encoder.header_table_size = 0
    encoder.table_size_changes.clear()
    ours.decode(b"\x20")
    before = [field for field in before if field[0] != "grpc-timeout"]
    for digits in timeouts:
        fields = [*before, ("grpc-timeout", digits + "u"), *behind]
        raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        block = encoder.encode(raw, huffman=huffman)
        made, late = ours.decode(block)
        assert late == digits.encode() + b"u"
        assert made == [field for at, field in enumerate(raw) if at != len(before)]


def test_timeouts_are_found_without_decoding():
    encoder, ours = hpack.Encoder(), decoder()
    encoder.header_table_size = 0
    base = [(":path", "/a/B"), ("user-agent", "x")]
    # The first one announces the end of the table, the second one is learned.
    for _ in range(2):
        ours.decode(encoder.encode([*base, ("grpc-timeout", "4999877u")]))
    for number in (1, 12, 4_999_001):
        block = encoder.encode([*base, ("grpc-timeout", f"{number}u")])
        made, late = ours.by_shape(block)
        assert late == b"%du" % number
        assert made == [(b":path", b"/a/B"), (b"user-agent", b"x")]


def test_the_value_is_cut_out_as_it_stands():
    """Two shapes in turn, values of any length, and what only looks like one of them."""
    encoder, ours = hpack.Encoder(), decoder()
    encoder.header_table_size = 0
    shapes = ([(":path", "/a/B"), ("user-agent", "x")], [(":path", "/a/C"), ("user-agent", "y" * 40)])
    for fields in (*shapes, *shapes):
        block = encoder.encode([*fields[:1], ("grpc-timeout", "4999877u"), *fields[1:]])
        ours.decode(block)
    for number in range(40):
        path, agent = shapes[number % 3 % 2]
        value = "1" * (number % 13) + "u"
        block = encoder.encode([path, ("grpc-timeout", value), agent])
        made, literal_ = ours.cut(block)
        assert made == [(n.encode(), v.encode()) for n, v in (path, agent)]
        assert literal_[0] & 0x7F == len(literal_) - 1
        assert ours.by_shape(block) == (made, value.encode())
        before, behind = block.index(literal_), len(block) - block.index(literal_) - len(literal_)
        for wrong in (
            block[:before] + block[len(block) - behind :],  # no value at all
            block[: before + 1] + block[len(block) - behind :],  # its length only
            block[:before] + bytes([literal_[0] + 1]) + literal_[1:] + block[len(block) - behind :],
            block[:before] + b"\x7f" + b"1" * 127 + block[len(block) - behind :],  # its length goes on
            block[:-1],
            block[1:],
        ):
            assert ours.cut(wrong) is None
            # And nothing of it confuses what comes after.
            assert ours.cut(block) == (made, literal_)


def test_the_mark_inside_another_value_misleads_nobody():
    """A value that contains the very octets of a grpc-timeout field is still that value."""
    ours = decoder()
    ours.decode(b"\x20")
    evil = literal(TIMEOUT, b"9H")
    honest = literal(b"x", b"1") + literal(TIMEOUT, b"5S")
    assert ours.decode(honest) == ([(b"x", b"1")], b"5S")
    for block_fields in ([(b"x", evil)], [(b"x", b"1"), (b"y", evil)], [(b"x", b"1"), (TIMEOUT, b"1S"), (b"y", evil)]):
        block = b"".join(literal(*field) for field in block_fields)
        reference = sorted((bytes(n), bytes(v)) for n, v in hpack.Decoder().decode(block, raw=True))
        for _ in range(2):
            assert whole(ours.decode(block)) == reference


def test_memory_is_bounded():
    ours = decoder()
    ours.decode(b"\x20")
    for number in range(5_000):
        ours.decode(literal(b"x", b"%d" % number + b"y" * 500) + literal(TIMEOUT, b"1S"))
        ours.decode(literal(b"x", b"%d" % number + b"y" * 500))
    held = sum(map(len, ours.known)) + sum(map(len, ours._shapes))
    assert held <= 64 * 1024
    long = literal(b"x", b"y" * 5_000)
    ours.decode(long)
    assert long not in ours.known


def test_a_changed_table_forgets():
    encoder, ours = hpack.Encoder(), decoder()
    first = encoder.encode([("x", "1")])
    again = encoder.encode([("x", "1")])
    ours.decode(first)
    assert ours.decode(again) == ([(b"x", b"1")], None)
    assert again in ours.known
    ours.decode(encoder.encode([("y", "2")]))
    assert again not in ours.known
    # The same octets now mean the newer entry.
    assert ours.decode(again) == ([(b"y", b"2")], None)


def test_a_larger_table_than_allowed_is_refused():
    ours = decoder()
    ours.allow_table(0)
    with pytest.raises(ConnectionFault) as caught:
        ours.decode(b"\x82")
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


def test_a_long_list_is_refused():
    ours = HeaderDecoder(lambda fields: fields, max_list=1_000)
    with pytest.raises(ConnectionFault) as caught:
        ours.decode(literal(b"x", b"y" * 1_000))
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=200))
def test_garbage_raises_connection_faults_only(block):
    ours = decoder()
    for _ in range(2):
        try:
            ours.decode(block)
        except ConnectionFault as fault:
            assert fault.code in (ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM)  # noqa: PT017
            return


def test_endless_integers_cost_nothing():
    with pytest.raises(ConnectionFault):
        decoder().decode(b"\xff" * 60_000)


@settings(max_examples=examples(200), deadline=None)
@given(lists, st.booleans())
def test_spans_are_the_fields(fields, huffman):
    raw = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    block = hpack.Encoder().encode(raw, huffman=huffman)
    found = list(spans(block))
    assert len(found) == len(raw)
    assert [span.start for span in found] == ([0] + [span.end for span in found])[: len(found)]
    assert not found or found[-1].end == len(block)
