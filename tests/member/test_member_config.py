"""Flags: what is taken, what is refused, and that the refusal says what to do."""

from __future__ import annotations

import pytest

from kvstore.member.cluster import Cluster, cluster_id, member_id
from kvstore.member.compactor import Compactor, parse_duration, parse_retention
from kvstore.member.config import Config, ConfigError, parse_cluster, parse_url, split_urls


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("http://127.0.0.1:2379", "127.0.0.1", 2379, False),
        ("https://example:1", "example", 1, True),
        ("http://[::1]:2380/", "::1", 2380, False),
    ],
)
def test_urls(url: str, host: str, port: int, tls: bool) -> None:
    address = parse_url(url, "listen-client-urls")
    assert (address.host, address.port, address.tls) == (host, port, tls)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("127.0.0.1:2379", "must begin with http:// or https://"),
        ("http://127.0.0.1", "needs a host and a port"),
        ("http://127.0.0.1:seven", "needs a host and a port"),
        ("http://:2379", "needs a host and a port"),
        ("http://127.0.0.1:2379/path", "must have nothing after the port"),
        ("unix://sock", "must begin with http"),
    ],
)
def test_bad_urls_name_the_flag_and_the_cure(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match="--listen-client-urls") as refused:
        parse_url(url, "listen-client-urls")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_clusters() -> None:
    assert parse_cluster("a=http://h:1,b=http://h:2,a=http://h:3") == {
        "a": ["http://h:1", "http://h:3"],
        "b": ["http://h:2"],
    }
    for bad in ("", "a", "=http://h:1", "a=h:1"):
        with pytest.raises(ConfigError, match="--initial-cluster"):
            parse_cluster(bad)
    with pytest.raises(ConfigError, match="is empty"):
        split_urls(" , ", "listen-peer-urls")


def test_ids_are_those_that_etcd_computes() -> None:
    """Recorded from etcd 3.5.1 with --initial-cluster-token etcd-cluster and one member at http://localhost:2380."""
    mine = member_id(["http://localhost:2380"], "etcd-cluster")
    assert f"{mine:x}" == "8e9e05c52164694d"
    assert f"{cluster_id([mine]):x}" == "cdf818194e3a8c32"


def test_every_founder_computes_the_same_cluster() -> None:
    peers = {"a": ["http://h:1"], "b": ["http://h:2"]}
    swapped = dict(reversed(list(peers.items())))
    assert cluster_id(Cluster.founders(peers, "t")) == cluster_id(Cluster.founders(swapped, "t"))
    assert cluster_id(Cluster.founders(peers, "t")) != cluster_id(Cluster.founders(peers, "u"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ""}, "--name is empty"),
        ({"heartbeat_interval": 0}, "--heartbeat-interval"),
        ({"election_timeout": 300}, "at least 5 times"),
        ({"election_timeout": 60_000}, "at most 50000"),
        ({"initial_cluster_state": "old"}, "must be new or existing"),
        ({"initial_cluster": {"other": ["http://h:1"]}}, "no member named 'default'"),
        ({"initial_cluster": {"default": ["http://h:1"]}}, "make them equal"),
        ({"auto_compaction_mode": "sometimes"}, "periodic or revision"),
        ({"max_request_bytes": 10}, "--max-request-bytes"),
    ],
)
def test_contradictions(change: dict[str, object], says: str) -> None:
    config = Config(**change)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as refused:
        config.validate()
    assert says in str(refused.value)


def test_durations() -> None:
    assert parse_duration("1h30m", "x") == 5400
    assert parse_duration("100ms", "x") == pytest.approx(0.1)
    for bad in ("", "1", "h", "1h x", "-1h"):
        with pytest.raises(ConfigError):
            parse_duration(bad, "x")
    assert parse_retention("periodic", "2") == 7200
    assert parse_retention("revision", "1000") == 1000
    with pytest.raises(ConfigError, match="not a number of revisions"):
        parse_retention("revision", "1h")


def test_compaction_by_revision_keeps_that_many() -> None:
    compactor = Compactor("revision", 100)
    assert compactor.due(0, 50) == 0
    assert compactor.due(1, 250) == 150
    assert compactor.due(2, 250) == 0, "the same revision is not compacted twice"


def test_compaction_by_time_keeps_the_period() -> None:
    compactor = Compactor("periodic", 3600)
    assert compactor.interval == 360
    targets = [compactor.due(minute * 6 * 60, 1000 + minute) for minute in range(13)]
    assert targets[:10] == [0] * 10, "nothing is older than an hour yet"
    assert targets[10:] == [1000, 1001, 1002]
    assert Compactor("periodic", 0).due(1e9, 5) == 0
