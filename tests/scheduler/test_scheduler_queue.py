"""Who is next, and who waits for what."""

from __future__ import annotations

from scheduling_objects import node, pod, pod_object

from control.scheduler.model import Model
from control.scheduler.pod import pod_of
from control.scheduler.queue import SchedulingQueue


def names(queue: SchedulingQueue, now: float) -> list[str]:
    found = []
    while (one := queue.take(now)) is not None:
        found.append(one.name)
    return found


def test_by_priority_and_then_by_age() -> None:
    queue = SchedulingQueue()
    for at, (name, priority) in enumerate((("old", 0), ("young", 0), ("vip", 9))):
        queue.put(pod(name, priority=priority), float(at))
    assert names(queue, 3.0) == ["vip", "old", "young"]


def test_who_failed_waits_for_news_and_longer_each_time() -> None:
    queue = SchedulingQueue()
    one = pod("p")
    queue.put(one, 0.0)
    now = 0.0
    for wait in (1.0, 2.0, 4.0, 8.0, 10.0, 10.0):
        assert queue.take(now) is one
        queue.failed(one.uid, {"NodeResourcesFit"}, now)
        assert queue.take(now + 60) is None, "nothing has happened"
        queue.happened(lambda failed: "NodePorts" in failed, now)
        assert queue.count("unschedulable") == 1, "that does not help"
        queue.happened(lambda failed: "NodeResourcesFit" in failed, now)
        assert queue.next_at(now) == now + wait
        assert queue.take(now + wait - 0.01) is None
        now += wait


def test_news_is_asked_once_about_all_that_wait_for_the_same() -> None:
    queue, asked = SchedulingQueue(), list[frozenset[str]]()
    for number in range(50):
        one = pod(f"p{number}")
        queue.put(one, 0.0)
        queue.take(0.0)
        queue.failed(one.uid, {"NodePorts"} if number % 2 else {"NodeResourcesFit", "NodePorts"}, 0.0)
    queue.happened(lambda failed: bool(asked.append(failed)) or "NodeResourcesFit" in failed, 0.0)
    assert sorted(map(len, asked)) == [1, 2]
    assert (queue.count("backoff"), queue.count("unschedulable")) == (25, 25)
    queue.happened(lambda failed: True, 20.0)
    assert (queue.count("active"), queue.count("unschedulable")) == (25, 0)


def test_after_five_minutes_it_is_tried_anyway() -> None:
    queue = SchedulingQueue()
    one = pod("p")
    queue.put(one, 0.0)
    queue.take(0.0)
    queue.failed(one.uid, {"NodeAffinity"}, 0.0)
    assert queue.next_at(1.0) == 300.0
    assert queue.take(299.0) is None
    assert queue.take(300.0) is one


def test_who_is_tried_again_and_again_does_not_fill_the_memory() -> None:
    queue = SchedulingQueue()
    one, other = pod("p"), pod("q")
    now = 0.0
    for each in (one, other):
        queue.put(each, now)
        queue.take(now)
        queue.failed(each.uid, {"NodePorts"}, now)
    for _ in range(3000):
        now += 0.05
        queue.remove(one.uid)
        queue.put(one, now)
        assert queue.take(now) is one
        queue.failed(one.uid, {"NodeResourcesFit"}, now)
    assert len(queue._anyway) < 1100
    assert queue.next_at(now) == 300.0, "and nobody's turn is forgotten"
    assert queue.take(300.0) is other
    assert queue.next_at(301.0) == now + 300.0
    assert queue.take(now + 300.0) is one


def test_a_process_that_stands_by_forgets_pods_that_nobody_took() -> None:
    queue = SchedulingQueue()
    waits = pod("waits")
    queue.put(waits, 0.0)
    for number in range(5000):
        one = pod(f"p{number}")
        queue.put(one, 1.0)
        queue.remove(one.uid)
    assert len(queue._active) < 1100
    assert queue.take(2.0) is waits


def test_nor_do_pods_that_back_off_fill_the_memory() -> None:
    queue = SchedulingQueue()
    for number in range(5000):
        one = pod(f"p{number}")
        queue.put(one, 0.0)
        queue.take(0.0)
        queue.failed(one.uid, (), 0.0)
        queue.remove(one.uid)
    assert len(queue._backoff) < 1100
    assert queue.next_at(0.0) is None


def test_who_waits_for_news_can_be_told_to_try_again_and_nobody_else() -> None:
    queue = SchedulingQueue()
    one = pod("p")
    queue.put(one, 0.0)
    assert not queue.retry(one.uid, 0.0), "it is due"
    queue.take(0.0)
    assert not queue.retry(one.uid, 0.0), "it is in hand"
    assert [each.name for each in queue.in_hand()] == ["p"]
    queue.failed(one.uid, {"NodePorts"}, 0.0)
    assert queue.retry(one.uid, 0.0)
    assert queue.next_at(0.0) == 1.0
    assert not queue.retry("nobody", 0.0)


