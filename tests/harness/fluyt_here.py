"""`fluyt` inside the test's own process: for tests of what a command does and says, not of the program's start.

A start of Python costs more than most commands; one test of each family still runs the program itself.
"""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from harness.etcdctl import Outcome
from harness.process import clean_environment
from kvstore.cli.main import main


def fluyt_here(*arguments: str) -> Outcome:
    """Run a command line that ends by itself, with an empty standard input; what it left behind."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with (
        patch.dict("os.environ", clean_environment(), clear=True),
        patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO())),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = _ended(arguments)
    return Outcome(code, _written(out), _written(err))


def _ended(arguments: tuple[str, ...]) -> int:
    try:
        main(arguments)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _written(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(errors="replace")
