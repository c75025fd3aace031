"""The JSON gateway beside etcd 3.5's: the same requests in the same order, the same answers."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
import time
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from harness.binaries import subject
from harness.cluster import Cluster
from harness.require import require

# Of one cluster or one moment, or named otherwise by us and by etcd.
VOLATILE = {"cluster_id", "member_id", "raft_term", "dbSize", "dbSizeInUse", "raftIndex", "raftTerm", "hash", "leader"}
VOLATILE |= {"raftAppliedIndex", "version", "storageVersion", "compact_revision", "remaining_bytes", "token"}


def b64(text: str) -> str:
    return b64encode(text.encode()).decode()


A, B, C = b64("a"), b64("b"), b64("c")
END = b64("\0")
Case = tuple[str, Any]

# In this order, because each may depend on those before it.
CASES: list[Case] = [
    ("kv/put", {"key": A, "value": B}),
    ("kv/put", {"key": A, "value": C, "prev_kv": True}),
    ("kv/put", {"key": A, "value": C, "prevKv": True}),
    ("kv/put", {"key": B}),
    ("kv/put", {"key": A, "lease": "12345"}),
    ("kv/put", {"key": A, "ignore_value": True, "value": A}),
    ("kv/put", {}),
    ("kv/range", {"key": A}),
    ("kv/range", {"key": A, "nosuch": {"x": [1]}}),
    ("kv/range", {"key": A, "range_end": END, "limit": 1}),
    ("kv/range", {"key": A, "rangeEnd": END, "limit": "1"}),
    ("kv/range", {"key": A, "range_end": END, "sort_order": "DESCEND", "sort_target": "MOD"}),
    ("kv/range", {"key": A, "range_end": END, "sort_order": 2, "sort_target": 3}),
    ("kv/range", {"key": A, "sort_order": "NONSENSE"}),
    ("kv/range", {"key": A, "range_end": END, "keys_only": True}),
    ("kv/range", {"key": A, "range_end": END, "count_only": True}),
    ("kv/range", {"key": A, "revision": 2}),
    ("kv/range", {"key": A, "revision": "999"}),
    ("kv/range", {"key": A, "revision": -1}),
    ("kv/range", {"key": A, "serializable": True}),
    ("kv/range", {"key": "!!!"}),
    ("kv/range", {"key": "YQ"}),
    ("kv/range", {"key": 5}),
    ("kv/range", {"key": A, "limit": "x"}),
    ("kv/range", {"key": A, "limit": 2**70}),
    ("kv/range", []),
    ("kv/range", None),
    ("kv/range", "text"),
    (
        "kv/txn",
        {
            "compare": [{"key": A, "target": "VALUE", "value": C, "result": "EQUAL"}],
            "success": [{"request_range": {"key": A}}, {"requestPut": {"key": C, "value": A}}],
            "failure": [{"request_delete_range": {"key": A}}],
        },
    ),
    ("kv/txn", {"compare": [{"key": A, "target": "CREATE", "create_revision": "1"}], "failure": []}),
    ("kv/txn", {"success": [{"request_put": {"key": A}}, {"request_put": {"key": A}}]}),
    ("kv/txn", {"success": [{"request_put": {"key": "?"}}]}),
    ("kv/deleterange", {"key": C, "prev_kv": True}),
    ("kv/deleterange", {"key": C}),
    ("kv/compaction", {"revision": 3}),
    ("kv/compaction", {"revision": 3}),
    ("kv/compaction", {"revision": 9999}),
    ("lease/grant", {"TTL": "1000", "ID": "77"}),
    ("lease/grant", {"TTL": 1000, "ID": 77}),
    ("lease/grant", {"TTL": 99999999999}),
    ("kv/put", {"key": B, "value": B, "lease": 77}),
    ("lease/timetolive", {"ID": "78"}),
    ("kv/lease/timetolive", {"ID": "78", "keys": True}),
    ("lease/leases", {}),
    ("kv/lease/leases", {}),
    ("lease/keepalive", {"ID": "77"}),
    ("lease/keepalive", {"ID": "99"}),
    ("kv/lease/revoke", {"ID": 77}),
    ("lease/revoke", {"ID": 77}),
    ("maintenance/alarm", {}),
    ("maintenance/alarm", {"action": "ACTIVATE", "memberID": "5", "alarm": "NOSPACE"}),
    ("kv/put", {"key": A}),
    ("maintenance/alarm", {"action": "DEACTIVATE", "memberID": "5", "alarm": "NOSPACE"}),
    ("maintenance/status", {}),
    ("maintenance/hash", {}),
    ("maintenance/transfer-leadership", {"targetID": "1"}),
    ("lock/unlock", {"key": b64("nothing")}),
    ("election/leader", {"name": b64("e")}),
    ("election/proclaim", {"value": A}),
    ("auth/status", {}),
    ("auth/role/add", {"name": "r"}),
    ("auth/role/add", {"name": "r"}),
    ("auth/role/add", {"name": "root"}),
    ("auth/role/grant", {"name": "r", "perm": {"permType": "READWRITE", "key": A, "range_end": B}}),
    ("auth/role/get", {"role": "r"}),
    ("auth/role/get", {"role": "nobody"}),
    ("auth/role/list", {}),
    ("auth/role/revoke", {"role": "r", "key": A, "range_end": B}),
    ("auth/role/delete", {"role": "r"}),
    ("auth/user/add", {"name": "u", "password": "p"}),
    ("auth/user/add", {"name": "root", "password": "p"}),
    ("auth/user/changepw", {"name": "u", "password": "q"}),
    ("auth/user/grant", {"user": "root", "role": "root"}),
    ("auth/user/revoke", {"name": "root", "role": "none"}),
    ("auth/user/get", {"name": "root"}),
    ("auth/user/list", {}),
    ("auth/user/delete", {"name": "nobody"}),
    ("auth/authenticate", {"name": "root", "password": "p"}),
    ("auth/disable", {}),
    ("nothing", {}),
    ("kv", {}),
    ("", {}),
]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """Ours and etcd's, one member each."""
    kind = subject()
    require(kind)
    require("etcd-3.5")
    with Cluster(kind, 1) as ours, Cluster("etcd-3.5", 1) as theirs:
        yield ours, theirs


