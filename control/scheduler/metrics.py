"""What the scheduler counts, under kube-scheduler's names."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from control.scheduler.queue import SchedulingQueue

_SECONDS: Final = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1.0)
_PLACES: Final = ("active", "backoff", "unschedulable", "gated")


class Metrics:
    """One registry a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("leader_election_master_status", "1 while this process leads.", registry=self.registry)
        self._attempts = Counter(
            "scheduler_schedule_attempts_total", "Decisions by outcome.", ["result"], registry=self.registry
        )
        self._seconds = Histogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Time to decide on one pod.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._pending = Gauge("scheduler_pending_pods", "Pods that wait.", ["queue"], registry=self.registry)
        self._queue: SchedulingQueue | None = None

    def decided(self, scheduled: bool, seconds: float) -> None:
        """One decision was made."""
        self._attempts.labels("scheduled" if scheduled else "unschedulable").inc()
        self._seconds.observe(seconds)

    def see(self, queue: SchedulingQueue) -> None:
        """Whose pods wait; they are counted when somebody asks."""
        if self._queue is None:
            self._queue = queue
            for place in _PLACES:
                self._pending.labels(place).set_function(lambda place=place: queue.count(place))  # type: ignore[misc]
