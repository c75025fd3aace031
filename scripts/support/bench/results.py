"""Every single value that was measured, and what could not be; medians are taken when they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from support.bench.plan import Plan
from support.bench.rows import ROWS, Row
from support.bench.sample import quantile

BASELINE = "etcd-3.5"
OURS = "fluyt"


@dataclass
class Results:
    """values: {run, contender, source, value}; failures: {run, contender, rows, reason}. titles: contender → its name.

    complete: nothing was cut short. listener: is told every value and failure as it comes.
    """

    plan: Plan
    titles: dict[str, str]
    date: str = ""
    load: float = 0.0
    machine: dict[str, str] = field(default_factory=dict)
    values: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False
    listener: Callable[[dict[str, Any]], None] | None = field(default=None, repr=False, compare=False)

    def add(self, run: int, contender: str, source: str, value: float) -> None:
        """One value, in the unit of its row."""
        self._take(self.values, {"run": run, "contender": contender, "source": source, "value": value})

    def fail(self, run: int, contender: str, rows: Sequence[str], reason: str) -> None:
        """These rows have no value of this run."""
        self._take(self.failures, {"run": run, "contender": contender, "rows": list(rows), "reason": reason})

    def _take(self, entries: list[dict[str, Any]], entry: dict[str, Any]) -> None:
        entries.append(entry)
        if self.listener is not None:
            self.listener(entry)

    def of(self, contender: str, source: str) -> list[float]:
        """All values of a source."""
        return [v["value"] for v in self.values if v["contender"] == contender and v["source"] == source]

    def figure(self, contender: str, row: Row) -> float | None:
        """What stands in the table; None if nothing was measured."""
        values = self.of(contender, row.stored)
        if not values:
            return None
        if row.summary == "p99":
            return quantile(values, 0.99)
        return max(values) if row.summary == "max" else statistics.median(values)

    def ratio(self, row: Row) -> float | None:
        """Ours to the baseline's."""
        ours, base = self.figure(OURS, row), self.figure(BASELINE, row)
        return ours / base if ours is not None and base else None

    def reached(self, row: Row) -> bool | None:
        """Whether the row's aim is reached; None if it has none or was not measured."""
        if row.aim is None:
            return None
        value = self.figure(OURS, row) if row.aim.absolute else self.ratio(row)
        return None if value is None else row.aim.reached(value)

    def runs(self) -> tuple[int, int]:
        """In how many runs a row was measured: the fewest and the most of all that were; (0, 0) for none at all."""
        found: dict[tuple[str, str], set[int]] = {}
        for value in self.values:
            found.setdefault((value["contender"], value["source"]), set()).add(value["run"])
        counts = [len(runs) for runs in found.values()] or [0]
        return min(counts), max(counts)

    def tried(self, contender: str, row: Row) -> int:
        """In how many runs a row was measured or failed."""
        runs = {v["run"] for v in self.values if v["contender"] == contender and v["source"] == row.stored}
        return len(runs | {f["run"] for f in self.failures if f["contender"] == contender and row.name in f["rows"]})

    def lacking(self, runs: int) -> list[str]:
        """Rows, of all there are, that were tried in fewer runs, by us or by the baseline.

        A row whose aim is a figure of our own may have no value of the baseline.
        """
        return [
            row.name
            for row in ROWS
            if self.tried(OURS, row) < runs
            or (self.tried(BASELINE, row) < runs and not (row.aim is not None and row.aim.absolute))
        ]

    def head(self) -> dict[str, Any]:
        """What was planned, and where."""
        plan = {**asdict(self.plan), "rows": sorted(self.plan.rows)}
        return {"plan": plan, "titles": self.titles, "date": self.date, "load": self.load, "machine": self.machine}

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return {**self.head(), "values": self.values, "failures": self.failures, "complete": self.complete}
