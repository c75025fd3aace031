"""Pods with claims: who may go where, what they are told, and what wakes them."""

from __future__ import annotations

import numpy as np
import pytest
from scheduling_objects import cluster, node, pod, pod_object
from volume_objects import FAST, LATE, LOCAL, ZONED, claim, model, using, volume

from control.api.schema import Object
from control.api.volume_binding import SELECTED_NODE
from control.scheduler.cycle import Decision, decide, feasible
from control.scheduler.explain import unschedulable
from control.scheduler.model import Model
from control.scheduler.pod import Pod
from control.scheduler.question import Question

UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
CONFLICT = "node(s) had volume node affinity conflict"
NONE = "node(s) didn't find available persistent volumes to bind"


def tried(of: Model, now: float = 0.0) -> Decision:
    """What is decided on the pod whose turn it is."""
    taken = of.queue.take(now)
    assert taken is not None
    decision = of.decide(taken)
    if decision.diagnosis is not None:
        of.queue.failed(taken.uid, decision.diagnosis.plugins, now)
    return decision


def told(decision: Decision) -> str:
    assert decision.diagnosis is not None, decision
    return unschedulable(decision.diagnosis)


def after(one: Object, *objects: Object) -> str:
    """What a pod is told; the node's name if it gets one."""
    of = model(*objects)
    of.pod_changed(None, one, 0.0)
    decision = tried(of)
    return decision.node or told(decision)


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ([], 'persistentvolumeclaim "data" not found'),
        ([claim(deleting=True)], 'persistentvolumeclaim "data" is being deleted'),
        ([claim(deleting=True, volume="v")], 'persistentvolumeclaim "data" is being deleted'),
        (
            [claim(volume="v", phase="Lost", deleting=True)],
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "v"',
        ),
        ([claim()], UNBOUND),
        ([claim(of="fast")], UNBOUND),
        ([claim(of="nobody-knows")], UNBOUND),
        ([claim(of="late", named="v")], UNBOUND),
        ([claim(named="v"), volume("v", claim="data")], UNBOUND),
    ],
)
def test_a_claim_that_keeps_its_pod_from_every_node_is_named_once(claims: list[Object], why: str) -> None:
    assert after(using("data"), *claims) == f"0/3 nodes are available: {why}."


def test_without_nodes_it_is_the_nodes_that_are_missing() -> None:
    empty = cluster()
    assert (
        told(decide(empty, pod("p", volumes=using("data")["spec"]["volumes"]))) == "no nodes available to schedule pods"
    )


def test_the_first_claim_of_several_is_told_but_a_missing_one_before_all() -> None:
    both = using("first", "second")
    assert 'persistentvolumeclaim "second" not found' in after(both, claim("first", deleting=True))
    deleting = (claim("first", deleting=True), claim("second", deleting=True))
    assert 'persistentvolumeclaim "first" is being deleted' in after(both, *deleting)
    assert UNBOUND in after(both, claim("first", volume="v"), claim("second"), volume("v"))


def test_a_pods_own_claim_is_waited_for_and_must_be_its_own() -> None:
    own = using(volumes=[{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {}}}])
    assert 'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-scratch"' in after(own)
    foreign = claim("p-scratch", volume="v", owner="other")
    assert "PVC default/p-scratch was not created for pod default/p (pod is not owner)" in after(own, foreign)
    assert after(own, claim("p-scratch", volume="v", owner="p"), volume("v", zone="b")) == "b1"


def test_a_pod_goes_where_its_volumes_are() -> None:
    assert after(using("data"), claim(volume="v"), volume("v", zone="b")) == "b1"
    two = (claim(volume="v"), claim("more", volume="w"), volume("v", zone="a"))
    assert after(using("data", "more"), *two, volume("w")) in ("a1", "a2")
    nowhere = after(using("data", "more"), *two, volume("w", zone="b"))
    assert nowhere == f"0/3 nodes are available: 3 {CONFLICT}."
    missing = after(using("more", "data"), *two)
    assert (
        missing
        == "0/3 nodes are available: 3 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."
    )
    apart = after(using("data"), claim(volume="v"), volume("v", zone="c"))
    assert apart == f"0/3 nodes are available: 3 {CONFLICT}."


