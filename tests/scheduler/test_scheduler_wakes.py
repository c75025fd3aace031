"""What happens in the cluster wakes the pods that it may help, long before they are tried anyway after five minutes."""

from __future__ import annotations

from typing import Any

import pytest
from scheduling_objects import node, pod_object
from scheduling_turns import leaving, model_of, promised, turn, with_field

from control.api.schema import Object
from control.scheduler.model import Model

WEB = {"matchLabels": {"app": "web"}}
EVEN = [{"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": WEB}]
NEAR: dict[str, Any] = {"topologyKey": "zone", "labelSelector": WEB}


def required(kind: str) -> Object:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [NEAR]}}


def in_zone(name: str, zone: str, **more: Any) -> Object:
    return node(name, labels={"zone": zone}, **more)


def web(name: str, **more: Any) -> Object:
    return pod_object(name, labels={"app": "web"}, **more)


def test_the_pod_that_it_needs_near_is_bound_by_us() -> None:
    of = model_of(in_zone("a", "1"), pod_object("client", affinity=required("podAffinity")))
    assert "affinity rules" in turn(of, 0.0)["client"]
    of.pod_changed(None, web("server"), 5.0)
    assert turn(of, 5.0) == {"server": "a", "client": "a"}


def test_the_pod_that_makes_zones_even_is_bound_by_us() -> None:
    of = model_of(in_zone("a", "1"), in_zone("b", "2", taints=["k=v:NoSchedule"]), web("first", node="a"))
    of.pod_changed(None, web("second", topologySpreadConstraints=EVEN), 0.0)
    assert "spread" in turn(of, 0.0)["second"]
    of.pod_changed(None, web("even", tolerations=[{"operator": "Exists"}], nodeSelector={"zone": "2"}), 5.0)
    assert turn(of, 5.0) == {"even": "b", "second": "a"}


def test_a_pod_whose_binding_is_assumed_is_news_once_when_it_is_heard_of() -> None:
    of = model_of(in_zone("a", "1"), pod_object("client", affinity=required("podAffinity")))
    turn(of, 0.0)
    server = web("server")
    of.pod_changed(None, server, 5.0)
    taken = of.queue.take(5.0)
    assert taken is not None
    of.assume(taken, of.decide(taken, 5.0).node)
    of.bound(taken)
    assert of.queue.take(5.0) is None
    bound = with_field(server, "spec", nodeName="a")
    of.pod_changed(server, bound, 5.0)
    assert turn(of, 5.0) == {"client": "a"}
    of.pod_changed(None, pod_object("other", nodeSelector={"zone": "2"}, affinity=required("podAffinity")), 5.0)
    turn(of, 5.0)
    of.pod_changed(bound, with_field(bound, "status", phase="Running"), 20.0)
    assert of.queue.take(20.0) is None, "a pod that has been there is no news"


def test_a_node_goes_and_with_it_the_emptiest_zone() -> None:
    small = in_zone("b", "2", cpu="1")
    of = model_of(in_zone("a", "1"), small, web("first", node="a"))
    of.pod_changed(None, web("second", cpu="2", topologySpreadConstraints=EVEN), 0.0)
    assert "spread" in turn(of, 0.0)["second"]
    of.node_changed(small, None, 5.0)
    assert turn(of, 5.0) == {"second": "a"}


def test_a_node_goes_and_with_it_the_neighbour_to_be_avoided() -> None:
    away = in_zone("b", "1")
    of = model_of(in_zone("a", "1"), away, web("neighbour", node="b"))
    of.pod_changed(None, pod_object("shy", affinity=required("podAntiAffinity")), 0.0)
    assert "anti-affinity" in turn(of, 0.0)["shy"]
    of.node_changed(away, None, 5.0)
    assert turn(of, 5.0) == {"shy": "a"}


def test_the_pods_of_a_node_that_is_gone_are_news_when_they_go() -> None:
    lost = pod_object("lost", node="gone")
    of = model_of(node("a"), lost, pod_object("big", "9"))
    turn(of, 0.0)
    of.pod_changed(lost, None, 5.0)
    assert "big" in turn(of, 5.0)


def with_a_promise() -> tuple[Model, Object]:
    """`low` has left `a` for `vip`, which backs off; `small` waits because the place is promised."""
    low, vip = pod_object("low", "4", node="a", priority=1), pod_object("vip", "4", priority=10)
    of = model_of(node("a"), node("b", cpu="1"), low, vip)
    assert turn(of, 0.0) == {"vip": "a < low"}
    nominated = with_field(vip, "status", nominatedNodeName="a")
    of.pod_changed(vip, nominated, 0.1)
    of.pod_changed(low, None, 0.5)
    of.pod_changed(None, pod_object("small", "2", priority=1), 0.6)
    assert "Insufficient cpu" in turn(of, 0.6)["small"]
    return of, nominated


def test_who_holds_a_promise_is_deleted() -> None:
    of, vip = with_a_promise()
    of.pod_changed(vip, None, 0.7)
    assert turn(of, 5.0) == {"small": "a"}


def test_who_holds_a_promise_is_being_deleted_and_will_not_be_tried_again() -> None:
    of, vip = with_a_promise()
    of.pod_changed(vip, leaving(vip, preempted=False), 0.7)
    assert turn(of, 5.0) == {"small": "a"}


@pytest.mark.parametrize("elsewhere", ["", "b"])
def test_a_promise_is_taken_away_or_moved(elsewhere: str) -> None:
    of, vip = with_a_promise()
    of.pod_changed(vip, with_field(vip, "status", nominatedNodeName=elsewhere), 0.7)
    assert of.queue.next_at(0.7) is not None
    assert of.queue.count("unschedulable") == 0
    assert promised(of) == ({"vip": "b"} if elsewhere else {})


def test_who_holds_a_promise_is_bound_elsewhere() -> None:
    of, vip = with_a_promise()
    of.pod_changed(vip, with_field(vip, "spec", nodeName="b"), 0.7)
    assert turn(of, 5.0) == {"small": "a"}


def test_who_waits_for_its_volume_is_deleted_and_its_place_is_free() -> None:
    of = model_of(node("a"))
    late = {"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"}
    of.class_changed(None, late, 0.0)
    spec = {"storageClassName": "late", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"metadata": {"name": "data", "namespace": "default", "uid": "c"}, "spec": spec, "status": {}}
    of.claim_changed(None, claim, 0.0)
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    first = pod_object("first", "4", volumes=volumes)
    of.pod_changed(None, first, 0.0)
    of.pod_changed(None, pod_object("second", "4"), 0.1)
    assert "Insufficient cpu" in turn(of, 0.2)["second"]
    of.pod_changed(first, None, 5.0)
    assert turn(of, 5.0) == {"second": "a"}
