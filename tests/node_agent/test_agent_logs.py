"""Container logs: reading as kubectl asks, following, rotating."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from node_agent.logs import reader
from node_agent.logs.lines import parse, sortable
from node_agent.logs.reader import LogOptions, read_log
from node_agent.logs.rotation import LogRotation, rotated
from node_agent.logs.tail import last_lines, offset_of_last
from node_agent.runtime.errors import NotRunning
from node_agent.runtime.types import Container, ContainerState, ContainerStatus


def line(number: int, text: str, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-01-01T00:00:{number:02d}.{number:09d}Z {stream} {tag} {text}\n"


LOG = line(1, "one") + line(2, "two", "stderr") + line(3, "thr", tag="P") + line(4, "ee") + line(5, "four")


def read(path: Path, **options: Any) -> str:
    async def collect() -> bytes:
        return b"".join([piece async for piece in read_log(path, LogOptions(**options), lambda: False)])

    return asyncio.run(collect()).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text(LOG)
    return path


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "one\ntwo\nthree\nfour\n"),
        ({"tail": 2}, "three\nfour\n"),
        ({"tail": 0}, ""),
        ({"tail": 99}, "one\ntwo\nthree\nfour\n"),
        ({"since": "2026-01-01T00:00:04.0Z"}, "ee\nfour\n"),
        ({"limit": 5}, "one\nt"),
        ({"stream": "stderr"}, "two\n"),
        ({"tail": 1, "timestamps": True}, "2026-01-01T00:00:05.000000005Z four\n"),
        ({"tail": 2, "timestamps": True, "limit": 40}, "2026-01-01T00:00:03.000000003Z three\n202"),
    ],
)
def test_reading(log: Path, options: dict[str, Any], wanted: str) -> None:
    assert read(log, **options) == wanted


def test_damaged_records_are_passed_over(log: Path) -> None:
    log.write_text("rubbish\n" + LOG + "2026 half a rec")
    assert read(log) == "one\ntwo\nthree\nfour\n"
    assert parse(b"x") is None
    assert parse(b"2026-01-01T00:00:00Z stdout F") is not None


def test_times_compare_as_times() -> None:
    times = [b"2026-01-01T00:00:01Z", b"2026-01-01T00:00:01.000000001Z", b"2026-01-01T00:00:01.1Z"]
    assert sorted(times, key=sortable) == times


def test_the_end_is_found_in_long_logs(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    texts = [f"{n} " + "x" * (n % 500) for n in range(5000)]
    path.write_text("".join(line(n % 60, text) for n, text in enumerate(texts)))
    for count in (1, 7, 400, 4999, 5000, 6000):
        with path.open("rb") as file:
            file.seek(offset_of_last(file, count))
            assert file.read().count(b"\n") == min(count, 5000)
    assert last_lines(path, 2, 4096) == "\n".join(texts[-2:])
    assert 90 < len(last_lines(path, 80, 100)) <= 100
    assert last_lines(tmp_path / "none", 1, 1) == ""


def test_following_through_a_rotation(log: Path) -> None:
    running = True

    async def follow() -> str:
        nonlocal running
        found = b""
        pieces = read_log(log, LogOptions(follow=True, tail=1), lambda: running)
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                found += piece
                if found == b"four\n":
                    with log.open("a") as out:
                        out.write(line(6, "five"))
                    log.rename(log.with_name("0.log.old"))
                    log.write_text(line(7, "six"))
                if found.endswith(b"six\n"):
                    running = False
        return found.decode()

    assert asyncio.run(asyncio.wait_for(follow(), 5)) == "four\nfive\nsix\n"


def test_what_was_written_just_before_the_new_file_is_there(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the reader's last look at the old file and its look at the path."""
    real, moved = reader._following, False

    def following(path: Path, file: BinaryIO) -> BinaryIO | None:
        nonlocal moved
        if not moved:
            moved = True
            log.rename(log.with_name("0.log.old"))
            with log.with_name("0.log.old").open("a") as out:
                out.write(line(6, "five"))
            log.write_text(line(7, "six"))
        return real(path, file)

    monkeypatch.setattr(reader, "_following", following)
    assert read(log, follow=True, tail=1) == "four\nfive\nsix\n"


def test_the_last_lines_are_the_last_ones_also_where_lines_are_long(log: Path) -> None:
    log.write_text("".join(line(n % 60, f"{n} " + "x" * 8000) for n in range(100)) + line(59, "the reason"))
    found = last_lines(log, 80, 4096)
    assert found.endswith("\nthe reason")
    assert len(found) > 4000


class Runtime:
    """A runtime with one running container, which opens its log when it is told to."""

    def __init__(self, path: Path) -> None:
        self.path, self.reopened, self.refuse = path, 0, False

    async def container_statuses(self) -> list[ContainerStatus]:
        container = Container("c", "s", "web", 0, "i", "i", ContainerState.RUNNING, 0.0)
        return [ContainerStatus(container, log_path=str(self.path))]

    async def reopen_log(self, container_id: str) -> None:
        if self.refuse:
            raise NotRunning("it has just ended")
        self.reopened += 1
        self.path.write_text("")


def test_rotation(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    runtime = Runtime(path)
    rotation = LogRotation(runtime, str(tmp_path), 100, 3)  # type: ignore[arg-type]

    async def fill(text: str, number: int) -> None:
        path.write_text(text * 100)
        await rotation.round()
        for old in rotated(path):  # names have seconds: make room for the next one
            if not old.name.endswith(".gz") and not old.name.endswith(f"-{number}"):
                old.rename(f"{path}.2026010{number}-{number}")

    async def run() -> None:
        path.write_text("small")
        await rotation.round()
        assert runtime.reopened == 0
        for number, text in enumerate("abcd", 1):
            await fill(text, number)
        assert runtime.reopened == 4
        kept = rotated(path)
        assert len(kept) == 2
        assert gzip.decompress(kept[0].read_bytes()) == b"c" * 100
        assert kept[1].read_bytes() == b"d" * 100

    asyncio.run(run())


def test_a_rotation_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    runtime = Runtime(path)
    rotation = LogRotation(runtime, str(tmp_path), 100, 3)  # type: ignore[arg-type]
    runtime.refuse = True
    path.write_text("x" * 200)
    asyncio.run(rotation.round())
    assert not path.exists()
    runtime.refuse = False
    asyncio.run(rotation.round())
    assert runtime.reopened == 1
    elsewhere = LogRotation(runtime, "/var/log/others", 1, 3)  # type: ignore[arg-type]
    asyncio.run(elsewhere.round())
    assert runtime.reopened == 1
