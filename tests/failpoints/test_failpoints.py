"""The grammar of FLUYT_FAILPOINTS, its table, and its cost when off."""

from __future__ import annotations

import errno
import itertools
import re
import time
import timeit
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvstore import failpoints
from kvstore.failpoints import POINTS, FailpointError, armed, configure, hit
from kvstore.invariant import InvariantViolation

ROOT = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    configure("")


def test_every_point_of_the_table_is_in_the_code_once_and_every_other_name_is_not() -> None:
    found = [
        name
        for path in ROOT.rglob("*.py")
        if path.name != "failpoints.py"
        for name in re.findall(r"\bhit\(\"([a-z-]+)\"\)", path.read_text())
    ]
    assert sorted(found) == sorted(POINTS)


def test_no_point_is_passed_without_a_look_at_whether_any_is_armed() -> None:
    for path in ROOT.rglob("*.py"):
        lines = path.read_text().splitlines()
        for before, line in itertools.pairwise(lines):
            if re.search(r"^\s+hit\(\"", line):
                assert re.search(r"\bif armed\b", before), f"{path}: {line}"


def test_errors_and_sleeps() -> None:
    configure("log-before-sync=error(ENOSPC); log-after-sync=sleep(30)")
    with pytest.raises(OSError, match="log-before-sync") as caught:
        hit("log-before-sync")
    assert caught.value.errno == errno.ENOSPC
    began = time.monotonic()
    hit("log-after-sync")
    assert time.monotonic() - began >= 0.029
    hit("log-before-write")


def test_terms_follow_each_other() -> None:
    configure("log-before-sync=2*off->1*error->off")
    outcomes = []
    for _ in range(5):
        try:
            hit("log-before-sync")
            outcomes.append("")
        except OSError:
            outcomes.append("error")
    assert outcomes == ["", "", "error", "", ""]


def test_a_percentage_holds_about_that_often() -> None:
    configure("log-before-sync=30%error->off")
    failed = 0
    for _ in range(2000):
        try:
            hit("log-before-sync")
        except OSError:
            failed += 1
    assert 450 < failed < 750


def test_what_runs_out_without_a_successor_does_nothing_more() -> None:
    configure("log-before-sync=1*error")
    with pytest.raises(OSError, match="failpoint"):
        hit("log-before-sync")
    hit("log-before-sync")


@pytest.mark.parametrize(
    "text",
    [
        "nonsense=panic",
        "log-before-sync",
        "log-before-sync=explode",
        "log-before-sync=sleep",
        "log-before-sync=sleep(soon)",
        "log-before-sync=error(ENONSENSE)",
        "log-before-sync=panic(1)",
        "log-before-sync=1*",
    ],
)
def test_what_cannot_be_understood_is_refused_in_one_line_and_arms_nothing(text: str) -> None:
    with pytest.raises(FailpointError) as caught:
        configure(text)
    assert "\n" not in str(caught.value)
    assert not armed


def test_a_name_that_is_not_in_the_table_is_a_bug() -> None:
    configure("log-before-sync=off")
    with pytest.raises(InvariantViolation):
        hit("log-before-lunch")


def test_a_point_that_is_off_costs_next_to_nothing() -> None:
    """0.02 µs on the machine it was written on; a log write, which passes two, takes 10."""
    passes = 200_000
    seconds = min(timeit.repeat("if armed: hit('log-before-write')", globals=vars(failpoints), number=passes, repeat=5))
    assert seconds / passes < 0.5e-6
