"""Claims that several pods use: what is for one pod alone, what is chosen once for all; and zones of volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scheduling_objects import cluster, node, pod, pod_object
from scheduling_turns import turn
from volume_objects import claim, model, using, volume

from control.api.schema import Object
from control.api.volume_binding import SELECTED_NODE
from control.scheduler.cycle import feasible
from control.scheduler.explain import unschedulable
from control.scheduler.model import Model
from control.scheduler.question import Question

TAKEN = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
OTHER_ZONE = "node(s) had no available volume zone"
NONE = "node(s) didn't find available persistent volumes to bind"
ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"


def alone(name: str = "data", **more: Any) -> Object:
    """A claim for one pod alone."""
    return claim(name, spec={"accessModes": ["ReadWriteOncePod"]}, **more)


def test_what_is_for_one_pod_alone_is_taken_on_every_node() -> None:
    of = model(alone(volume="v"), volume("v"))
    of.pod_changed(None, using("data", name="first"), 0.0)
    of.pod_changed(None, using("data", name="second"), 0.0)
    said = turn(of, 0.0)
    assert said["first"] in ("a1", "a2", "b1")
    assert said["second"].startswith(f"0/3 nodes are available: 3 {TAKEN}. ")
    shared = model(claim(volume="v"), volume("v"))
    for name in ("first", "second"):
        shared.pod_changed(None, using("data", name=name), 0.0)
    assert set(turn(shared, 0.0).values()) <= {"a1", "a2", "b1"}


def test_a_claim_of_that_name_elsewhere_is_another() -> None:
    of = model(alone(volume="v"), volume("v"))
    of.pod_changed(None, using("data", name="elsewhere", namespace="other", node="a1"), 0.0)
    of.pod_changed(None, using("data"), 0.0)
    assert turn(of, 0.0)["p"] in ("a1", "a2", "b1")


def test_who_waits_for_a_claim_of_its_own_is_woken_when_the_other_goes() -> None:
    of = model(alone(volume="v"), volume("v"))
    holder = using("data", name="holder", node="a2")
    of.pod_changed(None, holder, 0.0)
    of.pod_changed(None, using("data"), 0.0)
    assert TAKEN in turn(of, 0.0)["p"]
    of.pod_changed(None, pod_object("other", node="a1"), 5.0)
    assert turn(of, 5.0) == {}
    of.pod_changed(holder, None, 9.0)
    assert turn(of, 9.0)["p"] in ("a1", "a2", "b1")


def test_a_more_important_pod_gets_the_claim_where_the_other_leaves() -> None:
    of = model(alone(volume="v"), volume("v"))
    of.pod_changed(None, using("data", name="holder", node="a2"), 0.0)
    for at in ("a1", "b1"):
        of.pod_changed(None, pod_object(f"lowly-{at}", node=at), 0.0)
    of.pod_changed(None, using("data", priority=9), 0.0)
    assert turn(of, 0.0) == {"p": "a2 < holder"}


def test_nobody_leaves_for_a_claim_that_is_promised_to_another() -> None:
    """The other waits for its volume on one node: on every node the claim is taken, as if it were there already."""
    anywhere = volume("v", of="local", accessModes=["ReadWriteOncePod"])
    of = model(alone(of="local"), anywhere)
    for at in ("a1", "a2", "b1"):
        of.pod_changed(None, pod_object(f"lowly-{at}", node=at), 0.0)
    of.pod_changed(None, using("data", name="first", priority=9), 0.0)
    assert turn(of, 0.0)["first"] in ("a1", "a2", "b1")
    of.pod_changed(None, using("data", priority=9), 0.0)
    assert turn(of, 0.0)["p"].startswith(f"0/3 nodes are available: 3 {TAKEN}. preemption: 0/3")


def test_one_row_is_judged_as_it_is_among_all() -> None:
    of = model(alone(volume="v"), volume("v", labels={ZONE: "x"})).cluster
    of.put_node(node("a1", labels={ZONE: "x"}))
    of.put_node(node("a2", labels={ZONE: "y"}))
    one = pod("p", volumes=using("data")["spec"]["volumes"])
    for expected in (["a1", "b1"], []):
        everywhere, *_ = feasible(Question(of, one))
        assert sorted(of.nodes[int(row)].name for row in np.flatnonzero(everywhere)) == expected
        for row in range(of.capacity):
            assert np.array_equal(feasible(Question(of, one), slice(row, row + 1))[0], everywhere[row : row + 1])
        of.add_pod(pod("holder", node="a2", volumes=one.object["spec"]["volumes"]))


# ---- zones of volumes


@pytest.mark.parametrize(
    ("says", "names"),
    [
        ({ZONE: "z2"}, "b n"),
        ({ZONE: "z1__z2"}, "a b n"),
        ({ZONE: "z1__ z2 "}, "a b n"),
        ({ZONE: "z1__"}, "a b o n r"),
        ({ZONE: ""}, "a b o n r"),
        ({REGION: "r1"}, "r n"),
        ({ZONE: "z2", REGION: "r1"}, "n"),
        ({OLD_ZONE: "z1"}, "a o n"),
        ({OLD_ZONE: "z2"}, "b n"),
        ({"zone": "z2"}, "a b o n r"),
    ],
)
def test_a_node_that_says_where_it_is_must_be_where_the_volume_is(says: dict[str, str], names: str) -> None:
    """Node n says nothing, and o says it in the old way, which a volume that says it in the new way does not see."""
    labels = {"a": {ZONE: "z1"}, "b": {ZONE: "z2"}, "o": {OLD_ZONE: "z1"}, "n": {}, "r": {REGION: "r1"}}
    of = cluster(*(node(name, labels=its) for name, its in labels.items()))
    of.volumes.put_claim(("default", "data"), claim(volume="v"))
    of.volumes.put_volume("v", volume("v", labels=says))
    rows, reasons, plugins, hopeless = feasible(Question(of, pod("p", volumes=using("data")["spec"]["volumes"])))
    assert {of.nodes[int(row)].name for row in np.flatnonzero(rows)} == set(names.split())
    others = len(labels) - len(names.split())
    assert reasons == ({OTHER_ZONE: others} if others else {})
    assert plugins == ({"VolumeZone"} if others else set())
    assert np.count_nonzero(hopeless) == others, "nobody must leave for it"


def test_a_volume_that_moves_wakes_its_pod() -> None:
    of = model(claim(volume="v"), volume("v", claim="data", labels={ZONE: "z2"}))
    for name in ("a1", "a2", "b1"):
        of.node_changed(None, node(name, labels={ZONE: "z1"}), 0.0)
    of.pod_changed(None, using("data"), 0.0)
    assert f"0/3 nodes are available: 3 {OTHER_ZONE}. " in turn(of, 0.0)["p"]
    of.volume_changed(None, volume("v", claim="data", labels={ZONE: "z1"}), 5.0)
    assert turn(of, 5.0)["p"] in ("a1", "a2", "b1")


# ---- one choice for all


def waiting(of: Model, *names: str) -> list[tuple[str, str | None]]:
    """These pods, which share the claim, wait for it: on which node, for which volume; None: for one to be made."""
    found = []
    for name in names:
        of.pod_changed(None, using("data", name=name), 0.0)
        taken = of.queue.take(0.0)
        assert taken is not None
        found.append(decided(of, name))
    return found


def decided(of: Model, name: str) -> tuple[str, str | None]:
    one = of.queue._entries[name].pod
    decision = of.decide(one)
    assert decision.diagnosis is None, unschedulable(decision.diagnosis)
    (entry,) = decision.awaited
    of.await_volumes(one, decision.node, decision.awaited, 0.0)
    return decision.node, None if entry.volume is None else entry.volume.name


def test_pods_that_share_a_claim_wait_for_one_volume() -> None:
    of = model(claim(of="local"), volume("va", "a", of="local"), volume("vb", "b", of="local"))
    found = waiting(of, "p", "q", "r")
    assert len({volume for _, volume in found}) == 1
    assert {node[0] for node, _ in found} == {str(found[0][1])[1]}, "where that is"


def test_pods_that_share_a_claim_wait_for_one_node() -> None:
    assert len(set(waiting(model(claim(of="late")), "p", "q", "r"))) == 1


def test_a_choice_stands_as_long_as_somebody_waits_for_it() -> None:
    of = model(claim(of="local"), claim("other", of="local"), volume("v", of="local"))
    waiting(of, "p", "q")
    other = pod("o", volumes=using("other")["spec"]["volumes"])
    of.pod_changed(using("data"), None, 1.0)
    diagnosis = of.decide(other).diagnosis
    assert diagnosis is not None
    assert NONE in unschedulable(diagnosis)
    of.pod_changed(using("data", name="q"), None, 1.0)
    assert of.decide(other).node


def test_who_was_kept_from_other_nodes_by_a_choice_is_woken_when_that_is_given_up() -> None:
    of = model(claim(of="late"))
    ((at, _),) = waiting(of, "p")
    elsewhere = next(name for name in ("a1", "a2", "b1") if name != at)
    of.pod_changed(None, using("data", name="q", nodeSelector={"kubernetes.io/hostname": elsewhere}), 0.0)
    assert NONE in turn(of, 0.0)["q"]
    of.pod_changed(using("data"), None, 9.0)
    assert turn(of, 9.0) == {"q": elsewhere}


def test_what_is_heard_of_a_claim_counts_more_than_what_was_chosen() -> None:
    """Whoever makes volumes could not make one there, and takes the node's name from the claim: all are free again."""
    of = model(claim(of="late"))
    ((at, _), _) = waiting(of, "p", "q")
    of.claim_changed(None, claim(of="late", annotations={SELECTED_NODE: at}), 1.0)
    assert decided(of, "p") == (at, None)
    of.claim_changed(None, claim(of="late"), 2.0)
    chosen = of.cluster.volumes.chosen
    assert chosen.node_of("uid-data") == ""
    of.cluster.remove_node(at)
    assert decided(of, "p")[0] != at


def test_what_is_heard_of_a_volume_counts_more_than_what_was_chosen() -> None:
    """Somebody else has got it: all choose anew."""
    offered = (volume("v", of="local"), volume("w", of="local", size="9Gi"))
    of = model(claim(of="local"), *offered)
    assert [name for _, name in waiting(of, "p", "q")] == ["v", "v"]
    of.volume_changed(None, volume("v", of="local", claim="somebody"), 1.0)
    assert decided(of, "q")[1] == "w"
    assert decided(of, "p")[1] == "w"
    assert of.cluster.volumes.chosen.volumes == {"w": "uid-data"}


def test_nothing_is_left_of_choices_in_the_end() -> None:
    of = model(claim(of="local"), volume("v", of="local"))
    waiting(of, "p", "q")
    given = volume("v", of="local", claim="data")
    of.volume_changed(None, given, 1.0)
    assert decided(of, "p")[1] == decided(of, "q")[1] == "v"
    for name in ("p", "q"):
        of.pod_changed(using("data", name=name), None, 2.0)
    chosen = of.cluster.volumes.chosen
    assert (chosen.volumes, chosen._claims, chosen._pods) == ({}, {}, {})
