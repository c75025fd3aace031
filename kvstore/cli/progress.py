"""Progress bars for long work; silent where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """What long work says about itself."""

    def __call__(self, done: float, total: float | None = None) -> None:
        """So much is done, out of so much."""


def _silent(done: float, total: float | None = None) -> None:
    """Where nobody watches."""


@contextmanager
def bar(title: str, *, unit: str = "bytes") -> Iterator[Bar]:
    """A bar on stderr for the length of the block.

    unit: "bytes" are shown as sizes, "seconds" as a share (the clock is beside it), anything else as a count.
    """
    if not sys.stderr.isatty():
        yield _silent
        return
    # Loaded here: most commands never draw.
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    counts = {"bytes": DownloadColumn(), "seconds": TextColumn("{task.percentage:>3.0f} %")}
    count = counts.get(unit) or MofNCompleteColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)

        def update(done: float, total: float | None = None) -> None:
            progress.update(task, completed=done, total=total)

        yield update
