"""What one measurement of requests yields."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Requests a second, latencies in milliseconds, and how many requests were answered in all."""

    rate: float
    p50: float
    p90: float
    p99: float
    p999: float
    count: int


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed. values: not empty."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def summary(rate: float, latencies: Sequence[float], count: int | None = None) -> Sample:
    """Of latencies in milliseconds. count: of requests, where not all of them have a latency here."""
    ordered = sorted(latencies) or [0.0]
    return Sample(
        rate,
        statistics.median(ordered),
        quantile(ordered, 0.9),
        quantile(ordered, 0.99),
        quantile(ordered, 0.999),
        len(ordered) if count is None else count,
    )
