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


def numbered(backend: Backend, rng: random.Random) -> tuple[Table, list[int]]:
    """A table whose keys are numbers of 12 bytes, some of them in long steady runs, and all of them in order."""
    table = backend.table("n")
    numbers: list[int] = []
    for step in (1, 1 << 32, 1, 7, 1 << 32, 1):
        start = (numbers[-1] if numbers else 0) + (1 << 33)
        numbers += range(start, start + step * rng.choice((3, 30, 200)), step)
        numbers += [numbers[-1] + rng.randrange(1, 9)]
    for number in numbers:
        table.append(number.to_bytes(12, "big"), rng.randbytes(rng.choice((0, 1, 40))))
    return table, numbers


@pytest.mark.parametrize("few_large", [1 << 30, -1])
def test_numbers_are_keys_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_large: int) -> None:
    monkeypatch.setattr(many, "_FEW_LARGE", few_large)
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    backend = Backend.open(tmp_path)
    table, numbers = numbered(backend, rng)
    for round_ in range(100):
        start = rng.randrange(len(numbers))
        wanted = numbers[start : start + rng.choice((1, 2, 8, 20, 200, 700))]
        match rng.randrange(6):
            case 0:
                rng.shuffle(wanted)
            case 1:
                wanted = wanted[::-1]
            case 2:
                wanted = [number for number in wanted if rng.random() < 0.9]
            case 3:
                wanted = wanted[::2]  # steady, and no neighbours
            case 4:
                one, other = rng.randrange(len(wanted)), rng.randrange(len(wanted))
                wanted[one], wanted[other] = wanted[other], wanted[one]  # steady by its ends
            case _:
                pass
        if round_ % 3 == 0:  # the newest one is in the buffer still
            numbers.append(numbers[-1] + 1)
            table.append(numbers[-1].to_bytes(12, "big"), b"new")
            wanted = rng.choice((wanted, [*wanted, numbers[-1]]))
        most = rng.choice((1, 400, 20_000, 1 << 40))
        named = [number.to_bytes(12, "big") for number in wanted]
        assert table.get_numbered(wanted, 12, most) == up_to([table.get(name) or b"" for name in named], most)
    assert table.get_numbered([], 12, 1) == []
    backend.close()


def test_neighbours_in_a_table_are_read_without_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "_group", None)
    backend = Backend.open(tmp_path)
    table = backend.table("n")
    numbers = [*range(100), *range(1000, 1100), *range(500, 600)]
    for number in sorted(numbers):
        table.append(number.to_bytes(12, "big"), b"%d" % number)
    assert table.get_numbered(numbers, 12, 1 << 20) == [b"%d" % number for number in numbers]
    backend.close()


def test_a_number_that_is_not_there_is_a_broken_invariant(tmp_path: Path) -> None:
    backend = Backend.open(tmp_path)
    table = backend.table("n")
    for number in range(300):
        if number not in (20, 270):
            table.append(number.to_bytes(12, "big"), b"x")
    for wanted in (range(100), range(260, 271), range(270, 280), range(290, 310), range(29, 9, -1), range(20, 21)):
        with pytest.raises(InvariantViolation):
            table.get_numbered(list(wanted), 12, 1 << 30)
    backend.close()
