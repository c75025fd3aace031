"""Whole clusters on simulated ground: seeds that once failed, fresh ones for a while, and bugs put in on purpose."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sim_run import SimulationFailed, simulate

from kvstore.member.consensus import intake, saving
from kvstore.mvcc import lease, watch
from kvstore.raft import reads, state
from kvstore.storage.log import segments

# For how long fresh seeds run; scripts/sim and scripts/soak do it for minutes and hours.
FRESH_SECONDS = float(os.environ.get("FLUYT_SIM_SECONDS", "5"))
ROOT = Path(__file__).resolve().parents[2]

# Each found a bug, which docs/track-record.md tells of.
ONCE_FAILED = (9, 16, 37, 69, 85, 511868132, 588035894, 2170413738, 2358788678, 2602697367, 3947621579, 4084817001)


@pytest.mark.parametrize("seed", ONCE_FAILED)
def test_seeds_that_once_failed(seed: int) -> None:
    simulate(seed)


def test_fresh_seeds(seed: int) -> None:
    seeds = random.Random(seed)
    until = time.monotonic() + FRESH_SECONDS
    done = 0
    while time.monotonic() < until:
        simulate(seeds.randrange(1 << 32))  # a failure names its own seed
        done += 1
    assert done > 0


def test_a_seed_decides_the_whole_run_whatever_the_hashes() -> None:
    """The same trace, to the byte, in two processes with other hash seeds."""
    code = "from sim_run import simulate; o = simulate(15, beats=150); print(o.digest, o.events, o.acknowledged)"
    found = []
    for hashes in ("1", "2"):
        path = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "simulation")))
        environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": path}
        command = [sys.executable, "-c", code]
        found.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert found[0] == found[1]


def test_runs_get_something_done() -> None:
    """The properties hold of an idle cluster too: runs must elect, write, read, crash and install snapshots."""
    outcomes = [simulate(seed, beats=200) for seed in (1, 2, 3, 4, 5, 6, 7, 8, 12)]
    assert sum(o.acknowledged for o in outcomes) > 300
    assert sum(o.reads for o in outcomes) > 150
    assert sum(o.terms for o in outcomes) > 15
    assert sum(o.lives for o in outcomes) > 60


# Wrong on purpose: a simulation that does not notice is no test.


def _sync_nothing(self: segments.Segments) -> None:
    self.synced_writes = self.writes


def _take_always(self: intake.Intake, *_: Any) -> bool:
    return True


def _reads_at_once(r: state.Raft, from_: int, context: bytes) -> None:
    reads._answer(r, state.HeldRead(from_, context, r.log.committed, 1))


def _promote_for_little(self: lease.Lessor, now: float, extend: float = 0.0) -> None:
    _promote(self, now - 1000.0, extend)


_promote = lease.Lessor.promote


def _forget_events(self: watch.WatchHub, main: int, events: list[Any]) -> None:
    if main % 7:
        _publish(self, main, events)


_publish = watch.WatchHub.publish


PLANTED: dict[str, tuple[Any, str, Callable[..., Any]]] = {
    "nothing is synced": (segments.Segments, "sync", _sync_nothing),
    "a batch that came twice is taken twice": (intake.Intake, "take", _take_always),
    "reads are answered without a round": (reads, "request", _reads_at_once),
    "a new leader gives leases no time": (lease.Lessor, "promote", _promote_for_little),
    "some events are not published": (watch.WatchHub, "publish", _forget_events),
    "what came with a snapshot is forgotten": (saving.Saving, "installed", saving.Saving._saved),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead = PLANTED[bug]
    monkeypatch.setattr(where, name, instead)
    with pytest.raises(SimulationFailed):
        for seed in range(1, 40):
            simulate(seed, beats=300)
