"""What a test asks for before it runs: programs and privileges.

What is missing skips the test on a user's machine and fails it where the variable CI is set, so that a run in CI
never passes by not testing.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from harness.binaries import CURES, find


def require(tool: str) -> str:
    """The path of a program; skips the running test without it, or fails it where CI is set."""
    path = find(tool)
    if path is None:
        missing(f"{tool} is not on this machine; cure: {CURES.get(tool, 'install it')}")
    return path


def missing(reason: str) -> NoReturn:
    """Skip the running test for that reason, or fail it where CI is set."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