def ask(cluster: Cluster, path: str, body: Any, headers: dict[str, str] | None = None, method: str = "POST") -> Any:
    """(status, content type, body as JSON without what differs by chance)."""
    connection = http.client.HTTPConnection(cluster.endpoints[0], timeout=20)
    try:
        data = body if isinstance(body, str) and body.startswith("raw:") else json.dumps(body)
        connection.request(method, path, data.removeprefix("raw:"), headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        kind = response.headers.get("content-type")
    finally:
        connection.close()
    if kind != "application/json":
        return response.status, kind, text
    return response.status, kind, [strip(json.loads(line)) for line in text.splitlines()]


def strip(value: Any) -> Any:
    if isinstance(value, list):
        return [strip(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "error" in value and "code" in value:
        # The words for JSON that cannot be read are Go's; what the store says of it is compared.
        words = value["error"] if str(value["error"]).startswith(("etcdserver:", "election:", "auth:")) else "?"
        return {"error": words, "code": value["code"]}
    return {key: strip(item) for key, item in value.items() if key not in VOLATILE or isinstance(item, dict)}


@pytest.mark.parametrize("prefix", ["/v3/", "/v3beta/"])
def test_every_path_answers_as_etcds(pair: tuple[Cluster, Cluster], prefix: str) -> None:
    ours, theirs = pair
    different = []
    for number, (path, body) in enumerate(CASES):
        mine, real = (ask(cluster, prefix + path, body) for cluster in (ours, theirs))
        if path in ("lock/lock", "auth/authenticate"):
            # The token is drawn.
            assert mine[0] == real[0]
            assert [sorted(found) for found in mine[2]] == [sorted(found) for found in real[2]]
            continue
        if mine != real:
            different.append(f"case {number}: {path} {body}\n  ours  {mine}\n  etcd  {real}")
    assert not different, "\n".join(different)


def test_tokens_of_the_gateway_are_the_authorization_header(pair: tuple[Cluster, Cluster]) -> None:
    answers = []
    for cluster in pair:
        ask(cluster, "/v3/auth/user/add", {"name": "root", "password": "p"})
        ask(cluster, "/v3/auth/role/add", {"name": "root"})
        ask(cluster, "/v3/auth/user/changepw", {"name": "root", "password": "p"})
        ask(cluster, "/v3/auth/user/grant", {"user": "root", "role": "root"})
        assert ask(cluster, "/v3/auth/enable", {})[0] == 200
        try:
            token = _token(cluster)
            answers.append(
                [
                    ask(cluster, "/v3/kv/put", {"key": A}),
                    ask(cluster, "/v3/kv/put", {"key": A}, {"Authorization": token}),
                    ask(cluster, "/v3/kv/put", {"key": A}, {"Grpc-Metadata-Token": token}),
                    ask(cluster, "/v3/kv/put", {"key": A}, {"Authorization": "nonsense"}),
                    ask(cluster, "/v3/auth/authenticate", {"name": "root", "password": "wrong"}),
                    ask(cluster, "/v3/lease/leases", {}, {"Authorization": token}),
                ]
            )
        finally:
            assert ask(cluster, "/v3/auth/disable", {}, {"Authorization": _token(cluster)})[0] == 200
    # The revision differs, as what came before does.
    assert [found[0] for found in answers[0]] == [found[0] for found in answers[1]]
    assert [found[0] for found in answers[0]] == [400, 200, 200, 401, 400, 200]


def _token(cluster: Cluster) -> str:
    connection = http.client.HTTPConnection(cluster.endpoints[0], timeout=20)
    try:
        connection.request("POST", "/v3/auth/authenticate", json.dumps({"name": "root", "password": "p"}))
        return str(json.load(connection.getresponse())["token"])
    finally:
        connection.close()


def test_locks_and_elections_work_over_json(pair: tuple[Cluster, Cluster]) -> None:
    answers = []
    for cluster in pair:
        lease = ask(cluster, "/v3/lease/grant", {"TTL": 500})[2][0]["ID"]
        status, _, locked = ask(cluster, "/v3/lock/lock", {"name": b64("door"), "lease": lease})
        unlocked = ask(cluster, "/v3/lock/unlock", {"key": locked[0]["key"]})
        campaign = ask(cluster, "/v3/election/campaign", {"name": b64("post"), "lease": lease, "value": A})
        leader = ask(cluster, "/v3/election/leader", {"name": b64("post")})
        resigned = ask(cluster, "/v3/election/resign", {"leader": campaign[2][0]["leader"]})
        empty = ask(cluster, "/v3/election/leader", {"name": b64("post")})
        assert leader[2][0]["kv"]["value"] == A
        answers.append([status, unlocked[0], campaign[0], sorted(leader[2][0]["kv"]), resigned[0], empty])
    assert answers[0] == answers[1]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused_as_etcd_refuses_them(pair: tuple[Cluster, Cluster], method: str) -> None:
    mine, real = (ask(cluster, "/v3/kv/range", {"key": A}, method=method) for cluster in pair)
    assert mine == real


@pytest.mark.parametrize(
    "body", ["raw:", "raw:{", "raw:{}{}", 'raw:{"key":"YQ=="} rubbish', "raw:\x7f", "raw:" + "[" * 5000]
)
def test_bodies_that_are_no_json_get_the_same_status(pair: tuple[Cluster, Cluster], body: str) -> None:
    mine, real = (ask(cluster, "/v3/kv/range", body) for cluster in pair)
    assert mine[0] == real[0]


class Watching:
    """curl on /v3/watch."""

    def __init__(self, cluster: Cluster, body: Any) -> None:
        url = f"http://{cluster.endpoints[0]}/v3/watch"
        command = ["curl", "-sN", "--max-time", "60", url, "-d", json.dumps(body)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def next(self) -> Any:
        assert self._process.stdout is not None
        return strip(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def test_a_watch_starts_at_once_and_tells_every_change(pair: tuple[Cluster, Cluster], seed: int) -> None:
    draw = random.Random(seed)
    key = b64(f"watched-{seed}")
    changes = [
        ("kv/put", {"key": key, "value": b64(str(n))}) if draw.random() < 0.8 else ("kv/deleterange", {"key": key})
        for n in range(20)
    ]
    heard: list[list[Any]] = []
    for cluster in pair:
        watching = Watching(cluster, {"create_request": {"key": key, "prev_kv": True}})
        try:
            answers = [watching.next()]
            assert answers[0]["result"].get("created") is True
            events: list[Any] = []
            base = int(answers[0]["result"]["header"]["revision"])
            for path, body in changes:
                revision = int(ask(cluster, f"/v3/{path}", body)[2][0]["header"]["revision"])
            while not events or _last(events) < revision:
                events += watching.next()["result"]["events"]
            heard.append([_relative(event, base) for event in events])
        finally:
            watching.close()
    assert heard[0] == heard[1]


def _last(events: list[Any]) -> int:
    return int(events[-1]["kv"]["mod_revision"])


def _relative(event: Any, base: int) -> Any:
    """Revisions counted from the watch's beginning."""
    if isinstance(event, dict):
        return {
            key: int(value) - base if key.endswith("_revision") else _relative(value, base)
            for key, value in event.items()
        }
    return event


def test_a_big_answer_comes_whole_and_in_order(pair: tuple[Cluster, Cluster]) -> None:
    """Made into JSON in a thread, while other answers are not."""
    big = "x" * 60_000
    for cluster in pair:
        for number in range(30):
            assert ask(cluster, "/v3/kv/put", {"key": b64(f"big{number:02}"), "value": b64(big)})[0] == 200
    asked = {"key": b64("big"), "range_end": b64("bih")}
    mine, real = (ask(cluster, "/v3/kv/range", asked)[2][0] for cluster in pair)
    assert [kv["key"] for kv in mine["kvs"]] == [kv["key"] for kv in real["kvs"]]
    assert [kv["value"] for kv in mine["kvs"]] == [b64(big)] * 30


def test_a_snapshot_streams_to_its_end(pair: tuple[Cluster, Cluster]) -> None:
    ours = pair[0]
    status, _, chunks = ask(ours, "/v3/maintenance/snapshot", {})
    assert status == 200
    assert len(chunks) > 1
    assert all("blob" in chunk["result"] for chunk in chunks)


def test_a_client_that_goes_away_ends_its_watch(pair: tuple[Cluster, Cluster]) -> None:
    ours = pair[0]
    before = _watchers(ours)
    watching = Watching(ours, {"create_request": {"key": A}})
    watching.next()
    assert _watchers(ours) == before + 1
    watching.close()
    until = time.monotonic() + 20
    while _watchers(ours) > before:
        assert time.monotonic() < until, "the watch of a client that is gone still stands"


def _watchers(cluster: Cluster) -> int:
    connection = http.client.HTTPConnection(cluster.endpoints[0], timeout=20)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    line = next(line for line in text.splitlines() if line.startswith("etcd_debugging_mvcc_watcher_total "))
    return int(float(line.split()[1]))


def test_a_deadline_ends_a_call_that_waits(pair: tuple[Cluster, Cluster]) -> None:
    """The second lock of one name waits for the first, whose lease outlives the test."""
    for cluster in pair:
        assert ask(cluster, "/v3/lock/lock", {"name": b64("deadline")})[0] == 200
    mine, real = (
        ask(cluster, "/v3/lock/lock", {"name": b64("deadline")}, {"Grpc-Timeout": "300m"}) for cluster in pair
    )
    assert mine[0] == 504
    # etcd's gateway may hear of the deadline from etcd's own handler first, which gives it no code.
    assert real[0] == 504 or (real[0] == 500 and "context deadline exceeded" in str(real[1]))
