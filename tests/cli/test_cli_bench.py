"""`fluyt bench` against our store and etcd's: what it counts, what it leaves, how it ends, what it says of errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fluyt_process import Runner, Started, interrupt, lines
from harness.cluster import Cluster
from harness.etcdctl import Outcome
from harness.ports import free_port
from harness.tls import Certificates, TlsCluster, server_flags
from harness.wait import wait_until

from kvstore.client import Client
from kvstore.pki.files import certificate_path

LITTLE = ["--total", "40", "--clients", "4", "--connections", "2"]


@pytest.mark.parametrize(
    ("words", "what", "count"),
    [
        (["put", "--val-size", "1000"], "requests", 40),
        (["get", "--key-space", "20"], "requests", 40),
        (["get", "--key-space", "20", "--consistency", "s"], "requests", 40),
        (["mixed", "--key-space", "20", "--reads", "50"], "requests", 40),
        (["txn", "--contenders", "2"], "transactions", 40),
        (["watch", "--watchers", "7"], "events", 280),
        (["lease", "--operation", "grant"], "grants", 40),
        (["lease", "--leases", "10"], "renewals", 40),
    ],
)
def test_every_kind_of_work_is_counted_and_leaves_nothing(
    fluyt: Runner, client: Client, name: str, words: list[str], what: str, count: int
) -> None:
    leases = len(client.leases.list().leases)
    prefix = [] if words[0] == "lease" else ["--prefix", name]
    ran = fluyt("bench", *words, *LITTLE, *prefix, "-w", "json")
    assert (ran.code, ran.stderr) == (0, "")
    found = json.loads(ran.stdout)
    assert (found["bench"], found[what], found["errors"]) == (words[0], count, {})
    assert (found["clients"], found["connections"]) == (4, 2)
    assert found["per_second"] == pytest.approx(count / found["seconds"], rel=0.01)
    took = found["latency_ms"]
    assert 0 < took["fastest"] <= took["p50"] <= took["p99"] <= took["slowest"] <= found["seconds"] * 1000
    assert sum(part["count"] for part in found["histogram"]) == count
    assert not client.get_prefix(name).kvs
    assert len(client.leases.list().leases) == leases


def test_contenders_for_a_key_meet_conflicts(fluyt: Runner, name: str) -> None:
    words = ["bench", "txn", "--total", "200", "--clients", "4", "-w", "json", "--prefix", name]
    alone = json.loads(fluyt(*words).stdout)
    together = json.loads(fluyt(*words, "--contenders", "4").stdout)
    assert alone["conflicts"] == 0 < together["conflicts"]


def test_the_keys_have_the_sizes_asked_for_and_stay_if_they_are_to(fluyt: Runner, client: Client, name: str) -> None:
    client.put(f"{name}other", "stays")
    sizes = ["--key-size", "16", "--val-size", "5", "--key-space", "15"]
    ran = fluyt("bench", "put", *LITTLE, *sizes, "--prefix", name, "--keep", "-w", "table")
    assert ran.code == 0
    own = ran.stderr.strip().removeprefix("The keys are left below ")
    kept = client.get_prefix(own).kvs
    assert own.startswith(name)
    assert (len(kept), {len(kv.key) - len(own) for kv in kept}, {len(kv.value) for kv in kept}) == (15, {16}, {5})
    fluyt("bench", "put", *LITTLE, "--prefix", name)
    assert len(client.get_prefix(name).kvs) == 16, "a run deletes its own keys only"


def test_the_table_and_the_text(fluyt: Runner, name: str) -> None:
    table = fluyt("bench", "put", *LITTLE, "--prefix", name, "-w", "table").stdout.splitlines()
    titles, cells = ([cell.strip() for cell in line.split("|")[1:-1]] for line in (table[1], table[3]))
    row = dict(zip(titles, cells, strict=True))
    assert (row["REQUESTS"], row["ERRORS"]) == ("40", "0")
    assert float(row["P50 MS"]) <= float(row["P99 MS"]) <= float(row["SLOWEST MS"])
    text = fluyt("bench", "put", *LITTLE, "--prefix", name, "--target-leader").stdout
    assert text.startswith("40 requests in ")
    assert "p99.9" in text
    assert "█" in text


def test_time_and_rate_end_a_run(fluyt: Runner, name: str) -> None:
    words = ["bench", "put", "--seconds", "0.3", "--rate", "50", "--prefix", name, "-w", "json"]
    found = json.loads(fluyt(*words).stdout)
    # The last of them begins before the time is over; a busy machine comes to fewer, none to more.
    assert 1 <= found["requests"] <= 15
    assert found["seconds"] >= 0.28


def test_ctrl_c_prints_what_was_measured_and_tidies_up(started: Started, client: Client, name: str) -> None:
    # So slow that most clients wait for their turn when it comes.
    words = ["bench", "put", "--seconds", "600", "--rate", "20", "--prefix", name, "-w", "json"]
    running = started(*words)
    wait_until(lambda: len(client.get_prefix(name).kvs) > 1, "the first keys")
    assert interrupt(running) == 130
    (said,) = [line for line in lines(running) if line]
    found = json.loads(said)
    assert found["interrupted"] is True
    assert found["requests"] > 1
    assert found["seconds"] < 600
    assert not client.get_prefix(name).kvs


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["put", "--total", "1", "--seconds", "1"], 128, "only one of them ends a run"),
        (["put", "--key-size", "2", "--key-space", "101"], 128, "too short to tell 101 keys apart"),
        (["get", "--key-space", "0"], 128, "--key-space must be at least 1"),
        (["watch", "--val-size", "3"], 128, "--val-size must be at least 20"),
        (["put", "-w", "fields"], 4, "fields not supported as output format"),
        (["put", "--val-size", "1700000", "--total", "9"], 1, "request is too large. Take a smaller --val-size"),
        (["put", "--val-size", "2500000", "--total", "9"], 1, "larger than max (2500039 vs. 2097152). Take a smaller"),
    ],
)
def test_what_cannot_work_is_one_line_with_the_cure(fluyt: Runner, words: list[str], code: int, message: str) -> None:
    refused = fluyt("bench", *words)
    assert (refused.code, refused.stdout) == (code, "")
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1


def test_no_store_is_told_with_the_next_step(bare_fluyt: Runner) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    refused = bare_fluyt("--endpoints", endpoint, "--command-timeout", "300ms", "bench", "put")
    assert refused.code == 1
    assert f"cannot reach {endpoint}" in refused.stderr
    assert "fluyt store" in refused.stderr


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[TlsCluster]:
    """A store that speaks TLS only; test_tls_and_users turns its authentication on."""
    certificates = Certificates(tmp_path)
    certificates.make("server")
    made = TlsCluster("fluyt", 1, [*server_flags(certificates, client_auth=False), "--bcrypt-cost", "4"])
    made.trust(certificates, "server")
    with made:
        yield made


def test_tls_and_users(bare_fluyt: Runner, guarded: TlsCluster, tmp_path: Path) -> None:
    def fluyt(*words: str) -> Outcome:
        return bare_fluyt("--endpoints", ",".join(guarded.urls), *words)

    trusting = ["--cacert", str(certificate_path(tmp_path, "ca"))]
    stranger = fluyt("bench", "put", *LITTLE, "--command-timeout", "300ms", "--dial-timeout", "300ms")
    assert stranger.code == 1
    assert "Check --cacert" in stranger.stderr
    for words in _USERS:
        assert fluyt(*trusting, *words.split()).code == 0, words
    nobody = fluyt(*trusting, "bench", "put", *LITTLE)
    assert "user name is empty. The store asks who you are: name a user with --user" in nobody.stderr
    wrong = fluyt(*trusting, "--user", "ann:wrong", "bench", "put", *LITTLE)
    assert (wrong.code, "invalid user ID or password" in wrong.stderr) == (2, True)
    outside = fluyt(*trusting, "--user", "ann:a", "bench", "put", *LITTLE, "--prefix", "/b/")
    assert outside.code == 1
    assert "permission denied. The user needs all keys below /b/" in outside.stderr
    assert "role grant-permission <role> readwrite /b/" in outside.stderr
    allowed = fluyt(*trusting, "--user", "ann:a", "bench", "mixed", "--key-space", "9", *LITTLE, "--prefix", "/a/")
    assert (allowed.code, allowed.stderr) == (0, "")


_USERS = (
    "user add root:r",
    "user grant-role root root",
    "role add some",
    "role grant-permission some readwrite /a/ --prefix=true",
    "user add ann:a",
    "user grant-role ann some",
    "auth enable",
)


def test_a_store_without_a_leader_is_not_waited_for(new_cluster: Callable[..., Cluster], started: Started) -> None:
    with new_cluster(members=1, start=False) as cluster:
        # The second one never comes: what was a majority is none any more.
        with Client(cluster.endpoints) as client:
            client.cluster.add(["http://[::1]:1"])
            wait_until(lambda: not client.maintenance.status().leader, "no leader")
        words = ["put", "--seconds", "0.5", "--command-timeout", "500ms", "--endpoints", cluster.endpoints[0]]
        measuring = started("bench", *words)
        assert measuring.wait(20) == 1
    assert "Warning: keys may be left below" in measuring.output()
