"""What many runs come to, in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim_run import Outcome


@dataclass
class Totals:
    """Sums over runs."""

    runs: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    events: int = 0
    beats: float = 0.0
    acknowledged: int = 0
    reads: int = 0
    terms: int = 0
    lives: int = 0
    snapshots: int = 0
    changes: int = 0
    refused: int = 0
    sizes: dict[int, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count one run in."""
        self.runs += 1
        for name in ("seconds", "cpu", "events", "acknowledged", "reads", "terms", "lives"):
            setattr(self, name, getattr(self, name) + getattr(outcome, name))
        self.snapshots += outcome.snapshots
        self.changes += outcome.changes
        self.refused += outcome.refused
        self.beats += outcome.seconds / outcome.beat
        self.sizes[outcome.members] = self.sizes.get(outcome.members, 0) + 1

    @property
    def pace(self) -> float:
        """Simulated cluster-hours in a minute of one processor."""
        return self.seconds / 3600 / max(self.cpu / 60, 1e-9)

    def line(self) -> str:
        """Progress."""
        hours = self.seconds / 3600
        return f"{self.runs} runs, {hours:.1f} cluster-hours, {self.acknowledged} writes, {self.pace:.0f} hours/min  "

    def describe(self, outcome: Outcome) -> str:
        """One run."""
        return (
            f"seed {outcome.seed}: {outcome.members} members, heartbeat {outcome.beat:g} s,"
            f" faults: {' '.join(outcome.faults) or 'none'}; digest {outcome.digest:016x}"
        )

    def summary(self) -> str:
        """All of it."""
        clusters = ", ".join(f"{count} of {size}" for size, count in sorted(self.sizes.items()))
        return (
            f"{self.runs} runs held ({clusters} members): {self.seconds / 3600:.1f} cluster-hours"
            f" ({self.beats:.0f} heartbeats, {self.events} events) in {self.cpu:.1f} s of processor,"
            f" {self.pace:.0f} cluster-hours a minute\n"
            f"{self.acknowledged} acknowledged writes, {self.reads} linearizable reads, {self.terms} terms,"
            f" {self.lives} starts, {self.snapshots} snapshots installed, {self.changes} changes of membership,"
            f" {self.refused} starts refused because of rot"
        )
