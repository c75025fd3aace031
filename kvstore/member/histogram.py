"""A histogram that costs a bisection to feed; services/metrics.py shows it to Prometheus."""

from __future__ import annotations

from bisect import bisect_left

# etcd's buckets for disk durations: 1 ms doubling 14 times, in seconds; ours begin lower, where our disks are.
DISK_SECONDS = tuple(0.001 * 2**i for i in range(14))
# etcd's: 0.1 ms doubling 16 times.
ROUND_TRIP_SECONDS = tuple(0.0001 * 2**i for i in range(16))
LAG_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
BATCH_SIZES = tuple(float(2**i) for i in range(11))


class Histogram:
    """Counts of observations per bucket (upper bounds as Prometheus wants them) and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts by upper bound, the last being +Inf."""
        found, total = [], 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found
