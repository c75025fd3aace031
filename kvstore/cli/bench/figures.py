"""What a run of `fluyt bench` measured, and the figures made of it. Pure."""

from __future__ import annotations

import bisect
import math
import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_BINS = 10
_IN_TABLE = ("mean", "p50", "p90", "p99", "p99.9", "slowest")


@dataclass
class Measured:
    """Latencies (seconds) of what was answered, errors by their text, and seconds that it all took.

    what: of what there are so many a second. more: further figures, name → value.
    """

    what: str = "requests"
    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    more: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def quantiles(self) -> dict[float, float]:
        """Share of the answers → seconds that they took at most."""
        ordered = sorted(self.latencies)
        # The nearest rank: the smallest value that at least this share does not exceed.
        return {share: ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in QUANTILES} if ordered else {}

    def histogram(self) -> list[tuple[float, int]]:
        """(seconds, how many took at most so long and longer than the bin before), in bins of equal width."""
        if not self.latencies:
            return []
        low, high = min(self.latencies), max(self.latencies)
        bounds = [low + (high - low) * n / _BINS for n in range(1, _BINS)] + [high]
        counts = Counter(bisect.bisect_left(bounds, latency) for latency in self.latencies)
        return [(bound, counts[n]) for n, bound in enumerate(bounds)]

    def as_json(self) -> dict[str, Any]:
        """All figures; times in milliseconds."""
        found: dict[str, Any] = {
            self.what: len(self.latencies),
            "seconds": round(self.seconds, 6),
            "per_second": round(self.rate, 3),
            "errors": dict(self.errors),
            **{name: round(value, 3) for name, value in self.more.items()},
        }
        if self.latencies:
            found["latency_ms"] = {name: round(value * 1000, 6) for name, value in self._summary().items()}
            found["histogram"] = [{"up_to_ms": round(b * 1000, 6), "count": count} for b, count in self.histogram()]
        return found

    def _summary(self) -> dict[str, float]:
        values = self.latencies
        plain = {"fastest": min(values), "mean": statistics.fmean(values), "slowest": max(values)}
        tails = {f"p{share * 100:g}": value for share, value in self.quantiles().items()}
        return {**plain, "stddev": statistics.pstdev(values), **tails}

    def as_lines(self) -> list[str]:
        """The report for a reader."""
        lines = [f"{len(self.latencies):,} {self.what} in {self.seconds:.3f} s: {self.rate:,.1f} a second"]
        lines += [f"{name.replace('_', ' ')}: {_number(value)}" for name, value in self.more.items()]
        if self.latencies:
            lines += ["", "Latency, ms", *_table(self._summary()), "", "Histogram, ms", *_bars(self.histogram())]
        return lines + self.error_lines()

    def as_rows(self) -> tuple[list[str], list[list[str]]]:
        """Titles and one row with the rate and the latencies in milliseconds, for a table."""
        plain = {self.what: f"{len(self.latencies):,}", "seconds": f"{self.seconds:.3f}"}
        plain |= {"per second": f"{self.rate:,.1f}", "errors": f"{self.errors.total():,}"}
        plain |= {name.replace("_", " "): _number(value) for name, value in self.more.items()}
        latencies = self._summary() if self.latencies else {}
        cells = {**plain, **{f"{name} ms": f"{latencies[name] * 1000:,.3f}" for name in _IN_TABLE if name in latencies}}
        return list(cells), [list(cells.values())]

    def error_lines(self) -> list[str]:
        """The errors, how often each came, the most frequent first."""
        found = [f"  {count:>10,}  {text}" for text, count in self.errors.most_common()]
        return ["", "Errors", *found] if found else []


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _table(summary: dict[str, float]) -> list[str]:
    return [f"  {name:<8} {value * 1000:>12,.3f}" for name, value in summary.items()]


def _bars(bins: list[tuple[float, int]]) -> list[str]:
    most = max(count for _, count in bins)
    bars = ["█" * math.ceil(40 * count / most) for _, count in bins]
    return [f"  {b * 1000:>12,.3f} {count:>10,} {line}".rstrip() for (b, count), line in zip(bins, bars, strict=True)]
