"""/metrics beside etcd 3.5's: what dashboards and alerts read is there, of the same type; what is left out is known."""

from __future__ import annotations

import re
import urllib.request

import pytest
from harness.binaries import Kind, subject
from harness.cluster import Cluster
from harness.etcdctl import etcdctl
from harness.require import require
from harness.wait import wait_until

# Read by etcd's own Grafana dashboard and alert rules (contrib/mixin), and by the usual ones of others.
DASHBOARDS = {
    "etcd_cluster_version",
    "etcd_debugging_mvcc_compact_revision",
    "etcd_debugging_mvcc_current_revision",
    "etcd_debugging_mvcc_keys_total",
    "etcd_debugging_mvcc_slow_watcher_total",
    "etcd_debugging_mvcc_watch_stream_total",
    "etcd_debugging_mvcc_watcher_total",
    "etcd_disk_backend_commit_duration_seconds",
    "etcd_disk_wal_fsync_duration_seconds",
    "etcd_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_use_in_bytes",
    "etcd_mvcc_delete_total",
    "etcd_mvcc_put_total",
    "etcd_network_active_peers",
    "etcd_network_client_grpc_received_bytes_total",
    "etcd_network_client_grpc_sent_bytes_total",
    "etcd_network_peer_received_bytes_total",
    "etcd_network_peer_round_trip_time_seconds",
    "etcd_network_peer_sent_bytes_total",
    "etcd_server_has_leader",
    "etcd_server_health_failures",
    "etcd_server_health_success",
    "etcd_server_heartbeat_send_failures_total",
    "etcd_server_id",
    "etcd_server_is_leader",
    "etcd_server_is_learner",
    "etcd_server_leader_changes_seen_total",
    "etcd_server_proposals_applied_total",
    "etcd_server_proposals_committed_total",
    "etcd_server_proposals_failed_total",
    "etcd_server_proposals_pending",
    "etcd_server_quota_backend_bytes",
    "etcd_server_read_indexes_failed_total",
    "etcd_server_slow_apply_total",
    "etcd_server_version",
    "grpc_server_handled_total",
    "grpc_server_started_total",
    "os_fd_limit",
    "os_fd_used",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "process_virtual_memory_max_bytes",
}
# Names of etcd's that we do not have, and why.
ABSENT = {
    r"go_.*": "there is no Go runtime",
    r"promhttp_.*": "the exposition is not Go's",
    r"etcd_server_go_version": "there is no Go runtime",
    r"etcd_grpc_proxy_.*": "there is no gRPC proxy",
    r"etcd_debugging_store_.*": "the v2 store is not served",
    r"etcd_debugging_disk_backend_.*": "of bbolt's commits",
    r"etcd_disk_(backend_defrag|backend_snapshot).*|etcd_disk_defrag_inflight": "of bbolt's files",
    r"etcd_disk_wal_write_bytes_total": "not counted",
    r"etcd_(debugging_)?snap_.*|etcd_server_snapshot_apply_in_progress_total": "snapshots are not etcd's files",
    r"etcd_network_snapshot_.*|etcd_network_peer_(sent|received)_failures_total": "only when one happens",
    r"etcd_network_(disconnected_peers_total|known_peers)": "see etcd_network_active_peers",
    r"etcd_mvcc_(hash|db_open_read|range_total|txn_total).*": "not counted: it would cost more than it tells",
    r"etcd_debugging_mvcc_(db_compaction|index_compaction|events|pending|range|total_put).*": "not counted",
    r"etcd_debugging_lease_ttl_total": "not counted",
    r"etcd_server_(apply_duration_seconds|client_requests_total|slow_read_indexes_total|learner_.*)": "not counted",
    r"grpc_server_msg_.*": "not counted",
}
# Counters whose names do not end in _total, which our library can only show as gauges.
GAUGES_HERE = {"etcd_server_health_success", "etcd_server_health_failures"}
_TYPE = re.compile(r"^# TYPE (\S+) (\S+)$", re.MULTILINE)


def scrape(cluster: Cluster, index: int = 0) -> str:
    with urllib.request.urlopen(f"http://{cluster.endpoints[index]}/metrics", timeout=20) as response:
        text: str = response.read().decode()
        return text


def families(kind: Kind) -> tuple[dict[str, str], str]:
    """name → type of every family of a member that has served a bit, and the whole text."""
    require(kind)
    with Cluster(kind, 3) as cluster:
        leader = cluster.leader()
        for number in range(5):
            etcdctl("3.5", "put", f"k{number}", "v", endpoints=cluster.endpoints)
        wait_until(
            lambda: re.search(r"peer_round_trip_time_seconds_count.* [1-9]", scrape(cluster, leader)),
            "a measured round trip",
            timeout=60,
            interval=0.3,
        )
        text = scrape(cluster, leader)
    return dict(_TYPE.findall(text)), text


@pytest.fixture(scope="module")
def ours() -> tuple[dict[str, str], str]:
    return families(subject())


@pytest.fixture(scope="module")
def theirs() -> tuple[dict[str, str], str]:
    return families("etcd-3.5")


Found = tuple[dict[str, str], str]


def test_what_dashboards_read_is_there_and_of_etcds_type(ours: Found, theirs: Found) -> None:
    etcd = {name: kind for name, kind in theirs[0].items() if name in DASHBOARDS}
    assert set(etcd) == DASHBOARDS, "the list names only what etcd has"
    mine = {name: kind for name, kind in ours[0].items() if name in DASHBOARDS}
    if subject() == "fluyt":
        etcd |= dict.fromkeys(GAUGES_HERE, "gauge")
    assert mine == etcd


def test_every_name_of_etcds_is_ours_or_known_to_be_absent(ours: Found, theirs: Found) -> None:
    absent = re.compile("|".join(f"(?:{pattern})" for pattern in ABSENT))
    missing = sorted(name for name in theirs[0] if name not in ours[0] and not absent.fullmatch(name))
    assert not missing


def test_labels_are_etcds(ours: Found, theirs: Found) -> None:
    different = []
    for name in sorted(DASHBOARDS):
        labels = [_labels(text, name) for _, text in (ours, theirs)]
        if labels[0] != labels[1]:
            different.append((name, labels))
    assert not different


def _labels(text: str, name: str) -> set[str]:
    lines = re.findall(rf"^{name}(?:_bucket|_sum|_count)?(?:\{{(.*)\}})? ", text, re.MULTILINE)
    return {label for line in lines for label in re.findall(r'(\w+)="', line)}
