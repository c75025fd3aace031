"""The plan of a benchmark: what is measured of whom, how often, and the medians of it.

Runs are interleaved (every contender once, then again), so that a slow minute of the machine hits all alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from support.bench.contenders import available, make

IN_FLIGHT = (1, 32, 100, 1024)


@dataclass(frozen=True)
class Plan:
    """Seconds and counts of one benchmark."""

    contenders: tuple[str, ...]
    runs: int = 3
    seconds: float = 4.0
    distinct: int = 60_000
    outages: int = 3
    memory_keys: int = 100_000

    def steps(self) -> Iterator[tuple[int, str]]:
        """(run, contender) in the order in which they are measured."""
        for run in range(self.runs):
            for contender in self.contenders:
                yield run, contender


@dataclass
class Results:
    """Every single measurement; medians are taken when they are shown."""

    plan: Plan
    titles: dict[str, str]
    date: str = ""
    machine: dict[str, str] = field(default_factory=dict)
    # (what, contender, in flight) → samples, flattened into a list of dicts for JSON.
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, run: int, contender: str, what: str, **values: Any) -> None:
        """One measurement."""
        self.samples.append({"run": run, "contender": contender, "what": what, **values})

    def median(self, contender: str, what: str, value: str, in_flight: int | None = None) -> float | None:
        """The median over runs, None if it was not measured."""
        found = [
            s[value]
            for s in self.samples
            if s["contender"] == contender and s["what"] == what and s.get("in_flight") == in_flight
        ]
        return statistics.median(found) if found else None

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)


@dataclass(frozen=True)
class _Teller:
    """Says who is being measured before what."""

    tell: Callable[[str], None]
    who: str

    def __call__(self, what: str) -> None:
        self.tell(f"{self.who}: {what}")


def measure(plan: Plan, tell: Callable[[str], None], advance: Callable[[], None]) -> Results:
    """Run the plan. tell: what happens now; advance: one step of len(list(plan.steps())) is done."""
    titles = {name: title for name, title in available().items() if name in plan.contenders}
    results = Results(plan, titles, date=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    for run, name in plan.steps():
        _measure_one(plan, results, run, name, _Teller(tell, f"{titles[name]}, run {run + 1}"))
        advance()
    return results


def _measure_one(plan: Plan, results: Results, run: int, name: str, tell: Callable[[str], None]) -> None:
    tell("starting")
    with make(name) as contender:
        for in_flight in IN_FLIGHT:
            tell(f"puts, {in_flight} in flight")
            _add(results, run, name, "puts", in_flight, contender.puts(in_flight, plan.seconds))
        for in_flight in (100, 1024):
            tell(f"puts of distinct keys, {in_flight} in flight")
            _add(results, run, name, "distinct", in_flight, contender.distinct_puts(in_flight, plan.distinct))
        for in_flight in IN_FLIGHT:
            tell(f"linearizable gets, {in_flight} in flight")
            _add(results, run, name, "gets", in_flight, contender.gets(in_flight, plan.seconds))
        for _ in range(plan.outages):
            tell("kill -9 of the leader")
            outage = contender.outage()
            if outage is not None:
                results.add(run, name, "outage", seconds=outage)
        tell(f"memory after {plan.memory_keys:,} keys")
        memory = contender.memory(plan.memory_keys)
        if memory is not None:
            results.add(run, name, "memory", rss=memory[0], anonymous=memory[1])


def _add(results: Results, run: int, name: str, what: str, in_flight: int, sample: Any) -> None:
    if sample is not None:
        results.add(run, name, what, in_flight=in_flight, **asdict(sample))