def test_each_node_is_counted_under_the_first_filter_that_it_fails() -> None:
    choosy = using("data", nodeSelector={"zone": "a"})
    words = after(choosy, claim(volume="v"), volume("v", zone="b"))
    assert words == f"0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 {CONFLICT}."


@pytest.mark.parametrize("objects", [(claim(volume="v"), volume("v", zone="c")), (claim(),), ()])
def test_nobody_must_leave_for_the_sake_of_a_volume(objects: tuple[Object, ...]) -> None:
    of = model(*objects)
    of.pod_changed(None, pod_object("lowly", node="a1"), 0.0)
    of.pod_changed(None, using("data", priority=9), 0.0)
    search = of.preempt(_in_queue(of), tried(of))
    with pytest.raises(StopIteration) as end:
        while True:
            next(search)
    assert end.value.value.refusal == "0/3 nodes are available: 3 Preemption is not helpful for scheduling."


@pytest.mark.parametrize("objects", [(), (claim(volume="v"), volume("v", zone="b")), (claim(of="zoned"),), (claim(),)])
def test_one_row_is_judged_as_it_is_among_all(objects: tuple[Object, ...]) -> None:
    of = model(*objects).cluster
    one = pod("p", volumes=using("data")["spec"]["volumes"])
    everywhere, *_ = feasible(Question(of, one))
    for row in range(of.capacity):
        alone, *_ = feasible(Question(of, one), slice(row, row + 1))
        assert np.array_equal(alone, everywhere[row : row + 1])


@pytest.mark.parametrize(
    ("made", "where"),
    [
        (claim(of="late"), {"a1", "a2", "b1"}),
        (claim(of="zoned"), {"b1"}),
        (claim(of="late", annotations={SELECTED_NODE: "a2"}), {"a2"}),
    ],
)
def test_a_late_claim_gets_a_node_and_the_pod_waits(made: Object, where: set[str]) -> None:
    of = model(made)
    of.pod_changed(None, using("data"), 0.0)
    decision = tried(of)
    assert decision.node in where
    assert [(entry.claim.name, entry.volume) for entry in decision.awaited] == [("data", None)]


@pytest.mark.parametrize("made", [claim(of="local"), claim(of="late", annotations={SELECTED_NODE: "gone"})])
def test_a_late_claim_without_a_place_keeps_its_pod_from_all_nodes(made: Object) -> None:
    assert after(using("data"), made) == f"0/3 nodes are available: 3 {NONE}."


def gets(of: Model, one: Object) -> dict[str, str | None] | str:
    """Of the pod's claims that wait, which volume each is to get; or what the pod is told."""
    of.pod_changed(None, one, 0.0)
    decision = tried(of)
    if not decision.node:
        return told(decision)
    return {a.claim.name: None if a.volume is None else a.volume.name for a in decision.awaited}


@pytest.mark.parametrize(
    ("asks", "offered", "found"),
    [
        ({}, [volume("big", "b", of="local", size="9Gi"), volume("small", "b", of="local")], "small"),
        ({"size": "2Gi"}, [volume("big", "a", of="local", size="9Gi"), volume("small", "b", of="local")], "big"),
        ({}, [volume("lies", "c", of="local"), volume("here", "b", of="local", size="9Gi")], "here"),
        ({}, [volume("his", "a", of="local", claim="another"), volume("mine", "b", of="local", claim="data")], "mine"),
        ({}, [volume("free", "a", of="local"), volume("mine", "b", of="local", claim="data", size="9Gi")], "mine"),
        (
            {"spec": {"selector": {"matchLabels": {"disk": "w"}}}},
            [volume("v", of="local"), volume("w", of="local")],
            "w",
        ),
        ({}, [volume("raw", of="local", volumeMode="Block"), volume("w", of="local", size="2Gi")], "w"),
        ({"spec": {"accessModes": ["ReadWriteMany"]}}, [volume("v", of="local")], ""),
        ({}, [volume("v", of="late")], ""),
        ({"size": "2Gi"}, [volume("v", of="local")], ""),
        ({}, [volume("mine", "c", of="local", claim="data"), volume("free", "a", of="local")], ""),
        ({}, [{**volume("v", of="local"), "status": {}}], ""),
    ],
)
def test_a_late_claim_gets_the_smallest_volume_that_does_where_the_pod_can_be(
    asks: Object, offered: list[Object], found: str
) -> None:
    of = model(claim(of="local", **asks), *offered)
    nothing = f"0/3 nodes are available: 3 {NONE}."
    assert gets(of, using("data")) == ({"data": found} if found else nothing)


