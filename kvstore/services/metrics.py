"""/metrics: etcd's names, so that its dashboards and alert rules work, and ours beside them.

Hot paths count in plain ints; the Prometheus families are made here, when somebody asks.
"""

from __future__ import annotations

import os
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
from kvstore.version import ETCD_CLUSTER_VERSION, ETCD_VERSION, FLUYT_VERSION
from kvstore.wire.grpc.methods import Method
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
        yield from self._process_families()
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
        yield _counter("etcd_server_proposals_failed", "Requests that timed out", m.waiting.failed_proposals)
        yield _gauge("etcd_server_quota_backend_bytes", "Quota of the backend", m.config.quota)
        yield _label("etcd_server_version", "The etcd version we are compatible with", "server_version", ETCD_VERSION)
        cluster = ETCD_CLUSTER_VERSION.rpartition(".")[0]
        yield _label("etcd_cluster_version", "The version all members are compatible with", "cluster_version", cluster)
        yield _label("etcd_server_id", "This member's id", "server_id", f"{m.id:x}")
        yield _counter(
            "etcd_server_heartbeat_send_failures", "Messages to peers that were dropped", m.links.dropped_messages
        )
        yield _counter("etcd_server_slow_apply", "Turns of the loop that took over 100 ms", _above(m.loop_lag, 0.1))
        yield _counter("etcd_server_read_indexes_failed", "Linearizable reads that timed out", m.waiting.failed_reads)
        yield from self._health_families()

    def _health_families(self) -> Iterable[Metric]:
        health = self._health
        # etcd's counters without _total at the end of their names, which our library takes for gauges only.
        yield _gauge("etcd_server_health_success", "Answers of /health that were good", health.successes)
        yield _gauge("etcd_server_health_failures", "Answers of /health that were bad", health.failures)
        latest = GaugeMetricFamily("etcd_server_healthcheck", "Checks as they went last", labels=["type", "name"])
        for (page, name), ok in health.latest.items():
            latest.add_metric([page, name], 1 if ok else 0)
        yield latest
        outcomes = CounterMetricFamily(
            "etcd_server_healthchecks", "Checks of /livez and /readyz", labels=["type", "name", "status"]
        )
        for labels, count in health.outcomes.items():
            outcomes.add_metric(labels, count)
        yield outcomes

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
        yield _gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams", self._watch_streams())
        yield _gauge("etcd_debugging_mvcc_slow_watcher_total", "Watchers that read history", m.watches.slow_count)
        yield _gauge("etcd_debugging_auth_revision", "Revision of users and roles", m.auth.revision)
        yield _counter("etcd_mvcc_put", "Keys put, those of transactions included", m.store.put_count)
        yield _counter("etcd_mvcc_delete", "Keys deleted, those of transactions included", m.store.delete_count)
        yield _counter("etcd_debugging_lease_granted", "Leases granted", m.lessor.granted)
        yield _counter("etcd_debugging_lease_renewed", "Leases renewed, by a leader", m.lessor.renewed)
        yield _counter("etcd_debugging_lease_revoked", "Leases revoked", m.lessor.revoked)
        yield _counter("etcd_debugging_server_lease_expired", "Leases that ran out", m.state.applier.expired_leases)

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
        yield self._round_trips()
        connected = links.connected()
        active = GaugeMetricFamily("etcd_network_active_peers", "Peers we can talk to", labels=["Local", "Remote"])
        for peer in connected:
            active.add_metric([f"{self._member.id:x}", f"{peer:x}"], 1)
        yield active
        yield _counter("etcd_network_client_grpc_sent_bytes", "Bytes sent to clients", self._server.stats.sent)
        yield _counter(
            "etcd_network_client_grpc_received_bytes", "Bytes received from clients", self._server.stats.received
        )

    def _grpc_families(self) -> Iterable[Metric]:
        started = CounterMetricFamily("grpc_server_started", "Calls begun", labels=_METHOD)
        handled = CounterMetricFamily("grpc_server_handled", "Calls ended", labels=[*_METHOD, "grpc_code"])
        for path, method in self._server.methods.items():
            _, service, name = path.split("/")
            labels = [_kind(method), service, name]
            started.add_metric(labels, method.started)
            for code, count in enumerate(method.handled):
                if count:
                    handled.add_metric([*labels, _code_name(code)], count)
        yield started
        yield handled

    def _round_trips(self) -> Metric:
        family = HistogramMetricFamily(
            "etcd_network_peer_round_trip_time_seconds", "Round trips to peers", labels=["To"]
        )
        for peer, histogram in self._member.links.round_trips.items():
            family.add_metric([f"{peer:x}"], histogram.buckets(), histogram.sum)
        return family

    def _watch_streams(self) -> int:
        """Watch calls begun and not ended."""
        method = self._server.methods.get("/etcdserverpb.Watch/Watch")
        return method.started - sum(method.handled) if method is not None else 0

    def _process_families(self) -> Iterable[Metric]:
        """What Go's collector has and ours has not."""
        used = len(os.listdir("/proc/self/fd"))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        yield _gauge("os_fd_used", "Open file descriptors", used)
        yield _gauge("os_fd_limit", "Most file descriptors", soft)
        memory, _ = resource.getrlimit(resource.RLIMIT_AS)
        most = memory if memory != resource.RLIM_INFINITY else 2**64 - 1
        yield _gauge("process_virtual_memory_max_bytes", "Most virtual memory", most)

    def _own_families(self) -> Iterable[Metric]:
        m = self._member
        yield _histogram("fluyt_loop_lag_seconds", "How late the event loop came to a timer", m.loop_lag)
        yield _histogram("fluyt_batch_requests", "Requests in one log entry", m.applying.batch_sizes)
        yield _gauge(
            "fluyt_max_resident_memory_bytes", "Peak memory", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        )
        info = GaugeMetricFamily("fluyt_version", "Our own version", labels=["version"])
        info.add_metric([FLUYT_VERSION], 1)
        yield info


_SERVER_STREAMS = frozenset(
    (
        "/etcdserverpb.Maintenance/Snapshot",
        "/etcdserverpb.KV/RangeStream",
        "/v3electionpb.Election/Observe",
        "/grpc.health.v1.Health/Watch",
    )
)
_METHOD = ["grpc_type", "grpc_service", "grpc_method"]


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _label(name: str, text: str, label: str, value: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    family.add_metric([value], 1)
    return family


def _above(histogram: Histogram, bound: float) -> int:
    """Observations above a bound of the histogram."""
    return sum(histogram.counts[histogram.bounds.index(bound) + 1 :])


def _kind(method: Method) -> str:
    """grpc-go's word for a method."""
    if method.unary is not None:
        return "unary"
    return "server_stream" if method.path in _SERVER_STREAMS else "bidi_stream"


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=histogram.buckets(), sum_value=histogram.sum)


def _code_name(code: int) -> str:
    """grpc-go's names: OK, InvalidArgument, …"""
    name = Code(code).name
    return name if name == "OK" else "".join(part.title() for part in name.split("_"))
