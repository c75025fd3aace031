"""bbolt files: what is written is read, by bbolt too; a damaged file ends in an error or in pairs, never in a hang."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from pathlib import Path

import pytest
from harness.backup import run_tool
from harness.plan import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvstore.invariant import InvariantViolation
from kvstore.storage.bolt import BoltDamaged, BoltFile, BoltWriter
from kvstore.storage.bolt.format import BUCKET, LEAF, LEAF_ELEMENT, PAGE, Meta, encode_meta

Pairs = dict[bytes, bytes]


def write(path: Path, buckets: dict[bytes, Pairs]) -> Path:
    """A file of these buckets."""
    with path.open("wb") as file:
        writer = BoltWriter(file)
        for name in sorted(buckets):
            writer.bucket(name, sorted(buckets[name].items()))
        assert writer.finish() == path.stat().st_size
    return path


def read(path: Path) -> dict[bytes, Pairs]:
    """All of a file."""
    with BoltFile(path) as bolt:
        return {name: dict(bolt.bucket(name)) for name in bolt.buckets()}


def draw_pairs(rng: random.Random, count: int, sizes: Iterable[int]) -> Pairs:
    """That many pairs, with values of these sizes."""
    choices = list(sizes)
    return {rng.randbytes(rng.choice([1, 8, 17, 200])): rng.randbytes(rng.choice(choices)) for _ in range(count)}


@pytest.mark.parametrize("count", [0, 1, 2, 100, 5_000, 60_000])
def test_bbolt_reads_what_is_written(count: int, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    sizes = (0, 10, 100, 5000, 70_000) if count <= 100 else (0, 3, 40)
    buckets = {b"a": draw_pairs(rng, count, sizes), b"empty": {}, b"meta": {b"k": b"v"}}
    path = write(tmp_path / "x.db", buckets)
    assert read(path) == buckets
    theirs = run_tool("etcd-3.5", "status", str(path))  # runs bbolt's own check of every page
    assert theirs.code == 0, theirs.stderr
    assert theirs.stdout == run_tool("fluyt", "status", str(path)).stdout


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    buckets=st.dictionaries(
        st.binary(min_size=1, max_size=30),
        st.dictionaries(st.binary(min_size=1, max_size=3000), st.binary(max_size=9000), max_size=20),
        max_size=6,
    )
)
def test_any_content_comes_back(buckets: dict[bytes, Pairs], tmp_path: Path) -> None:
    assert read(write(tmp_path / "x.db", buckets)) == buckets


def test_long_keys_make_tall_trees(tmp_path: Path) -> None:
    pairs = {b"%06d" % n + b"k" * 3000: b"v" for n in range(600)}
    path = write(tmp_path / "x.db", {b"a": pairs})
    assert read(path) == {b"a": pairs}
    assert run_tool("etcd-3.5", "status", str(path)).code == 0


@pytest.mark.parametrize("keys", [[b"b", b"a"], [b"a", b"a"], [b""]])
def test_the_writer_refuses_keys_out_of_order(keys: list[bytes]) -> None:
    with pytest.raises(InvariantViolation):
        BoltWriter(io.BytesIO()).bucket(b"x", [(key, b"") for key in keys])


def test_an_unfinished_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with path.open("wb") as file:
        BoltWriter(file).bucket(b"a", [(b"k", b"v")])
    with pytest.raises(BoltDamaged, match="neither meta page"):
        read(path)


def test_one_damaged_meta_page_is_survived(tmp_path: Path) -> None:
    buckets = {b"a": {b"k": b"v"}}
    path = write(tmp_path / "x.db", buckets)
    data = bytearray(path.read_bytes())
    data[20] ^= 0xFF
    path.write_bytes(data)
    assert read(path) == buckets


def test_every_cut_is_noticed(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    data = write(tmp_path / "x.db", {b"a": draw_pairs(rng, 500, (100,))}).read_bytes()
    path = tmp_path / "cut.db"
    for size in [0, 1, 79, 4096, 8192, len(data) - 1, *(rng.randrange(len(data)) for _ in range(50))]:
        path.write_bytes(data[:size])
        with pytest.raises(BoltDamaged):
            read(path)


def test_flipped_bits_end_in_an_error_or_in_pairs(tmp_path: Path, seed: int) -> None:
    """No exception but BoltDamaged, no endless walk."""
    rng = random.Random(seed)
    data = write(tmp_path / "x.db", {b"a": draw_pairs(rng, 800, (50,)), b"b": {b"k": b"v" * 9000}}).read_bytes()
    path = tmp_path / "flipped.db"
    noticed = 0
    for _ in range(400):
        changed = bytearray(data)
        page = rng.randrange(len(data) // 4096)
        for _ in range(rng.choice([1, 3])):  # in the page's head, where it hurts
            changed[page * 4096 + rng.randrange(160)] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        try:
            read(path)
        except BoltDamaged:
            noticed += 1
    assert noticed > 100


def test_pages_that_point_in_a_circle(tmp_path: Path) -> None:
    pairs = {b"%05d" % n: b"v" * 100 for n in range(500)}
    data = bytearray(write(tmp_path / "x.db", {b"a": pairs}).read_bytes())
    branch = next(n for n in range(3, len(data) // 4096) if PAGE.unpack_from(data, n * 4096)[1] == 1)
    data[branch * 4096 + PAGE.size + 8 : branch * 4096 + PAGE.size + 16] = branch.to_bytes(8, "little")
    path = tmp_path / "circle.db"
    path.write_bytes(data)
    with pytest.raises(BoltDamaged, match="pointed at twice"):
        read(path)


def test_inline_buckets_are_read(tmp_path: Path) -> None:
    """Small buckets, as bbolt itself writes them, stand inside the root bucket."""
    inline = PAGE.pack(0, LEAF, 1, 0) + LEAF_ELEMENT.pack(0, LEAF_ELEMENT.size, 1, 1) + b"kv"
    value = BUCKET.pack(0, 0) + inline
    root = PAGE.pack(3, LEAF, 1, 0) + LEAF_ELEMENT.pack(1, LEAF_ELEMENT.size, 4, len(value)) + b"name" + value
    meta = Meta(4096, 3, 2, 4, 1)
    path = tmp_path / "x.db"
    path.write_bytes(encode_meta(0, meta) + encode_meta(1, meta) + bytes(4096) + root.ljust(4096, b"\0"))
    assert read(path) == {b"name": {b"k": b"v"}}
