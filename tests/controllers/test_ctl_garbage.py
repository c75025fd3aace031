"""Garbage collector, namespaces, pod garbage, time to live: what goes, what stays, and who is asked first."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from ctl_manifests import node, pod
from ctl_memory_api import MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.controllers.reconcilers import garbagecollector, namespace, ttlafterfinished
from control.controllers.reconcilers.nodes import podgc
from control.controllers.values.actions import Answer, Delete, Key, Read, Update, UpdateStatus
from control.controllers.values.observed import KnownKind

SETS = "replicasets.apps"
CUSTOM = "boats.example.com"
KINDS = {
    ("apps/v1", "ReplicaSet"): KnownKind(SETS, True),
    ("v1", "Pod"): KnownKind("pods", True),
    ("v1", "ConfigMap"): KnownKind("configmaps", True),
    ("v1", "Namespace"): KnownKind("namespaces", False),
    ("example.com/v1", "Boat"): KnownKind(CUSTOM, True),
}


@pytest.fixture
def api() -> MemoryApi:
    return _api()


def _api() -> MemoryApi:
    return MemoryApi(SETS, "pods", "configmaps", CUSTOM, "namespaces", "nodes", "jobs.batch", kinds=KINDS)


def _thing(kind: str, name: str, *owners: dict[str, Any], block: bool = True, **metadata: Any) -> dict[str, Any]:
    versions = {kind: version for version, kind in KINDS}
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for owner in owners
    ]
    made: dict[str, Any] = {"name": name, "namespace": "default", **metadata}
    if references:
        made["ownerReferences"] = references
    return {"apiVersion": versions[kind], "kind": kind, "metadata": made}


def _collect(api: MemoryApi) -> None:
    """Until nothing moves, as the collector's keys would have it."""
    for _ in range(100):
        before = len(api.actions)
        for key in list(garbagecollector.keys(api.observed())):
            api.reconcile(garbagecollector.reconcile, key.name, key.namespace, key.resource)
        if len(api.actions) == before:
            return
    raise AssertionError("the collector does not come to rest")


def _there(api: MemoryApi) -> set[str]:
    return {obj["metadata"]["name"] for resource in api.stores for obj in api.list(resource)}


def _delete(api: MemoryApi, resource: str, obj: dict[str, Any], propagation: Any) -> None:
    from control.controllers.values.objects import cause

    metadata = obj["metadata"]
    place = (metadata.get("namespace", ""), metadata["name"], metadata["uid"])
    api.do(Delete(resource, *place, cause(resource, obj, "a user"), propagation=propagation))


def test_dependents_of_what_is_gone_go_custom_ones_too(api: MemoryApi) -> None:
    owner = api.put(SETS, _thing("ReplicaSet", "web"))
    boat = api.put(CUSTOM, _thing("Boat", "boat", owner))
    api.put("pods", _thing("Pod", "crew", boat))
    api.put("pods", _thing("Pod", "stranger"))
    _collect(api)
    assert _there(api) == {"web", "boat", "crew", "stranger"}
    _delete(api, SETS, owner, "Background")
    _collect(api)
    assert _there(api) == {"stranger"}


def test_the_server_is_asked_before_anything_is_deleted(api: MemoryApi) -> None:
    """A view that lags does not see an owner that was made a moment ago."""
    owner = _thing("ReplicaSet", "web", uid="uid-of-web")
    dependent = api.put("pods", _thing("Pod", "crew", owner))
    question = Read(SETS, "default", "web")
    api.answers[question] = Answer(owner)
    _collect(api)
    assert _there(api) == {"crew"}
    api.answers[question] = Answer(None, 500, "the store is away")
    decision = api.reconcile(garbagecollector.reconcile, "crew", resource="pods")
    assert not decision.actions
    assert decision.requeue_after
    api.answers[question] = Answer({**owner, "metadata": {**owner["metadata"], "uid": "another"}})
    decision = api.reconcile(garbagecollector.reconcile, "crew", resource="pods")
    assert [type(action) for action in decision.actions] == [Delete]
    assert decision.actions[0].cause.uid == "uid-of-web"
    assert dependent["metadata"]["uid"] not in _there(api)


def test_a_deletion_that_the_server_told_of_needs_no_question(api: MemoryApi) -> None:
    owner = _thing("ReplicaSet", "web", uid="uid-of-web")
    api.put("pods", _thing("Pod", "crew", owner))
    key = Key("default", "crew", "pods")
    assert garbagecollector.reconcile(key, api.observed(), api.now).reads
    decision = garbagecollector.reconcile(key, replace(api.observed(), gone={"uid-of-web"}), api.now)
    assert [type(action) for action in decision.actions] == [Delete]


