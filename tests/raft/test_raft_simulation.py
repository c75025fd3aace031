"""Safety under every fault, then life after them: random runs, each repeatable by its seed (FLUYT_SEED=… runs that
one first).
"""

from __future__ import annotations

import random
import time

import pytest
from raft_simulation import Simulation

# Seeds that once failed, and what they found.
FOUND: dict[int, str] = {
    1896: "a commit-only append asked for no answer although the answer to an earlier append had been lost",
}

BUDGET_SECONDS = 12.0


def run(seed: int, steps: int = 8000) -> Simulation:
    """One run; a failure says how to repeat it."""
    options = random.Random(seed)
    simulation = Simulation(seed, pre_vote=options.random() < 0.8, membership=options.random() < 0.6)
    try:
        simulation.run(steps)
        simulation.heal()
    except BaseException:
        print(f"seed: FLUYT_SEED={seed}")
        print("\n".join(simulation.trace[-40:]))
        raise
    return simulation


@pytest.mark.parametrize("number", FOUND)
def test_seeds_that_found_something(number: int) -> None:
    run(number)


def test_random_runs(seed: int) -> None:
    end = time.monotonic() + BUDGET_SECONDS
    run(seed)
    seeds = random.Random(seed)
    while time.monotonic() < end:
        run(seeds.randrange(1 << 32))


def test_a_seed_decides_the_whole_run(seed: int) -> None:
    first, second = run(seed), run(seed)
    assert first.trace == second.trace
    assert first.state == second.state


def test_runs_get_something_done() -> None:
    """The properties hold of an idle group too; so make sure that runs elect, commit, crash, compact and change
    members.
    """
    done = [run(seed) for seed in range(12)]
    events = "\n".join(line for simulation in done for line in simulation.trace)
    assert sum(len(simulation.state) for simulation in done) > 500
    assert sum(len(simulation.leaders) for simulation in done) > 25
    assert sum(len(simulation.conf_at) for simulation in done) > 25
    for word in ("crashes", "compacts", "cut"):
        assert word in events
