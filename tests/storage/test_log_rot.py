"""Bytes that change on the disk: refused with the file, the offset and the cure; never cut, never served."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from log_picture import entries, meta, picture

from kvstore.raft.types import HardState
from kvstore.storage import Log, LogDamaged

SEGMENT = 2048


def written(directory: Path) -> Log:
    """Three segments, every record synced before the next one."""
    log = Log.create(directory, metadata=b"m", segment_bytes=SEGMENT, cache_bytes=0)
    for index in range(1, 14):
        log.append(entries(index, 1, size=300), HardState(1, 1, index - 1))
        log.sync()
    log.set_snapshot(meta(3))
    log.sync()
    return log


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def flip(path: Path, offset: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1 << bit
    path.write_bytes(data)


def open_or_refuse(directory: Path, damaged: Path) -> Log | None:
    """The log, or None if it was refused in one line that names the damaged file."""
    message = ""
    try:
        return Log.open(directory)
    except LogDamaged as error:
        message = str(error)
    assert str(damaged) in message
    assert "nothing was changed" in message
    assert "\n" not in message
    return None


def test_a_flipped_bit_anywhere_in_a_closed_log(tmp_path: Path, seed: int) -> None:
    """Refused, or, in the record that says "closed" and the free space behind it, cut with a copy and nothing lost."""
    chance = random.Random(seed)
    directory = tmp_path / "log"
    log = written(directory)
    before = picture(log)
    said = log._segments.live.end
    log.close()
    files = sorted(directory.glob("*.wal"))
    assert len(files) >= 3
    for path in files:
        for offset in range(chance.randrange(9), SEGMENT, 9):
            good = path.read_bytes()
            flip(path, offset, chance.randrange(8))
            damaged = contents(directory)
            opened = open_or_refuse(directory, path)
            if opened is None:
                assert contents(directory) == damaged
            else:
                assert picture(opened) == before
                assert offset >= said or path != files[-1]
                opened._segments.close()
                shutil.rmtree(directory)
                directory.mkdir()
                for name, data in damaged.items():
                    (directory / name).write_bytes(data)
            path.write_bytes(good)


def test_rot_in_the_last_segment_is_told_from_a_torn_write(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=1 << 16)
    places = []
    for index in range(1, 4):
        places.append(log._segments.live.end)
        log.append(entries(index, 1, size=300))
        log.sync()
    log._segments.close()
    path = next(directory.glob("*.wal"))
    good = path.read_bytes()
    # The third record was written when the first was durable, and says so.
    flip(path, places[0] + 100, 1)
    with pytest.raises(
        LogDamaged, match=f"damaged record at offset {places[0]}: .* no torn write; nothing was changed"
    ):
        Log.open(directory)
    path.write_bytes(good)
    # Nothing speaks for the last one: nobody can tell this from a crash.
    flip(path, places[2] + 100, 1)
    opened = Log.open(directory)
    assert opened.last_index() == 2
    assert opened.torn is not None
    opened.close()


@pytest.mark.parametrize("rotten", range(5))
def test_what_one_fsync_wrote_says_nothing_of_itself(tmp_path: Path, rotten: int) -> None:
    """None of the last fsync's records proves the one before it durable; all that is older each of them proves."""
    directory = tmp_path / "log"
    log = Log.create(directory, metadata=b"m", segment_bytes=1 << 16)
    places = []
    for index in range(1, 6):
        places.append(log._segments.live.end)
        log.append(entries(index, 1, size=300))
        if index <= 2:
            log.sync()
    log.sync()
    log._segments.close()
    path = next(directory.glob("*.wal"))
    flip(path, places[rotten] + 100, 1)
    if rotten < 2:
        assert open_or_refuse(directory, path) is None
    else:
        opened = Log.open(directory)
        assert opened.last_index() == rotten
        assert opened.torn is not None
        opened.close()


def test_a_segment_that_is_missing(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    written(directory).close()
    files = sorted(directory.glob("*.wal"))
    for path in files[:-1]:
        good = path.read_bytes()
        path.unlink()
        there = contents(directory)
        with pytest.raises(LogDamaged, match="a segment is missing, no other has the entries 1 to"):
            Log.open(directory)
        assert contents(directory) == there
        path.write_bytes(good)
    with pytest.raises(LogDamaged, match="under another one's name"):
        open_with_names_swapped(directory, files[0], files[1])
    Log.open(directory).close()


def open_with_names_swapped(directory: Path, one: Path, other: Path) -> None:
    content = one.read_bytes(), other.read_bytes()
    one.write_bytes(content[1])
    other.write_bytes(content[0])
    try:
        Log.open(directory)
    finally:
        one.write_bytes(content[0])
        other.write_bytes(content[1])


def test_a_stranger_among_the_segments(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    written(directory).close()
    (directory / "copy of 1.wal").write_bytes(b"")
    with pytest.raises(LogDamaged, match="not a segment's name"):
        Log.open(directory)


def test_a_sealed_segment_cut_short(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    written(directory).close()
    first = min(directory.glob("*.wal"))
    first.write_bytes(first.read_bytes()[:700])
    with pytest.raises(LogDamaged, match="damaged record at offset"):
        Log.open(directory)


def test_an_empty_file_instead_of_a_segment(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    written(directory).close()
    max(directory.glob("*.wal")).write_bytes(b"")
    with pytest.raises(LogDamaged, match="not a log segment"):
        Log.open(directory)


def test_rot_under_a_running_log_is_seen_when_it_is_read(tmp_path: Path) -> None:
    directory = tmp_path / "log"
    log = written(directory)
    first = min(directory.glob("*.wal"))
    with first.open("r+b") as file:
        file.seek(400)
        file.write(b"rotten")
    with pytest.raises(LogDamaged, match="has rotted"):
        log.entries(1, 3, 1 << 30)
    log._segments.close()
