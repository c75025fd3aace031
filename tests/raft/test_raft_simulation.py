"""Safety under every fault, then life after them: random runs, each repeatable by its seed (FLUYT_SEED=… runs that
one first).
"""

from __future__ import annotations

import os
import random
import time

import pytest
from raft_simulation import Simulation

from kvstore.raft import election, log, reads, replication, state, tracker
from kvstore.raft.types import Entry, Message

BUDGET_SECONDS = 60.0 if os.environ.get("FLUYT_SOAK") else 3.0


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
    done = [run(seed) for seed in range(6)]
    events = "\n".join(line for simulation in done for line in simulation.trace)
    assert sum(len(simulation.state) for simulation in done) > 250
    assert sum(len(simulation.leaders) for simulation in done) > 12
    assert sum(len(simulation.conf_at) for simulation in done) > 12
    for word in ("crashes", "compacts", "cut"):
        assert word in events


# Wrong on purpose: (where, name, what stands there instead). A simulation that does not notice is no test.


def _grant_to_everybody(r: state.Raft, m: Message) -> None:
    r.send(Message(election._reply_kind(m), to=m.from_, term=m.term))


def _count_before_saving(r: state.Raft, kind: int, data: bytes) -> int:
    r.appends_due = True
    index = r.log.append([Entry(r.term, r.log.last_index + 1, kind, data)])
    r.tracker.progress[r.id].accepted(index)
    return index


def _believe_every_write(r: log.RaftLog, number: int) -> bool:
    r.saved = r.handed
    return saved_to(r, number)


saved_to = log.RaftLog.saved_to


def _answer_reads_at_once(r: state.Raft, from_: int, context: bytes) -> None:
    reads._answer(r, state.HeldRead(from_, context, r.log.committed, 1))


PLANTED: dict[str, tuple[object, str, object]] = {
    "votes are given to everybody who asks": (election, "_grant", _grant_to_everybody),
    "logs are not compared": (log.RaftLog, "up_to_date", lambda *_: True),
    "promises leave before they are saved": (state, "AFTER_SAVE", frozenset()),
    "a leader counts what it has not saved": (replication, "append", _count_before_saving),
    "a write proves what it did not write": (log.RaftLog, "saved_to", _believe_every_write),
    "reads are answered without a round": (reads, "request", _answer_reads_at_once),
    "a minority commits": (tracker, "joint_index", lambda voters, _: max(voters, default=0)),
    "entries are applied before they are saved": (log.RaftLog, "applicable", property(lambda self: self.committed)),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    where, name, instead = PLANTED[bug]
    monkeypatch.setattr(where, name, instead)
    with pytest.raises((AssertionError, KeyError)):
        for seed in range(60):
            run(seed)