def test_until_a_time_that_is_set_nothing_wakes_it() -> None:
    queue = SchedulingQueue()
    one = pod("p")
    queue.put(one, 0.0)
    queue.take(0.0)
    queue.later(one.uid, 7.0)
    queue.happened(lambda failed: True, 2.0)
    assert queue.take(6.9) is None
    assert queue.take(7.0) is one


def test_what_happens_while_a_pod_is_in_hand_is_not_missed() -> None:
    queue = SchedulingQueue()
    one = pod("p")
    queue.put(one, 0.0)
    queue.take(0.0)
    queue.happened(lambda failed: True, 0.0)
    queue.failed(one.uid, {"NodeResourcesFit"}, 0.0)
    assert queue.take(1.0) is one


def test_what_concerns_others_is_no_news_for_who_is_in_hand() -> None:
    queue = SchedulingQueue()
    one = pod("p")
    queue.put(one, 0.0)
    queue.take(0.0)
    queue.happened(lambda failed: True, 0.0, lambda pod: pod.uid != one.uid)
    queue.failed(one.uid, {"NodeResourcesFit"}, 0.0)
    assert queue.count("unschedulable") == 1


def test_gates_and_changes_of_the_pod_itself() -> None:
    queue = SchedulingQueue()
    gated = pod_object("p", schedulingGates=[{"name": "wait"}], uid="u")
    queue.put(pod_of(gated), 0.0)
    assert queue.take(0.0) is None
    assert queue.count("gated") == 1
    queue.put(pod("p", uid="u"), 1.0)
    assert names(queue, 1.0) == ["p"]
    queue.failed("u", {"NodeAffinity"}, 1.0)
    queue.put(pod("p", uid="u"), 2.0)
    assert queue.count("unschedulable") == 1, "only its status changed"
    queue.put(pod("p", uid="u", labels={"new": "label"}), 2.0)
    assert names(queue, 2.0) == ["p"]


def test_who_is_removed_is_gone_wherever_it_was() -> None:
    queue = SchedulingQueue()
    for place in ("active", "hand", "unschedulable"):
        one = pod(place)
        queue.put(one, 0.0)
        if place != "active":
            queue.take(0.0)
        if place == "unschedulable":
            queue.failed(one.uid, {"NodeName"}, 0.0)
        queue.remove(one.uid)
        queue.failed(one.uid, {"NodeName"}, 0.0)
        queue.happened(lambda failed: True, 0.0)
        assert len(queue) == 0
        assert queue.take(1000.0) is None
        assert queue.next_at(0.0) is None


def test_ten_thousand_wait_cheaply() -> None:
    """Taking one is not paid for by all: the heaps are looked at, not the pods."""
    queue = SchedulingQueue()
    for number in range(10_000):
        queue.put(pod(f"p{number}"), 0.0)
    assert len(names(queue, 0.0)) == 10_000


def model() -> Model:
    made = Model(frozenset({"default-scheduler"}))
    made.node_changed(None, node("a"), 0.0)
    return made


def test_an_assumed_pod_counts_until_its_binding_fails() -> None:
    made = model()
    first = pod_object("first", "3")
    second = pod_object("second", "3")
    made.pod_changed(None, first, 0.0)
    made.pod_changed(None, second, 0.0)
    one = made.queue.take(0.0)
    assert one is not None
    assert made.decide(one).node == "a"
    made.assume(one, "a")
    made.pod_changed(first, first, 0.0)  # an old view of it changes nothing
    two = made.queue.take(0.0)
    assert two is not None
    decision = made.decide(two)
    assert decision.diagnosis is not None
    assert decision.diagnosis.reasons == {"Insufficient cpu": 1}
    made.queue.failed(two.uid, decision.diagnosis.plugins, 0.0)
    made.binding_failed(one, 0.0)
    assert made.cluster.used.sum() == 0
    assert sorted(names(made.queue, 5.0)) == ["first", "second"]


def test_a_bound_pod_is_heard_of_once() -> None:
    made = model()
    obj = pod_object("p", "1")
    made.pod_changed(None, obj, 0.0)
    one = made.queue.take(0.0)
    assert one is not None
    made.assume(one, "a")
    made.bound(one)
    bound = {**obj, "spec": {**obj["spec"], "nodeName": "a"}}
    made.pod_changed(obj, bound, 1.0)
    assert made.cluster.used[made.cluster.rows["a"], 0] == 1000
    made.pod_changed(bound, {**bound, "status": {"phase": "Succeeded"}}, 2.0)
    assert made.cluster.used.sum() == 0
    made.dropped(3.0)
    assert len(made.queue) == 0


def test_pods_of_other_schedulers_are_not_ours_but_take_room() -> None:
    made = model()
    other = pod_object("p", "4", schedulerName="mine")
    made.pod_changed(None, other, 0.0)
    assert len(made.queue) == 0
    made.pod_changed(other, {**other, "spec": {**other["spec"], "nodeName": "a"}}, 0.0)
    one = pod("q", "1")
    assert made.decide(one).node == ""


def test_a_pod_that_cannot_be_understood_stops_nobody() -> None:
    made = model()
    made.pod_changed(None, pod_object("bad", "many"), 0.0)
    made.pod_changed(None, pod_object("good"), 0.0)
    assert names(made.queue, 0.0) == ["good"]
