"""Messages that the sender compressed: one whole gzip member each, or none at all."""

from __future__ import annotations

import gzip
import random

import pytest

from kvstore.errors import Code, EtcdError
from kvstore.wire.grpc.messages import PREFIX, MessageReader

BODY = random.Random(1).randbytes(1_000)
PACKED = gzip.compress(BODY)


def read(packed: bytes, limit: int = 2_000) -> list[bytes]:
    return MessageReader(limit, True).feed(PREFIX.pack(1, len(packed)) + packed)


def test_a_whole_member():
    assert read(PACKED) == [BODY]
    assert read(gzip.compress(b"")) == [b""]


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        PACKED[:-300],
        PACKED[:-8],
        PACKED[:-1],
        PACKED[:-8] + bytes(8),
        PACKED + b"garbage",
        PACKED + b"\0",
        # Go's reader takes members one after the other for one; no client sends that.
        gzip.compress(b"a") + gzip.compress(b"b"),
    ],
    ids=["nothing", "cut", "no trailer", "an octet short", "wrong sum", "garbage", "a zero", "two members"],
)
def test_what_is_cut_off_or_goes_on_is_refused(packed):
    with pytest.raises(EtcdError, match=r"^grpc: failed to decompress the received message: ") as caught:
        read(packed)
    assert caught.value.code == Code.INTERNAL


def test_a_bomb_is_too_large():
    with pytest.raises(EtcdError, match=r"larger than max \(2001 vs\. 2000\)"):
        read(gzip.compress(bytes(1 << 20)))
