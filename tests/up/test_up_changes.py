"""`fluyt up` with other wishes than before: what does not work is not kept, what does not apply yet is told, and nodes
that are taken out leave nobody waiting."""

from __future__ import annotations

from pathlib import Path

import pytest
from fluyt_up import fluyt, status
from harness.real_store import store_words

from control.up import plan as plans
from control.up.cluster import Cluster
from control.up.plan import Plan, UpError, Wishes, decide
from control.up.refusals import refuse_wrong_flags
from control.up.rows import table

BROKEN = "apiserver.audit-policy-file=/none.yaml"


def planned(folder: Path) -> Plan:
    found = plans.read(folder)
    assert found is not None
    return found


def test_a_cluster_that_runs(folder: Path) -> None:
    with store_words() as store:
        fluyt("up", "--data-dir", str(folder), "--nodes", "1", "--detach", *store)
        words = ["up", "--data-dir", str(folder)]
        first = planned(folder)
        told = fluyt(*words, "--detach", "--extra-config", "apiserver.nosuch=1", code=1).stderr
        assert "--extra-config for apiserver: No such option" in told
        assert "nodes are up with --runtime process" in fluyt(*words, "--detach", "--runtime", "docker", code=1).stderr
        assert "is up already" in fluyt(*words, "--nodes", "0", code=1).stderr
        assert planned(folder) == first
        assert status(folder, "GET", "/api/v1/nodes/n1") == 200
        # What works is kept, and said not to be so yet.
        grace = "controllers.node-monitor-grace-period=30s"
        again = fluyt(*words, "--detach", "--extra-config", grace)
        assert "up already: 1 master, 1 node" in again.stdout
        assert "m1-controllers run on as they were started; what was changed applies after: fluyt down" in again.stderr
        assert planned(folder).extra == [grace]
        ended = fluyt(*words, "--detach", "--nodes", "0").stdout
        assert ended.startswith("ended n1\nup already: 1 master, 0 nodes")
        assert status(folder, "GET", "/api/v1/nodes/n1") == 404
        assert planned(folder).retired == []
        fluyt("down", "--data-dir", str(folder))
        assert "run on" not in fluyt(*words, "--detach").stderr


def test_a_node_that_is_taken_out_while_nothing_runs(folder: Path) -> None:
    with store_words() as store:
        fluyt("up", "--data-dir", str(folder), "--nodes", "1", "--detach", *store)
        fluyt("down", "--data-dir", str(folder))
        told = fluyt("up", "--data-dir", str(folder), "--nodes", "0", "--detach").stdout
        assert told.startswith("ended n1\nready in")
        assert status(folder, "GET", "/api/v1/nodes/n1") == 404


def test_what_does_not_start_is_not_kept(folder: Path) -> None:
    words = ["up", "--data-dir", str(folder), "--detach"]
    refused = fluyt(*words, "--extra-config", BROKEN, code=1).stderr
    assert "m1-apiserver ended at its start" in refused
    assert "An earlier fluyt up" not in refused
    assert planned(folder).extra == [], "a first start leaves its ports, but not what failed"
    fluyt(*words, "--extra-config", BROKEN, "--nodes", "2", code=1)
    assert (planned(folder).extra, planned(folder).nodes) == ([], [])
    assert planned(folder).retired == ["n1", "n2"], "their objects may be there"


def test_what_was_asked_long_ago_is_named(folder: Path) -> None:
    """A file may have been there then."""
    cluster = Cluster(folder)
    with cluster.locked():
        cluster.prepare(Wishes(extra=(BROKEN,)))
    refused = fluyt("up", "--data-dir", str(folder), "--detach", code=1).stderr
    assert f"An earlier fluyt up had --extra-config {BROKEN}; the same without the value takes it back" in refused
    assert planned(folder).extra == [BROKEN]


def test_nodes_are_remembered_until_their_objects_are_gone(tmp_path: Path) -> None:
    def decided(present: Plan | None, nodes: int) -> Plan:
        return decide(present, Wishes(nodes=nodes), lambda count: list(range(1000, 1000 + count)), "token")

    two = decided(None, 2)
    assert two.retired == []
    none = decided(two, 0)
    assert none.retired == ["n1", "n2"]
    plans.write(tmp_path, none)
    assert plans.read(tmp_path) == none
    assert decided(none, 1).retired == ["n2"], "n1 is back"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("apiserver.nosuch=1", "apiserver: No such option"),
        ("apiserver.secure-port=x", "apiserver: Invalid value"),
        ("agent.port=x", "agent: Invalid value"),
    ],
)
def test_flags_that_cannot_be(tmp_path: Path, entry: str, told: str) -> None:
    plan = decide(None, Wishes(nodes=1, extra=(entry,)), lambda count: list(range(count)), "token")
    with pytest.raises(UpError, match=told):
        refuse_wrong_flags(table(tmp_path, plan))
