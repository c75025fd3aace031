"""What a progress bar counts in: sizes, shares of a time, or pieces."""

from __future__ import annotations

import io
import sys

import pytest

from kvstore.cli.progress import bar


class Terminal(io.StringIO):
    """Keeps what was drawn on it."""

    def isatty(self) -> bool:
        """It says that it is one."""
        return True


@pytest.mark.parametrize(
    ("unit", "done", "total", "shown"),
    [("seconds", 0.25, 0.5, "50 %"), ("bytes", 1024, 2048, "1.0/2.0 kB"), ("calls", 3, 12, "3/12")],
)
def test_units(unit: str, done: float, total: float, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with bar("work", unit=unit) as progress:
        progress(done, total)
    assert shown in terminal.getvalue()
