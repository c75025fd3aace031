"""Figures for /metrics, under kube-apiserver's names where the meaning is the same.

Counts are plain dictionaries; prometheus-client writes them down when somebody asks.
"""

from __future__ import annotations

import asyncio
import resource as os_resource
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from control.api.kind import Kind
from control.apiserver.request import RequestInfo

if TYPE_CHECKING:
    from control.apiserver.server import Server

# Seconds; the last bucket is everything.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAG_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_LAG_PERIOD: Final = 0.5
_STREAMING: Final = frozenset({"watch"})
_LONG_SUBRESOURCES: Final = frozenset({"log", "exec", "attach", "portforward", "proxy"})


class Histogram:
    """Counts by upper bound, and the sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, int]]:
        """As Prometheus wants them: cumulative, the last one is +Inf."""
        found, running = [], 0
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            running += count
            found.append((bound, running))
        return found


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.requests: dict[tuple[str, ...], int] = defaultdict(int)
        self.durations: dict[tuple[str, ...], Histogram] = defaultdict(lambda: Histogram(BUCKETS))
        self.lag = Histogram(LAG_BUCKETS)
        self.fenced_writes = 0
        self.cut_watches = 0
        self.started = time.time()

    def begin(self) -> None:
        self.in_flight += 1

    def done(self, info: RequestInfo, kind: Kind | None, code: int, seconds: float) -> None:
        """A request ended. Names are those of kinds that are served: what clients make up is all one."""
        self.in_flight -= 1
        labels = (info.verb, "", "", "", "")
        if kind is not None:
            subresource = info.subresource if info.subresource in kind.subresources else ""
            labels = (info.verb, kind.group, kind.version, kind.plural, subresource)
        elif info.is_resource:
            labels = (info.verb, "", "", "unknown", "")
        self.requests[(*labels, str(code))] += 1
        if info.verb not in _STREAMING and info.subresource not in _LONG_SUBRESOURCES:
            self.durations[labels].add(seconds)

    async def watch_loop(self) -> None:
        """Measure how late the loop wakes those who sleep."""
        while True:
            wanted = time.perf_counter() + _LAG_PERIOD
            await asyncio.sleep(_LAG_PERIOD)
            self.lag.add(max(time.perf_counter() - wanted, 0.0))


class _Collector:
    def __init__(self, server: Server) -> None:
        self.server = server

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        metrics, names = self.server.metrics, ["verb", "group", "version", "resource", "subresource"]
        counter = CounterMetricFamily(
            "apiserver_request", "Requests by verb, resource and code.", labels=[*names, "code"]
        )
        for labels, count in metrics.requests.items():
            counter.add_metric(labels, count)
        yield counter
        times = HistogramMetricFamily("apiserver_request_duration_seconds", "How long they took.", labels=names)
        for labels, histogram in metrics.durations.items():
            times.add_metric(list(labels), histogram.buckets(), histogram.total)
        yield times
        lag = HistogramMetricFamily("fluyt_apiserver_loop_lag_seconds", "How late the event loop is.")
        lag.add_metric([], metrics.lag.buckets(), metrics.lag.total)
        yield lag
        for name, text, value in self._gauges():
            yield GaugeMetricFamily(name, text, value=value)
        objects = GaugeMetricFamily("apiserver_storage_objects", "Objects in the watch cache.", labels=["resource"])
        watchers = GaugeMetricFamily("apiserver_longrunning_requests", "Watches by resource.", labels=["resource"])
        for prefix, cache in self.server.feed.caches.items():
            resource = prefix.decode().removeprefix("/registry/").strip("/")
            objects.add_metric([resource], len(cache.objects))
            watchers.add_metric([resource], len(cache.watchers))
        yield objects
        yield watchers

    def _gauges(self) -> Iterator[tuple[str, str, float]]:
        metrics = self.server.metrics
        yield "apiserver_current_inflight_requests", "Requests being served now, streams among them.", metrics.in_flight
        yield "fluyt_apiserver_cache_revision", "The store's revision that the cache shows.", self.server.feed.revision
        yield "fluyt_apiserver_store_connected", "Whether the store's watch stands.", float(self.server.feed.connected)
        yield (
            "fluyt_apiserver_fenced_writes",
            "Writes refused: their leadership was over.",
            metrics.fenced_writes,
        )
        yield "fluyt_apiserver_cut_watches", "Watches ended because they read too slowly.", metrics.cut_watches
        usage = os_resource.getrusage(os_resource.RUSAGE_SELF)
        yield "process_resident_memory_max_bytes", "Most memory this process has had.", usage.ru_maxrss * 1024
        yield "process_cpu_seconds", "CPU time used.", usage.ru_utime + usage.ru_stime
        yield "process_start_time_seconds", "When it started.", metrics.started


def exposition(server: Server) -> str:
    """The page; the library is imported late, because a server starts before anybody asks for figures."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(_Collector(server))
    return generate_latest(registry).decode()
