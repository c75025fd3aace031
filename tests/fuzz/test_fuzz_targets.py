"""Every fuzz target for a while: hypothesis's own bytes, and well-formed inputs with a few changes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "zero"]), st.integers(0, 1 << 16), st.integers(1, 255)
    ),
    min_size=1,
    max_size=6,
)


def changed(data: bytes, steps: list[tuple[str, int, int]]) -> bytes:
    """The input with these changes made, one after the other."""
    result = bytearray(data)
    for how, place, amount in steps:
        at = place % (len(result) + 1)
        if how == "flip" and at < len(result):
            result[at] ^= amount
        elif how == "cut":
            del result[at : at + amount]
        elif how == "insert":
            result[at:at] = bytes([amount]) * (amount % 9)
        elif how == "repeat":
            result[at:at] = result[at : at + amount]
        elif how == "zero":
            result[at : at + amount] = bytes(len(result[at : at + amount]))
    return bytes(result)


brief = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds(name: str) -> None:
    target = TARGETS[name]

    @brief
    @given(st.one_of(st.binary(max_size=300), st.builds(changed, st.sampled_from(target.seeds), changes)))
    def run(data: bytes) -> None:
        target.run(data)

    for seed in target.seeds:
        target.run(seed)
    run()


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="atheris is not installed (pip install atheris)"
)
@pytest.mark.parametrize("name", ["batch", "http2_server"])
def test_target_holds_under_atheris(name: str) -> None:
    program = Path(__file__).with_name("fuzz_with_atheris.py")
    command = [sys.executable, str(program), name, "-runs=3000", "-max_total_time=10"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