def test_the_volume_is_one_of_the_node_that_suits_the_pod() -> None:
    of = model(claim(of="local"), volume("small", "a", of="local"), volume("big", "b", of="local", size="9Gi"))
    assert gets(of, using("data", nodeSelector={"zone": "b"})) == {"data": "big"}


def test_two_claims_of_a_pod_never_get_one_volume_and_must_meet_on_a_node() -> None:
    two = (claim("one", of="local", size="1Gi"), claim("two", of="local", size="1Gi"))
    apart = (volume("va", "a", of="local"), volume("vb", "b", of="local"))
    assert gets(model(*two, *apart), using("one", "two")) == f"0/3 nodes are available: 3 {NONE}."
    found = gets(model(*two, *apart, volume("vb2", "b", of="local")), using("one", "two"))
    assert isinstance(found, dict)
    assert set(found.values()) == {"vb", "vb2"}
    mixed = (claim("one", of="local"), claim("two", of="late"), claim("three", volume="v"))
    assert gets(model(*mixed, *apart, volume("v", "b")), using("one", "two", "three")) == {"one": "vb", "two": None}


def test_one_node_is_given_the_volumes_that_it_has_among_all() -> None:
    """What is chosen for the node alone is what the filter saw there: the smallest of it, not of the cluster."""
    disks = [volume(f"v{n}", "ab"[n % 2], of="local", size=f"{9 - n}Gi") for n in range(6)]
    of = model(claim("one", of="local"), claim("two", of="local"), *disks, volume("net", of="late"))
    for zone, names in (("a", {"v4", "v2"}), ("b", {"v5", "v3"})):
        one = pod("p", volumes=using("one", "two")["spec"]["volumes"], nodeSelector={"zone": zone})
        assert {a.volume.name for a in of.decide(one).awaited if a.volume is not None} == names


def test_a_volume_that_was_chosen_is_not_chosen_again_until_it_is_let_go() -> None:
    of = model(claim("data", of="local"), claim("other", of="local"), volume("v", of="local"))
    of.pod_changed(None, using("data"), 0.0)
    waiting = _waits(of, tried(of))
    assert of.cluster.volumes.chosen.volumes == {"v": "uid-data"}
    other = pod("q", volumes=using("other")["spec"]["volumes"])
    assert NONE in told(of.decide(other))
    of.try_again(waiting, 1.0)
    assert of.cluster.volumes.chosen.volumes == {}
    (entry,) = of.decide(other).awaited
    assert entry.volume is not None


def test_what_cannot_be_understood_changes_nothing() -> None:
    of = model(volume("v", size="much"), claim("data", size="lots"), claim("other"))
    assert set(of.cluster.volumes.claims) == {("default", "other")}
    assert of.cluster.volumes.volumes == {}


