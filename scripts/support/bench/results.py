"""Every single value that was measured, and what could not be; medians are taken when they are shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from support.bench.plan import Plan
from support.bench.rows import Row
from support.bench.sample import quantile

BASELINE = "etcd-3.5"
OURS = "fluyt"


@dataclass
class Results:
    """values: {run, contender, source, value}; failures: {contender, rows, reason}. titles: contender → its name."""

    plan: Plan
    titles: dict[str, str]
    date: str = ""
    load: float = 0.0
    machine: dict[str, str] = field(default_factory=dict)
    values: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, run: int, contender: str, source: str, value: float) -> None:
        """One value, in the unit of its row."""
        self.values.append({"run": run, "contender": contender, "source": source, "value": value})

    def fail(self, contender: str, rows: Sequence[str], reason: str) -> None:
        """These rows have no value of this run."""
        self.failures.append({"contender": contender, "rows": list(rows), "reason": reason})

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

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        found = asdict(self)
        found["plan"]["rows"] = sorted(self.plan.rows)
        return found
