"""Tables on a terminal, as kubectl sets them: upper-case heads, columns three spaces apart, nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click

_GAP: Final = "   "
# Words in cells that a person looks for; only where stdout is a terminal.
_COLOURS: Final = {
    **dict.fromkeys(
        ("Running", "Ready", "Active", "Bound", "Available", "Complete", "Succeeded", "Completed"), "green"
    ),
    **dict.fromkeys(
        ("Pending", "ContainerCreating", "PodInitializing", "Terminating", "Released", "Unknown"), "yellow"
    ),
    **dict.fromkeys(
        ("Failed", "Error", "CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "Evicted", "OOMKilled", "NotReady"),
        "red",
    ),
}


class TablePrinter:
    """Prints rows under one head; column widths grow with what is printed, as they must when watching."""

    def __init__(self, *, headers: bool = True, colours: bool = False) -> None:
        self._headers, self._colours = headers, colours
        self._widths: list[int] = []
        self._head: list[str] = []

    def show(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print rows; the head before the first ones, and again when it changes."""
        texts = [[_cell(cell) for cell in row] for row in rows]
        shown = [name.upper() for name in head]
        new = shown != self._head
        if new:
            self._head, self._widths = shown, [len(name) if self._headers else 0 for name in shown]
        self._widths = [max([width, *(len(row[n]) for row in texts)]) for n, width in enumerate(self._widths)]
        if new and self._headers:
            click.echo(self._line(shown, bold=True), color=self._colours or None)
        for row in texts:
            click.echo(self._line(row), color=self._colours or None)

    def _line(self, cells: Sequence[str], *, bold: bool = False) -> str:
        parts = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        if parts:
            parts[-1] = cells[-1]
        if self._colours:
            parts = [click.style(part, bold=True) if bold else _coloured(part) for part in parts]
        return _GAP.join(parts).rstrip() if not self._colours else _GAP.join(parts)


def _coloured(part: str) -> str:
    colour = _COLOURS.get(part.strip())
    return click.style(part, fg=colour) if colour else part


def _cell(value: Any) -> str:
    if value is None:
        return "<none>"
    if isinstance(value, bool):
        return "true" if value else "false"
    # Control characters would let an object's author write all over the terminal.
    return "".join(letter if letter.isprintable() else " " for letter in str(value))
