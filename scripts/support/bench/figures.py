"""What a benchmark of the control plane yields: named figures; and what the kernel says about a process."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Figure:
    """One measurement, as a reader wants it. part: the part of the bench it comes from; aim: "" where none is set."""

    part: str
    name: str
    value: str
    aim: str = ""


def show(figures: Sequence[Figure]) -> None:
    """As a table on standard output."""
    table = Table("part", "figure", "measured", "aim")
    for figure in figures:
        table.add_row(figure.part, figure.name, figure.value, figure.aim)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def markdown(figures: Sequence[Figure]) -> str:
    """As Markdown tables, one a part, in the order they came."""
    lines = []
    for part in dict.fromkeys(figure.part for figure in figures):
        lines += [f"## {part[0].upper()}{part[1:]}", "", "| | measured | aim |", "|---|--:|--:|"]
        lines += [f"| {f.name} | {f.value} | {f.aim} |" for f in figures if f.part == part]
        lines.append("")
    return "\n".join(lines)


def cpu_of(*pids: int) -> float:
    """Seconds of CPU that these processes have used, user and system."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


@contextmanager
def cpu(*pids: int) -> Iterator[Callable[[], float]]:
    """Seconds of CPU that the processes have used since the block began."""
    before = cpu_of(*pids)
    yield lambda: cpu_of(*pids) - before


def rss(pid: int) -> int:
    """Megabytes of memory, pages shared with others included."""
    return _megabytes(Path(f"/proc/{pid}/status"), "VmRSS")


def pss(pid: int) -> int:
    """Megabytes of memory, of shared pages its share only (the libraries that several of our processes map)."""
    return _megabytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss")


def forget_peak(pid: int) -> None:
    """From now on peak() begins at what the process has now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def peak(pid: int) -> int:
    """The most megabytes it has had at a time, as rss()."""
    return _megabytes(Path(f"/proc/{pid}/status"), "VmHWM")


def _megabytes(file: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    return round(int(found.group(1)) / 1024) if found else 0
