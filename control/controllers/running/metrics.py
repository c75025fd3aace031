"""What the controllers count, under the names kube-controller-manager uses where it has them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0)


class Metrics:
    """One registry a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Counter(
            "controller_runtime_reconcile_total",
            "Passes by controller and how they ended.",
            ["controller", "result"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "workqueue_work_duration_seconds",
            "Time from taking a key to having dealt with it.",
            ["name"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.depth = Gauge("workqueue_depth", "Keys that wait.", ["name"], registry=self.registry)
        self.leader = Gauge(
            "leader_election_master_status", "1 while this process leads.", ["name"], registry=self.registry
        )
        self.fenced = Counter(
            "fluyt_fenced_writes_refused",
            "Writes refused because the term they were made in is over.",
            registry=self.registry,
        )
