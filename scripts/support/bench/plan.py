"""How much is measured: seconds, counts, runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

# What may differ between runs whose values stand in one table: who, what, and how often.
_MAY_DIFFER = ("contenders", "rows", "runs", "outages", "cuts")


@dataclass(frozen=True)
class Plan:
    """Sizes of one benchmark. rows: names of those that are wanted."""

    contenders: tuple[str, ...]
    rows: frozenset[str]
    runs: int = 3
    # A point of a load.
    seconds: float = 2.5
    watch_puts: int = 1500
    latencies: int = 150
    leases: int = 10_000
    keys: int = 500_000
    repeats: int = 9
    # Over all runs.
    outages: int = 30
    cuts: int = 9
    revisions: int = 1_000_000

    @property
    def outages_a_run(self) -> int:
        """Kills in each run."""
        return -(-self.outages // self.runs)

    @property
    def cuts_a_run(self) -> int:
        """Cuts in each run."""
        return -(-self.cuts // self.runs)

    def sizes(self) -> dict[str, Any]:
        """How much a single measurement is: what its value depends on."""
        return {name: value for name, value in asdict(self).items() if name not in _MAY_DIFFER}


def quick(contenders: tuple[str, ...], rows: frozenset[str], runs: int) -> Plan:
    """Everything once, and small: shows that it works, not how fast."""
    return Plan(contenders, rows, runs, 1.0, 100, 30, 500, 20_000, 3, 2 * runs, runs, 20_000)
