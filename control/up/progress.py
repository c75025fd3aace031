"""What `fluyt up` says while it waits: one moving line on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def _silent(text: str) -> None:
    """Where nobody watches."""


@contextmanager
def saying() -> Iterator[Callable[[str], None]]:
    """A line on stderr that tells what is being waited for, gone at the end of the block."""
    if not sys.stderr.isatty():
        yield _silent
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update