def test_while_volumes_are_made_the_place_is_kept_and_then_taken() -> None:
    of = model(claim(of="zoned"))
    of.pod_changed(None, using("data"), 0.0)
    first = tried(of)
    waiting = _waits(of, first)
    big = pod("big", cpu="4", nodeSelector={"zone": "b"})
    of.cluster.put_node(node("b1", pods="1", labels={"zone": "b"}))
    assert "Too many pods" in told(of.decide(big)), "the place is kept"
    chosen = claim(of="zoned", annotations={SELECTED_NODE: "b1"})
    of.claim_changed(None, chosen, 5.0)
    again = tried(of, 5.0)
    assert again.node == "b1"
    assert again.awaited[0].claim.selected == "b1", "nothing is left to write"
    of.await_volumes(waiting, again.node, again.awaited, 5.0)
    assert of.queue.take(60.0) is None
    of.claim_changed(None, claim(of="zoned", volume="v", annotations={SELECTED_NODE: "b1"}), 60.0)
    of.volume_changed(None, volume("v", zone="b", claim="data"), 60.0)
    bound = tried(of, 60.0)
    assert (bound.node, bound.awaited) == ("b1", ())
    assert of.decide(big).node == "b1", "the place is the pod's own to take now, by being assumed"


def _waits(of: Model, decision: Decision) -> Pod:
    """The decided pod waits for its volumes on the node."""
    waiting = _in_queue(of)
    of.await_volumes(waiting, decision.node, decision.awaited, 0.0)
    return waiting


def _in_queue(of: Model) -> Pod:
    return of.queue._entries["p"].pod


def test_a_term_that_ends_lets_those_who_wait_for_volumes_try_again() -> None:
    of = model(claim(of="late"))
    of.pod_changed(None, using("data"), 0.0)
    _waits(of, tried(of))
    assert of.queue.take(100.0) is None
    of.dropped(100.0)
    assert tried(of, 100.0).node


def test_a_waiting_pod_that_goes_frees_the_place_it_was_kept() -> None:
    of = model(claim(of="late"))
    one = using("data")
    of.pod_changed(None, one, 0.0)
    _waits(of, tried(of))
    assert of._reserved()
    of.pod_changed(one, None, 1.0)
    assert of._reserved() == []


def test_what_could_not_be_written_is_tried_again_after_the_backoff() -> None:
    of = model(claim(of="late"))
    of.pod_changed(None, using("data"), 0.0)
    waiting = _waits(of, tried(of))
    of.try_again(waiting, 0.5)
    assert of.queue.take(0.5) is None
    assert of.queue.take(1.0) is waiting


@pytest.mark.parametrize(
    ("before", "news", "wakes"),
    [
        ((), claim(volume="v"), True),
        ((claim(),), claim(volume="v"), True),
        ((claim(),), claim(phase="Bound"), False),
        ((claim(),), claim("another"), False),
        ((claim(volume="v"),), volume("v"), True),
        ((claim(volume="v"), volume("v", zone="c")), volume("v", zone="a"), True),
        ((claim(),), volume("w"), False),
        ((claim(),), volume("w", claim="data"), True),
        ((claim(of="local"),), volume("w", of="local"), True),
        ((claim(of="local"),), volume("w", of="local", claim="another"), False),
        ((claim(of="local"),), volume("w", of="late"), False),
        ((claim(of="nobody-knows"),), {**LATE, "metadata": {"name": "nobody-knows"}}, True),
    ],
)
def test_only_what_concerns_its_claims_wakes_a_waiting_pod(
    before: tuple[Object, ...], news: Object, wakes: bool
) -> None:
    of = model(*before)
    of.pod_changed(None, using("data"), 0.0)
    told(tried(of))
    if "provisioner" in news:
        of.class_changed(None, news, 10.0)
    elif "namespace" in news["metadata"]:
        of.claim_changed(None, news, 10.0)
    else:
        of.volume_changed(None, news, 10.0)
    assert (of.queue.take(10.0) is not None) is wakes


def test_claims_that_come_and_go_leave_nothing_behind() -> None:
    of = model(claim(volume="v"), volume("v"))
    of.claim_changed(claim(volume="v"), None, 1.0)
    of.volume_changed(volume("v"), None, 1.0)
    for found in (FAST, LATE, LOCAL, ZONED):
        of.class_changed(found, None, 1.0)
    volumes = of.cluster.volumes
    assert (volumes.claims, volumes.volumes, volumes.classes, volumes._by_class) == ({}, {}, {}, {})
    of.claim_changed(claim(), None, 1.0)