@pytest.mark.parametrize(
    ("wish", "left"),
    [("orphan", {"crew"}), ("foregroundDeletion", {"boat", "crew"}), ("example.com/x", {"boat", "crew"})],
)
def test_what_an_objects_finalizers_ask_for_is_kept(api: MemoryApi, wish: str, left: set[str]) -> None:
    """Its owner is gone; what is to become of its own dependents was said before."""
    owner = _thing("ReplicaSet", "web", uid="uid-of-web")
    boat = api.put(CUSTOM, _thing("Boat", "boat", owner, finalizers=[wish]))
    api.put("pods", _thing("Pod", "crew", boat, finalizers=["example.com/x"]))
    decision = api.reconcile(garbagecollector.reconcile, "boat", resource=CUSTOM)
    policies = {"orphan": "Orphan", "foregroundDeletion": "Foreground"}
    assert [action.propagation for action in decision.actions if isinstance(action, Delete)] == [
        policies.get(wish, "Background")
    ]
    _collect(api)
    assert _there(api) == left
    assert bool(api.get("pods", "default", "crew")["metadata"].get("ownerReferences")) is (wish != "orphan")


def test_an_object_with_one_living_owner_stays_and_forgets_the_other(api: MemoryApi) -> None:
    lives, goes = api.put(SETS, _thing("ReplicaSet", "lives")), api.put(SETS, _thing("ReplicaSet", "goes"))
    api.put("pods", _thing("Pod", "crew", lives, goes))
    _delete(api, SETS, goes, "Background")
    _collect(api)
    (reference,) = api.get("pods", "default", "crew")["metadata"]["ownerReferences"]
    assert reference["name"] == "lives"


def test_foreground_waits_for_dependents_that_block(api: MemoryApi) -> None:
    owner = api.put(SETS, _thing("ReplicaSet", "web"))
    crew = _thing("Pod", "crew", owner)
    crew["spec"] = {"nodeName": "n"}
    api.put("pods", crew)
    api.put("pods", _thing("Pod", "loose", owner, block=False))
    _delete(api, SETS, owner, "Foreground")
    _collect(api)
    assert "web" in _there(api)
    assert api.get("pods", "default", "crew")["metadata"]["deletionTimestamp"]
    api.kill("default", "crew")
    _collect(api)
    assert _there(api) == set()


def test_orphan_lets_go_of_dependents(api: MemoryApi) -> None:
    owner = api.put(SETS, _thing("ReplicaSet", "web"))
    api.put("pods", _thing("Pod", "crew", owner))
    _delete(api, SETS, owner, "Orphan")
    _collect(api)
    assert _there(api) == {"crew"}
    assert not api.get("pods", "default", "crew")["metadata"].get("ownerReferences")


def test_owners_that_own_each_other_do_not_wait_for_each_other(api: MemoryApi) -> None:
    one = api.put("configmaps", _thing("ConfigMap", "one"))
    two = api.put("configmaps", _thing("ConfigMap", "two", one))
    references = _thing("ConfigMap", "x", two)["metadata"]["ownerReferences"]
    one = api.change("configmaps", "default", "one", {"metadata": {"ownerReferences": references}})
    _collect(api)
    assert _there(api) == {"one", "two"}
    _delete(api, "configmaps", one, "Foreground")
    _collect(api)
    assert _there(api) == set()


def test_a_kind_that_nobody_serves_keeps_its_dependents(api: MemoryApi) -> None:
    owner = {"apiVersion": "gone.example.com/v1", "kind": "Gone", "metadata": {"name": "x", "uid": "y"}}
    api.put("pods", _thing("Pod", "crew", owner))
    _collect(api)
    assert _there(api) == {"crew"}


def test_a_namespaced_owner_of_a_cluster_object_is_an_event(api: MemoryApi) -> None:
    owner = api.put(SETS, _thing("ReplicaSet", "web"))
    made = _thing("Namespace", "ns", owner)
    made["metadata"]["namespace"] = ""
    api.put("namespaces", made)
    _collect(api)
    assert "ns" in _there(api)
    assert api.events[0][1] == "OwnerRefInvalidNamespace"


