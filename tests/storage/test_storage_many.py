"""Values of many keys at once: the same as one by one, and no more of them than asked for."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from kvstore.invariant import InvariantViolation
from kvstore.storage import Backend, many
from kvstore.storage.table import Table


def filled(backend: Backend, sizes: list[int]) -> tuple[Table, list[bytes]]:
    """A table of values of these sizes, and its keys."""
    table = backend.table("t")
    keys = [b"%06d" % number for number in range(len(sizes))]
    for number, (key, size) in enumerate(zip(keys, sizes, strict=True)):
        table.put(key, bytes((number & 0xFF,)) * size)
    return table, keys


def up_to(values: list[bytes], most: int) -> list[bytes]:
    """The first of them that are `most` octets."""
    found: list[bytes] = []
    for value in values:
        if sum(map(len, found)) < most:
            found.append(value)
    return found


@pytest.mark.parametrize("few_large", [1 << 30, -1])
def test_they_are_those_that_get_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_large: int) -> None:
    monkeypatch.setattr(many, "_FEW_LARGE", few_large)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    backend = Backend.open(tmp_path)
    table, keys = filled(backend, [rng.choice((0, 5, 300, 5000)) for _ in range(1500)])
    for _ in range(150):
        start = rng.randrange(len(keys))
        wanted = keys[start : start + rng.choice((1, 7, 8, 9, 200, 700))]
        match rng.randrange(4):
            case 0:
                rng.shuffle(wanted)
            case 1:
                wanted = wanted[::-1]
            case 2:
                wanted = [key for key in wanted if rng.random() < 0.9]
        most = rng.choice((1, 400, 20_000, 1 << 40))
        table.put(rng.choice(keys), b"now %d" % rng.randrange(1 << 60))  # some are in the buffer still
        assert table.get_many(wanted, most) == up_to([table.get(key) or b"" for key in wanted], most)
    backend.close()


def test_of_large_values_only_few_are_read_beyond_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    group = many._group

    def counted(cursor: object, keys: list[bytes]) -> list[bytes]:
        read.append(len(keys))
        return group(cursor, keys)

    monkeypatch.setattr(many, "_group", counted)
    backend = Backend.open(tmp_path)
    table, keys = filled(backend, [100_000] * 200)
    assert len(table.get_many(keys, 1 << 20)) == 11
    assert sum(read) <= 2 * 11
    read.clear()
    assert len(table.get_many(keys, 1)) == 1
    assert read == [1]
    backend.close()


def test_a_key_that_is_not_there_is_a_broken_invariant(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path)
    table, keys = filled(backend, [10] * 30)
    table.delete(keys[20])
    for wanted in (keys, keys[::-1], [keys[20]]):
        with pytest.raises(InvariantViolation):
            table.get_many(wanted, 1 << 30)
    assert table.get_many([], 1) == []
    backend.close()
