"""StatefulSet: order, identity, storage, rolling updates, never two pods of one number."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ctl_manifests import ready_condition, template, workload
from ctl_memory_api import MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.controllers.reconcilers.statefulset.claims import wake_sets, wanted_owners
from control.controllers.reconcilers.statefulset.reconciler import reconcile
from control.controllers.values.actions import Key

SETS, REVISIONS, CLAIMS = "statefulsets.apps", "controllerrevisions.apps", "persistentvolumeclaims"


def _api() -> MemoryApi:
    return MemoryApi(SETS, REVISIONS, CLAIMS, "pods")


@pytest.fixture
def api() -> MemoryApi:
    return _api()


def _put(api: MemoryApi, replicas: int = 3, **spec: Any) -> dict[str, Any]:
    spec = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, **spec}
    return api.put(SETS, workload("StatefulSet", "db", replicas=replicas, serviceName="db", **spec))


def _names(api: MemoryApi) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in api.list("pods"))


def _run(api: MemoryApi, name: str, **status: Any) -> None:
    running = {"phase": "Running", "conditions": [ready_condition()], **status}
    api.change("pods", "default", name, {"status": running, "spec": {"nodeName": "n"}})


def _settle(api: MemoryApi) -> None:
    """Pods run and end as a node would have it."""
    for _ in range(100):
        api.settle(reconcile, "db")
        pods = api.list("pods")
        for pod in pods:
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"]:
                api.kill("default", name)
            elif (pod.get("status") or {}).get("phase") != "Running":
                _run(api, name)
        if api.list("pods") == pods and not api.reconcile(reconcile, "db").actions:
            return
    raise AssertionError("the set does not come to rest")


def _images(api: MemoryApi) -> dict[str, str]:
    return {p["metadata"]["name"]: p["spec"]["containers"][0]["image"] for p in api.list("pods")}


def test_pods_come_one_after_another(api: MemoryApi) -> None:
    _put(api)
    for expected in (["db-0"], ["db-0", "db-1"], ["db-0", "db-1", "db-2"]):
        api.settle(reconcile, "db")
        assert _names(api) == expected
        api.settle(reconcile, "db")
        assert _names(api) == expected
        _run(api, expected[-1])
    api.settle(reconcile, "db")
    pod = api.get("pods", "default", "db-1")
    assert pod["spec"]["hostname"] == "db-1"
    assert pod["spec"]["subdomain"] == "db"
    assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "1"
    assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == "db-1"
    status = api.get(SETS, "default", "db")["status"]
    assert (status["replicas"], status["readyReplicas"], status["updatedReplicas"]) == (3, 3, 3)
    assert status["currentRevision"] == status["updateRevision"]


def test_parallel_starts_all_at_once(api: MemoryApi) -> None:
    _put(api, podManagementPolicy="Parallel")
    api.settle(reconcile, "db")
    assert _names(api) == ["db-0", "db-1", "db-2"]


def test_the_highest_number_goes_first_and_alone(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 1}})
    api.settle(reconcile, "db")
    going = [p["metadata"]["name"] for p in api.list("pods") if "deletionTimestamp" in p["metadata"]]
    assert going == ["db-2"]
    api.kill("default", "db-2")
    _settle(api)
    assert _names(api) == ["db-0"]


def test_nothing_is_made_in_the_place_of_a_pod_that_is_still_ending(api: MemoryApi) -> None:
    """As on a node that cannot be reached: the pod may still run there."""
    _put(api, replicas=1)
    _settle(api)
    api.change("pods", "default", "db-0", {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}})
    api.settle(reconcile, "db")
    assert len(api.list("pods")) == 1
    api.kill("default", "db-0")
    api.settle(reconcile, "db")
    assert "deletionTimestamp" not in api.get("pods", "default", "db-0")["metadata"]


def test_a_pod_that_ended_is_made_again(api: MemoryApi) -> None:
    _put(api, replicas=2)
    _settle(api)
    before = api.get("pods", "default", "db-0")["metadata"]["uid"]
    _run(api, "db-0", phase="Failed")
    _settle(api)
    assert api.get("pods", "default", "db-0")["metadata"]["uid"] != before


def test_a_rolling_update_goes_from_the_highest_down_and_waits(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"template": template("db", image="db:2")}})
    api.settle(reconcile, "db")
    assert [p["metadata"]["name"] for p in api.list("pods") if "deletionTimestamp" in p["metadata"]] == ["db-2"]
    api.kill("default", "db-2")
    api.settle(reconcile, "db")
    assert _images(api) == {"db-0": "web:1", "db-1": "web:1", "db-2": "db:2"}
    _run(api, "db-2")
    _settle(api)
    assert set(_images(api).values()) == {"db:2"}
    status = api.get(SETS, "default", "db")["status"]
    assert status["currentRevision"] == status["updateRevision"]
    assert len(api.list(REVISIONS)) == 2


def test_the_partition_keeps_low_numbers_as_they_are_also_when_made_again(api: MemoryApi) -> None:
    _put(api, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"template": template("db", image="db:2")}})
    _settle(api)
    assert _images(api) == {"db-0": "web:1", "db-1": "web:1", "db-2": "db:2"}
    api.kill("default", "db-0")
    _settle(api)
    assert _images(api)["db-0"] == "web:1"


def test_on_delete_replaces_only_what_users_delete(api: MemoryApi) -> None:
    _put(api, updateStrategy={"type": "OnDelete"})
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"template": template("db", image="db:2")}})
    _settle(api)
    assert set(_images(api).values()) == {"web:1"}
    api.kill("default", "db-1")
    _settle(api)
    assert _images(api)["db-1"] == "db:2"


def test_going_back_uses_the_old_revision_under_a_new_number(api: MemoryApi) -> None:
    _put(api, replicas=1)
    _settle(api)
    for image in ("db:2", "web:1"):
        api.change(SETS, "default", "db", {"spec": {"template": template("db", image=image)}})
        _settle(api)
    assert sorted(revision["revision"] for revision in api.list(REVISIONS)) == [2, 3]
    assert set(_images(api).values()) == {"web:1"}


def test_old_revisions_beyond_the_limit_go(api: MemoryApi) -> None:
    _put(api, replicas=1, revisionHistoryLimit=1)
    _settle(api)
    for number in range(4):
        api.change(SETS, "default", "db", {"spec": {"template": template("db", image=f"db:{number}")}})
        _settle(api)
    assert len(api.list(REVISIONS)) == 2


def _claims(**policy: str) -> dict[str, Any]:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    spec: dict[str, Any] = {"volumeClaimTemplates": [claim]}
    return {**spec, "persistentVolumeClaimRetentionPolicy": policy} if policy else spec


def test_storage_is_made_with_the_pod_and_stays(api: MemoryApi) -> None:
    _put(api, replicas=2, **_claims())
    _settle(api)
    assert sorted(claim["metadata"]["name"] for claim in api.list(CLAIMS)) == ["data-db-0", "data-db-1"]
    (volume,) = api.get("pods", "default", "db-0")["spec"]["volumes"]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}}
    api.change(SETS, "default", "db", {"spec": {"replicas": 0}})
    _settle(api)
    assert len(api.list(CLAIMS)) == 2
    assert not any(claim["metadata"].get("ownerReferences") for claim in api.list(CLAIMS))


def test_storage_goes_with_the_pod_where_the_policy_says_so(api: MemoryApi) -> None:
    _put(api, replicas=2, **_claims(whenDeleted="Delete", whenScaled="Delete"))
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 1}})
    api.settle(reconcile, "db")
    (reference,) = api.get(CLAIMS, "default", "data-db-1")["metadata"]["ownerReferences"]
    assert reference["kind"] == "Pod"
    (kept,) = api.get(CLAIMS, "default", "data-db-0")["metadata"]["ownerReferences"]
    assert kept["kind"] == "StatefulSet"


def test_storage_of_a_pod_that_is_wanted_again_stays(api: MemoryApi) -> None:
    """Scaled down, and up again before the pod was deleted: its claim must not go with it later."""
    _put(api, replicas=3, **_claims(whenScaled="Delete"))
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 1}})
    api.settle(reconcile, "db")
    assert api.get(CLAIMS, "default", "data-db-1")["metadata"]["ownerReferences"]
    assert "deletionTimestamp" not in api.get("pods", "default", "db-1")["metadata"]
    api.change(SETS, "default", "db", {"spec": {"replicas": 2}})
    _settle(api)
    assert not api.get(CLAIMS, "default", "data-db-1")["metadata"].get("ownerReferences")


def _owners(api: MemoryApi, number: int) -> list[str]:
    references = api.get(CLAIMS, "default", f"data-db-{number}")["metadata"].get("ownerReferences") or []
    assert all(reference["controller"] for reference in references)
    return [reference["kind"] for reference in references]


def _policy(api: MemoryApi, deleted: str, scaled: str = "Retain") -> None:
    policy = {"whenDeleted": deleted, "whenScaled": scaled}
    api.change(SETS, "default", "db", {"spec": {"persistentVolumeClaimRetentionPolicy": policy}})
    api.settle(reconcile, "db")


def test_claims_that_there_are_follow_the_policy_of_now(api: MemoryApi) -> None:
    """Deleting the set after the change must delete what the policy says then, no more and no less."""
    _put(api, replicas=2, **_claims(whenDeleted="Delete"))
    _settle(api)
    assert _owners(api, 0) == _owners(api, 1) == ["StatefulSet"]
    _policy(api, "Retain")
    assert _owners(api, 0) == _owners(api, 1) == []
    _policy(api, "Delete")
    assert _owners(api, 0) == _owners(api, 1) == ["StatefulSet"]


def test_claims_of_pods_that_have_gone_are_kept_when_the_policy_says_so(api: MemoryApi) -> None:
    _put(api, replicas=2, **_claims(whenDeleted="Delete"))
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 0}})
    _settle(api)
    assert _names(api) == []
    assert _owners(api, 0) == ["StatefulSet"]
    reference = api.get(CLAIMS, "default", "data-db-0")["metadata"]["ownerReferences"]
    metadata = {"name": "data-db-users", "namespace": "default", "ownerReferences": reference}
    api.put(CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata})
    _policy(api, "Retain")
    assert _owners(api, 0) == _owners(api, 1) == []
    assert api.get(CLAIMS, "default", "data-db-users")["metadata"]["ownerReferences"] == reference, "not the set's"


@pytest.mark.parametrize("deleted", ["Retain", "Delete"])
def test_a_claim_is_kept_though_its_condemned_pod_is_ending(api: MemoryApi, deleted: str) -> None:
    _put(api, replicas=1, **_claims(whenDeleted=deleted, whenScaled="Delete"))
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 0}})
    api.settle(reconcile, "db")
    assert "deletionTimestamp" in api.get("pods", "default", "db-0")["metadata"]
    assert _owners(api, 0) == ["Pod"]
    _policy(api, deleted)
    assert _owners(api, 0) == (["StatefulSet"] if deleted == "Delete" else [])


def test_others_who_own_a_claim_are_left_alone() -> None:
    def ref(kind: str, name: str, uid: str, *, controller: bool) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid, "controller": controller}

    owner = {**workload("StatefulSet", "db", **_claims(whenDeleted="Delete")), "apiVersion": "apps/v1"}
    owner["metadata"] |= {"uid": "set"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "db-0", "uid": "pod"}}
    plain = ref("ConfigMap", "c", "1", controller=False)
    other = ref("Backup", "b", "2", controller=True)
    stale = ref("Pod", "db-0", "before", controller=True)

    def wanted(*references: dict[str, Any]) -> list[str]:
        claim = {"metadata": {"ownerReferences": list(references)}}
        return [reference["uid"] for reference in wanted_owners(claim, owner, pod, condemned=False)]

    assert wanted() == ["set"]
    assert wanted(plain) == ["1", "set"]
    assert wanted(other) == ["2"], "one controller each"
    assert wanted(other, ref("StatefulSet", "db", "set", controller=False)) == ["2"]
    assert wanted(stale) == ["before"], "the garbage collector's"


@pytest.mark.parametrize("policy", ["OrderedReady", "Parallel"])
def test_no_pod_is_made_with_a_claim_that_is_going(api: MemoryApi, policy: str) -> None:
    """It would run on storage that goes when it ends."""
    metadata = {"name": "data-db-0", "namespace": "default", "finalizers": ["x/y"]}
    metadata |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    going = api.put(CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": {}})
    _put(api, replicas=2, podManagementPolicy=policy, **_claims())
    api.settle(reconcile, "db")
    assert _names(api) == ([] if policy == "OrderedReady" else ["db-1"])
    text = "create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted"
    assert ("Warning", "FailedCreate", text) in api.events
    api.stores[CLAIMS].remove(going)
    assert wake_sets(CLAIMS, going, None, api.observed()) == {Key("default", "db")}
    assert wake_sets(CLAIMS, {"metadata": {**metadata, "name": "data-other-0"}}, None, api.observed()) == set()
    _settle(api)
    assert _names(api) == ["db-0", "db-1"]


def test_no_pod_is_made_with_a_claim_that_goes_with_the_pod_before(api: MemoryApi) -> None:
    """Scaled down and, before the garbage collector came by, up again."""
    _put(api, replicas=2, **_claims(whenScaled="Delete"))
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 1}})
    _settle(api)
    api.change(SETS, "default", "db", {"spec": {"replicas": 2}})
    _settle(api)
    assert _names(api) == ["db-0"]
    api.stores[CLAIMS].remove(api.get(CLAIMS, "default", "data-db-1"))
    _settle(api)
    assert _names(api) == ["db-0", "db-1"]


def test_a_claim_that_is_missing_is_made_for_a_pod_that_waits_and_under_none_that_runs(api: MemoryApi) -> None:
    _put(api, replicas=1, **_claims())
    api.settle(reconcile, "db")
    api.stores[CLAIMS].remove(api.get(CLAIMS, "default", "data-db-0"))
    api.settle(reconcile, "db")
    assert len(api.list(CLAIMS)) == 1
    _run(api, "db-0")
    api.stores[CLAIMS].remove(api.get(CLAIMS, "default", "data-db-0"))
    api.settle(reconcile, "db")
    assert api.list(CLAIMS) == []


def test_ordinals_may_start_elsewhere(api: MemoryApi) -> None:
    _put(api, replicas=2, ordinals={"start": 5})
    _settle(api)
    assert _names(api) == ["db-5", "db-6"]


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_whatever_happens_it_converges_and_keeps_its_order(chance: random.Random, parallel: bool) -> None:
    api = _api()
    _put(api, podManagementPolicy="Parallel" if parallel else "OrderedReady")
    replicas, growing = 3, True
    for _ in range(chance.randrange(80)):
        pods = api.list("pods")
        match chance.randrange(8):
            case 0:
                new = chance.randrange(5)
                growing, replicas = new >= replicas, new
                api.change(SETS, "default", "db", {"spec": {"replicas": replicas}})
            case 1:
                image = f"db:{chance.randrange(3)}"
                api.change(SETS, "default", "db", {"spec": {"template": template("db", image=image)}})
            case 2 | 3 if pods:
                pod = chance.choice(pods)
                if "deletionTimestamp" in pod["metadata"]:
                    api.kill("default", pod["metadata"]["name"])
                else:
                    _run(api, pod["metadata"]["name"])
            case 4 if pods:
                _run(api, chance.choice(pods)["metadata"]["name"], phase="Failed")
            case _:
                before = set(_names(api))
                api.reconcile(reconcile, "db")
                made = set(_names(api)) - before
                assert parallel or len(made) <= 1
                for name in made if not parallel and growing else ():
                    lower = range(int(name.removeprefix("db-")))
                    assert all(f"db-{number}" in before for number in lower)
    _settle(api)
    assert _names(api) == [f"db-{number}" for number in range(replicas)]
    wanted = api.get(SETS, "default", "db")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert set(_images(api).values()) <= {wanted}