def test_changes_wake_dependents_and_waiting_owners(api: MemoryApi) -> None:
    owner = api.put(SETS, _thing("ReplicaSet", "web"))
    crew = api.put("pods", _thing("Pod", "crew", owner))
    view = api.observed()
    assert set(garbagecollector.wake(SETS, owner, None, view)) == {Key("default", "crew", "pods")}
    assert set(garbagecollector.wake("pods", None, crew, view)) == {Key("default", "crew", "pods")}
    assert set(garbagecollector.wake("pods", crew, {**crew, "status": {}}, view)) == set()
    _delete(api, SETS, owner, "Foreground")
    assert Key("default", "web", SETS) in set(garbagecollector.wake("pods", crew, None, view))


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False))
def test_random_graphs_end_without_garbage_and_without_losing_what_is_owned(chance: random.Random) -> None:
    api = _api()
    things: list[dict[str, Any]] = []
    for number in range(chance.randrange(2, 12)):
        owners = chance.sample(things, min(len(things), chance.randrange(3)))
        things.append(api.put("configmaps", _thing("ConfigMap", f"c{number}", *owners, block=chance.random() < 0.7)))
    first = chance.choice(things)
    _delete(api, "configmaps", first, chance.choice(["Background", "Foreground"]))
    _collect(api)
    living = {obj["metadata"]["uid"]: obj for obj in api.list("configmaps")}
    assert first["metadata"]["uid"] not in living
    for obj in things:
        wanted = [ref["uid"] for ref in obj["metadata"].get("ownerReferences") or ()]
        if obj is not first and (not wanted or any(uid in living for uid in wanted)):
            assert obj["metadata"]["uid"] in living
        elif wanted:
            assert obj["metadata"]["uid"] not in living


# ---- namespaces ----


def _namespace(api: MemoryApi, **metadata: Any) -> dict[str, Any]:
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "old", **metadata}}
    return api.put("namespaces", {**made, "spec": {"finalizers": ["kubernetes"]}})


