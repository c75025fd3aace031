"""/metrics: etcd's names, so that its dashboards and alert rules work, and ours beside them.

Hot paths count in plain ints; the Prometheus families are made here, when somebody asks.
"""

from __future__ import annotations

import resource
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector

from kvstore.errors import Code
from kvstore.member.histogram import Histogram
from kvstore.member.member import Member
from kvstore.services.health_http import HealthPages
from kvstore.version import ETCD_VERSION, FLUYT_VERSION
from kvstore.wire.server import GrpcServer


def render(member: Member, server: GrpcServer, health: HealthPages) -> tuple[bytes, str]:
    """The exposition and its content type."""
    registry = CollectorRegistry()
    registry.register(_Collector(member, server, health))
    ProcessCollector(registry=registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    """One reading of one member."""

    def __init__(self, member: Member, server: GrpcServer, health: HealthPages) -> None:
        self._member = member
        self._server = server
        self._health = health

    def collect(self) -> Iterable[Metric]:
        """All families."""
        yield from self._server_families()
        yield from self._store_families()
        yield from self._network_families()
        yield from self._grpc_families()
        yield from self._own_families()

    def _server_families(self) -> Iterable[Metric]:
        m = self._member
        yield _gauge("etcd_server_has_leader", "Whether a leader is known", 1 if m.leader_id else 0)
        yield _gauge("etcd_server_is_leader", "Whether this member leads", 1 if m.is_leader else 0)
        yield _gauge("etcd_server_is_learner", "Whether this member is a learner", 1 if m.is_learner else 0)
        yield _counter("etcd_server_leader_changes_seen", "Changes of leader", m.leader_changes)
        yield _gauge("etcd_server_proposals_committed_total", "Committed log index", m.driver.committed)
        yield _gauge("etcd_server_proposals_applied_total", "Applied log index", m.state.applied_index)
        yield _gauge("etcd_server_proposals_pending", "Requests on their way through the log", m.pending)
        yield _counter("etcd_server_proposals_failed", "Requests that timed out", m.failed_proposals)
        yield _gauge("etcd_server_quota_backend_bytes", "Quota of the backend", m.config.quota)
        version = GaugeMetricFamily(
            "etcd_server_version", "The etcd version we are compatible with", labels=["server_version"]
        )
        version.add_metric([ETCD_VERSION], 1)
        yield version

    def _store_families(self) -> Iterable[Metric]:
        m = self._member
        yield _histogram("etcd_disk_wal_fsync_duration_seconds", "fdatasync of the log", m.fsync_seconds)
        yield _histogram("etcd_disk_backend_commit_duration_seconds", "Commit of the backend", m.commit_seconds)
        yield _gauge("etcd_mvcc_db_total_size_in_bytes", "Size of the backend", m.state.backend.size())
        yield _gauge(
            "etcd_mvcc_db_total_size_in_use_in_bytes", "Used bytes of the backend", m.state.backend.size_in_use()
        )
        yield _gauge("etcd_debugging_mvcc_keys_total", "Live keys", m.store.key_count)
        yield _gauge("etcd_debugging_mvcc_current_revision", "Current revision", m.store.revision)
        yield _gauge("etcd_debugging_mvcc_compact_revision", "Compacted revision", m.store.compacted_revision)
        yield _gauge("etcd_debugging_mvcc_watcher_total", "Watchers", m.watches.watcher_count)
        yield _gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams", m.watches.watcher_count)
        yield _gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read history", m.watches.slow_count)

    def _network_families(self) -> Iterable[Metric]:
        links = self._member.links
        for name, text, values in (
            ("etcd_network_peer_sent_bytes", "Bytes sent to a peer", links.sent_bytes),
            ("etcd_network_peer_received_bytes", "Bytes received from a peer", links.received_bytes),
            ("etcd_network_peer_sent_failures", "Messages to a peer that were dropped", links.send_failures),
        ):
            family = CounterMetricFamily(name, text, labels=["From" if "received" in name else "To"])
            for peer, value in values.items():
                family.add_metric([f"{peer:x}"], value)
            yield family
        yield _counter("etcd_network_client_grpc_sent_bytes", "Bytes sent to clients", self._server.stats.sent)
        yield _counter(
            "etcd_network_client_grpc_received_bytes", "Bytes received from clients", self._server.stats.received
        )

    def _grpc_families(self) -> Iterable[Metric]:
        started = CounterMetricFamily("grpc_server_started", "Calls begun", labels=_METHOD)
        handled = CounterMetricFamily("grpc_server_handled", "Calls ended", labels=[*_METHOD, "grpc_code"])
        for path, method in self._server.methods.items():
            _, service, name = path.split("/")
            labels = ["unary" if method.unary else "bidi_stream", service, name]
            started.add_metric(labels, method.started)
            for code, count in enumerate(method.handled):
                if count:
                    handled.add_metric([*labels, _code_name(code)], count)
        yield started
        yield handled

    def _own_families(self) -> Iterable[Metric]:
        m = self._member
        yield _histogram("fluyt_loop_lag_seconds", "How late the event loop came to a timer", m.loop_lag)
        yield _histogram("fluyt_batch_requests", "Requests in one log entry", m.batch_sizes)
        yield _gauge(
            "fluyt_max_resident_memory_bytes", "Peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        info = GaugeMetricFamily("fluyt_version", "Our own version", labels=["version"])
        info.add_metric([FLUYT_VERSION], 1)
        yield info


_METHOD = ["grpc_type", "grpc_service", "grpc_method"]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.sum)


def _code_name(code: int) -> str:
    """grpc-go's names: OK, InvalidArgument, …"""
    name = Code(code).name
    return name if name == "OK" else "".join(part.title() for part in name.split("_"))
