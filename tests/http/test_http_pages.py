"""/health, /livez, /readyz, /version, CORS, host names, and the ports for metrics, asked for over HTTP."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator

import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.ports import free_port
from harness.require import require
from harness.wait import wait_until

from kvstore.pb import etcd_pb2 as pb

ClusterFactory = Callable[..., Cluster]


class Answer:
    """A whole response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.text = response.read().decode()


def ask(endpoint: str, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
    connection = http.client.HTTPConnection(endpoint, timeout=20)
    try:
        connection.request(method, path, headers=headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def one() -> Iterator[Cluster]:
    require(subject())
    with Cluster(subject(), 1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def ours(one: Cluster) -> Iterator[Cluster]:
    """What etcd 3.5.1 has not."""
    if one.kind == "fluyt":
        yield one
        return
    require("fluyt")
    with Cluster("fluyt", 1) as cluster:
        yield cluster


@pytest.fixture
def alarmed(one: Cluster) -> Iterator[Cluster]:
    """With the NOSPACE alarm raised."""
    alarm = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=1, alarm=pb.NOSPACE)
    one.stub().Alarm(alarm, timeout=10)
    yield one
    alarm.action = pb.AlarmRequest.DEACTIVATE
    one.stub().Alarm(alarm, timeout=10)


@pytest.mark.parametrize("path", ["/health", "/health?serializable=true", "/health?serializable=nonsense"])
def test_a_good_member_is_healthy(one: Cluster, path: str) -> None:
    answer = ask(one.endpoints[0], path)
    assert (answer.status, answer.text) == (200, '{"health":"true","reason":""}')


def test_an_alarm_is_ill_health_unless_excluded(alarmed: Cluster) -> None:
    answer = ask(alarmed.endpoints[0], "/health")
    assert (answer.status, json.loads(answer.text)) == (503, {"health": "false", "reason": "ALARM NOSPACE"})
    assert ask(alarmed.endpoints[0], "/health?exclude=CORRUPT").status == 503
    assert ask(alarmed.endpoints[0], "/health?exclude=NOSPACE").status == 200


def test_a_full_member_can_still_be_read(ours: Cluster, alarmed: Cluster) -> None:
    assert ask(ours.endpoints[0], "/readyz").status == 200


def test_without_a_quorum_a_member_lives_but_is_not_ready() -> None:
    require("fluyt")
    with Cluster("fluyt", 3) as cluster:
        for index in (1, 2):
            cluster.kill(index)
        wait_until(lambda: ask(cluster.endpoints[0], "/health").status == 503, "ill health", timeout=30)
        endpoint = cluster.endpoints[0]
        assert "RAFT NO LEADER" in ask(endpoint, "/health").text
        assert ask(endpoint, "/health?serializable=true").status == 200
        assert ask(endpoint, "/livez").status == 200
        ready = ask(endpoint, "/readyz")
        assert ready.status == 503
        assert "[-]linearizable_read failed: etcdserver: " in ready.text
        assert "[+]serializable_read ok" in ready.text
        assert ask(endpoint, "/readyz?exclude=linearizable_read").text == "ok\n"
        assert ask(endpoint, "/readyz/linearizable_read").status == 503


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/livez", 200, "ok\n"),
        ("/livez?verbose", 200, "[+]serializable_read ok\nok\n"),
        ("/livez/serializable_read", 200, "ok\n"),
        ("/readyz", 200, "ok\n"),
        (
            "/readyz?verbose&exclude=non_learner&exclude=nonsense",
            200,
            "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\nok\n",
        ),
        ("/readyz/data_corruption?verbose", 200, "[+]data_corruption ok\nok\n"),
        ("/readyz/nonsense", 404, "404 page not found\n"),
        ("/livez/", 200, "ok\n"),
        ("/nonsense", 404, "404 page not found\n"),
    ],
)
def test_named_checks(ours: Cluster, path: str, status: int, text: str) -> None:
    answer = ask(ours.endpoints[0], path)
    assert (answer.status, answer.text) == (status, text)


@pytest.mark.parametrize("path", ["/health", "/version"])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_pages_are_only_read(one: Cluster, path: str, method: str) -> None:
    answer = ask(one.endpoints[0], path, method)
    assert (answer.status, answer.headers.get("allow"), answer.text) == (405, "GET", "Method Not Allowed\n")


def test_versions_are_dotted_integers(one: Cluster) -> None:
    found = json.loads(ask(one.endpoints[0], "/version").text)
    assert set(found) == {"etcdserver", "etcdcluster"}
    assert all(part.isdigit() for version in found.values() for part in version.split("."))


def test_any_origin_may_call_unless_told_otherwise(one: Cluster) -> None:
    answer = ask(one.endpoints[0], "/version", headers={"Origin": "http://page.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    preflight = ask(one.endpoints[0], "/v3/kv/range", "OPTIONS", {"Origin": "http://page.example"})
    assert preflight.status == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "authorization" in preflight.headers["access-control-allow-headers"]


def test_only_named_origins_and_hosts_may_call(new_cluster: ClusterFactory) -> None:
    flags = ["--cors", "http://good.example,http://better.example", "--host-whitelist", "127.0.0.1,db.example"]
    endpoint = new_cluster(members=1, flags=flags).endpoints[0]
    good = ask(endpoint, "/version", headers={"Origin": "http://good.example"})
    assert good.headers["access-control-allow-origin"] == "http://good.example"
    assert (
        "access-control-allow-origin" not in ask(endpoint, "/version", headers={"Origin": "http://bad.example"}).headers
    )
    assert ask(endpoint, "/health", headers={"Host": "db.example:2379"}).status == 200
    assert ask(endpoint, "/health", headers={"Host": "rebound.example"}).status == 421


def test_ports_for_metrics_show_nothing_else(new_cluster: ClusterFactory) -> None:
    ports = [free_port(), free_port()]
    urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    cluster = new_cluster(members=1, flags=["--listen-metrics-urls", urls])
    for port in ports:
        endpoint = f"127.0.0.1:{port}"
        assert "etcd_server_has_leader 1" in ask(endpoint, "/metrics").text
        assert ask(endpoint, "/health").status == 200
        assert ask(endpoint, "/v3/kv/range", "POST").status == 404
    assert ask(cluster.endpoints[0], "/health").status == 200


def test_the_gateway_can_be_turned_off(new_cluster: ClusterFactory) -> None:
    endpoint = new_cluster("fluyt", members=1, flags=["--enable-grpc-gateway=false"]).endpoints[0]
    assert ask(endpoint, "/v3/kv/range", "POST").status == 404
    assert ask(endpoint, "/health").status == 200