def _in_namespace(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    made = _thing(kind, name, **metadata)
    made["metadata"]["namespace"] = "old"
    return made


def test_a_deleted_namespace_is_emptied_and_let_go(api: MemoryApi) -> None:
    _namespace(api, deletionTimestamp="2026-01-01T00:00:00Z")
    api.put("pods", _in_namespace("Pod", "crew"))
    api.put(CUSTOM, _in_namespace("Boat", "boat"))
    api.put("configmaps", _thing("ConfigMap", "elsewhere"))
    api.settle(namespace.reconcile, "old", "")
    assert _there(api) == {"elsewhere"}


def test_a_living_namespace_is_left_alone(api: MemoryApi) -> None:
    _namespace(api)
    api.put("pods", _in_namespace("Pod", "crew"))
    api.settle(namespace.reconcile, "old", "")
    assert _there(api) == {"old", "crew"}


def test_what_remains_in_a_namespace_is_said(api: MemoryApi) -> None:
    _namespace(api, deletionTimestamp="2026-01-01T00:00:00Z")
    api.put(CUSTOM, _in_namespace("Boat", "boat", finalizers=["example.com/moored"]))
    api.settle(namespace.reconcile, "old", "")
    status = api.get("namespaces", "", "old")["status"]
    said = {c["type"]: (c["status"], c["message"]) for c in status["conditions"]}
    assert said["NamespaceContentRemaining"] == (
        "True",
        "Some resources are remaining: boats.example.com has 1 resource instances",
    )
    assert said["NamespaceFinalizersRemaining"] == (
        "True",
        "Some content in the namespace has finalizers remaining: example.com/moored in 1 resource instances",
    )
    api.change(CUSTOM, "old", "boat", {"metadata": {"finalizers": None}})
    api.settle(namespace.reconcile, "old", "")
    assert _there(api) == set()


def test_a_namespace_is_not_let_go_while_the_server_cannot_say_that_it_is_empty(api: MemoryApi) -> None:
    _namespace(api, deletionTimestamp="2026-01-01T00:00:00Z")
    api.answers[Read("configmaps", "old", limit=500)] = Answer(None, 500, "away")
    api.settle(namespace.reconcile, "old", "")
    assert _there(api) == {"old"}


BARGES = "barges.example.com"
BARGE_KINDS = {**KINDS, ("example.com/v1", "Barge"): KnownKind(BARGES, True)}


def test_a_namespace_keeps_what_nobody_follows_until_it_is_empty() -> None:
    """Discovery names the resource, but its informer could not be started: the server has to be asked all the same."""
    api = MemoryApi(SETS, "pods", "configmaps", CUSTOM, "namespaces", kinds=BARGE_KINDS)
    _namespace(api, deletionTimestamp="2026-01-01T00:00:00Z")
    question = Read(BARGES, "old", limit=500)
    key, observed = Key("", "old"), api.observed()
    asked = namespace.reconcile(key, observed, api.now).reads
    assert question in asked
    late = Answer({"items": [_in_namespace("Boat", "late", uid="u")]})
    answers = {read: late if read == question else api.answer(read) for read in asked}
    decision = namespace.reconcile(key, observed.after(answers), api.now)
    assert [(a.resource, a.name) for a in decision.actions if isinstance(a, Delete)] == [(BARGES, "late")]
    assert not any(isinstance(action, Update) for action in decision.actions)
    api.answers[question] = Answer({"items": []})
    api.reconcile(namespace.reconcile, "old", "")
    assert _there(api) == set()


def test_a_server_that_does_not_serve_a_known_resource_yet_says_nothing_of_its_objects() -> None:
    api = MemoryApi(SETS, "pods", "configmaps", CUSTOM, "namespaces", kinds=BARGE_KINDS)
    _namespace(api, deletionTimestamp="2026-01-01T00:00:00Z")
    api.answers[Read("events", "old", limit=500)] = Answer(None, 404, "they are not kept")
    decision = api.reconcile(namespace.reconcile, "old", "")
    assert decision.requeue_after == 5
    assert _there(api) == {"old"}
    said = {c["type"]: c["message"] for c in api.get("namespaces", "", "old")["status"]["conditions"]}
    assert "could not find the requested resource" in said["NamespaceDeletionContentFailure"]
    # The definition is gone, and discovery says so.
    del api.kinds[("example.com/v1", "Barge")]
    api.reconcile(namespace.reconcile, "old", "")
    assert _there(api) == set()


def test_what_the_view_does_not_show_yet_is_deleted_all_the_same(api: MemoryApi) -> None:
    _namespace(api, deletionTimestamp="2026-01-01T00:00:00Z")
    late = _in_namespace("Pod", "late", uid="u")
    api.answers[Read("pods", "old", limit=500)] = Answer({"items": [late]})
    decision = api.reconcile(namespace.reconcile, "old", "")
    assert [a.name for a in decision.actions if isinstance(a, Delete)] == ["late"]


# ---- pods, jobs ----


def test_pods_of_nodes_that_are_gone_fail_and_go(api: MemoryApi) -> None:
    api.put("nodes", node("here"))
    api.put("pods", pod("lost", node="gone", phase="Running"))
    api.put("pods", pod("well", node="here", phase="Running"))
    decision = api.reconcile(podgc.reconciler(), "pods", "")
    assert [(a.name, a.grace) for a in decision.actions if isinstance(a, Delete)] == [("lost", 0)]
    assert _there(api) == {"here", "well"}


def test_a_node_that_the_server_knows_keeps_its_pods(api: MemoryApi) -> None:
    api.put("pods", pod("new", node="just-joined", phase="Running"))
    api.answers[Read("nodes", "", "just-joined")] = Answer(node("just-joined"))
    api.settle(podgc.reconciler(), "pods", "")
    assert _there(api) == {"new"}


def test_pods_without_a_node_that_are_being_deleted_go(api: MemoryApi) -> None:
    api.put("pods", pod("never-bound", deletionTimestamp="2026-01-01T00:00:00Z"))
    api.put("pods", pod("waiting"))
    api.settle(podgc.reconciler(), "pods", "")
    assert _there(api) == {"waiting"}


def test_the_oldest_finished_pods_beyond_the_threshold_go(api: MemoryApi) -> None:
    for number in range(5):
        api.put("pods", pod(f"p{number}", phase="Succeeded"))
        api.pass_time(1)
    api.settle(podgc.reconciler(threshold=2), "pods", "")
    assert _there(api) == {"p3", "p4"}


def test_pods_of_a_node_out_of_service_go(api: MemoryApi) -> None:
    out = node("out")
    out["spec"]["taints"] = [{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]
    out["status"]["conditions"][0]["status"] = "Unknown"
    api.put("nodes", out)
    api.put("pods", pod("stuck", node="out", phase="Running", deletionTimestamp="2026-01-01T00:00:00Z"))
    failed, deleted = api.reconcile(podgc.reconciler(), "pods", "").actions
    assert isinstance(failed, UpdateStatus)
    assert failed.object["status"]["phase"] == "Failed"
    assert isinstance(deleted, Delete)
    assert _there(api) == {"out"}


def test_a_finished_job_goes_after_its_time(api: MemoryApi) -> None:
    done = [{"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}}
    api.put("jobs.batch", {**made, "spec": {"ttlSecondsAfterFinished": 60}, "status": {"conditions": done}})
    assert api.reconcile(ttlafterfinished.reconcile, "j").requeue_after == 60
    api.pass_time(60)
    decision = api.reconcile(ttlafterfinished.reconcile, "j")
    assert [a.propagation for a in decision.actions if isinstance(a, Delete)] == ["Foreground"]


def test_a_job_whose_time_was_raised_meanwhile_stays(api: MemoryApi) -> None:
    done = [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"}}
    stale = api.put("jobs.batch", {**made, "spec": {"ttlSecondsAfterFinished": 60}, "status": {"conditions": done}})
    api.answers[Read("jobs.batch", "default", "j")] = Answer({**stale, "spec": {"ttlSecondsAfterFinished": 600}})
    api.pass_time(60)
    decision = api.reconcile(ttlafterfinished.reconcile, "j")
    assert not decision.actions
    assert decision.requeue_after == 540
