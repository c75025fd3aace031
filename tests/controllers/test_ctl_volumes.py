"""Claims and volumes in use stay; what a claim and its volume say of each other while either goes and comes back."""

from __future__ import annotations

from typing import Any

import pytest
from ctl_manifests import pod
from ctl_memory_api import START, MemoryApi

from control.api.schema import Object
from control.api.status import StatusError
from control.controllers.reconcilers import volumebinder, volumeprotection
from control.controllers.reconcilers.volumebinder import CLAIMS, VOLUMES
from control.controllers.registry import Settings, controllers
from control.controllers.values.actions import Answer, Key, Read
from control.controllers.values.objects import format_time

CLAIM_HELD, VOLUME_HELD = "kubernetes.io/pvc-protection", "kubernetes.io/pv-protection"
GOING: dict[str, Any] = {"deletionTimestamp": format_time(START)}


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(CLAIMS, VOLUMES, volumebinder.CLASSES, "pods")


def _volume(api: MemoryApi, name: str = "disk", **spec: Any) -> Object:
    made = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], **spec}
    metadata = {"name": name, "finalizers": [VOLUME_HELD]}
    return api.put(VOLUMES, {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": made})


def _claim(api: MemoryApi, name: str = "data", **metadata: Any) -> Object:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    held = {"name": name, "namespace": "default", "finalizers": [CLAIM_HELD], **metadata}
    return api.put(CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": held, "spec": spec})


def _bound(api: MemoryApi) -> Object:
    """The claim, bound to the volume."""
    _volume(api)
    _claim(api)
    api.settle(volumebinder.reconcile_claim, "data")
    assert _phases(api) == ("Bound", "Bound")
    return api.get(CLAIMS, "default", "data")


def _phases(api: MemoryApi) -> tuple[str, str]:
    return api.get(CLAIMS, "default", "data")["status"]["phase"], api.get(VOLUMES, "", "disk")["status"]["phase"]


def _exists(api: MemoryApi, resource: str, namespace: str, name: str) -> bool:
    return (namespace, name) in api.stores[resource].objects


def _user(name: str = "user", node: str = "n1", claim: str = "data", phase: str = "Running") -> Object:
    made = pod(name, node=node, phase=phase)
    made["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]
    return made


def _delete(api: MemoryApi, resource: str, namespace: str, name: str) -> None:
    """As a user does: what has finalizers stays for now."""
    api.change(resource, namespace, name, {"metadata": GOING})


# ---- protection ----


def test_a_claim_stays_while_a_pod_on_a_node_uses_it(api: MemoryApi) -> None:
    _claim(api)
    used = api.put("pods", _user())
    _delete(api, CLAIMS, "default", "data")
    api.settle(volumeprotection.reconcile_claim, "data")
    assert _exists(api, CLAIMS, "default", "data")
    api.kill("default", "user")
    assert volumeprotection.wake_claims("pods", used, None, api.observed()) == {Key("default", "data")}
    api.settle(volumeprotection.reconcile_claim, "data")
    assert not _exists(api, CLAIMS, "default", "data")


@pytest.mark.parametrize(
    ("user", "stays"),
    [
        (_user(node=""), False),  # the scheduler gives it no node now
        (_user(claim="other"), False),
        (_user(phase="Succeeded"), True),  # its node may not have let go of the volume yet
        (_user(phase="Failed"), True),
    ],
)
def test_which_pods_use_a_claim(api: MemoryApi, user: Object, stays: bool) -> None:
    _claim(api)
    api.put("pods", user)
    _delete(api, CLAIMS, "default", "data")
    api.settle(volumeprotection.reconcile_claim, "data")
    assert _exists(api, CLAIMS, "default", "data") is stays


@pytest.mark.parametrize(("grace", "stays"), [(30, True), (0, False)])
def test_a_pods_own_claim_stays_until_its_node_is_done_with_it(api: MemoryApi, grace: int, stays: bool) -> None:
    user = pod("user", node="n1", finalizers=["example.org/keeps"], **GOING, deletionGracePeriodSeconds=grace)
    user["spec"]["volumes"] = [{"name": "own", "ephemeral": {"volumeClaimTemplate": {}}}]
    uid = api.put("pods", user)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "user", "uid": uid, "controller": True}
    _claim(api, "user-own", ownerReferences=[owner])
    _claim(api, "user-other", ownerReferences=[owner])
    for name in ("user-own", "user-other"):
        _delete(api, CLAIMS, "default", name)
        api.settle(volumeprotection.reconcile_claim, name)
    assert _exists(api, CLAIMS, "default", "user-own") is stays
    assert not _exists(api, CLAIMS, "default", "user-other")


def test_a_claim_of_the_name_of_a_pods_own_is_somebody_elses(api: MemoryApi) -> None:
    user = pod("user", node="n1")
    user["spec"]["volumes"] = [{"name": "own", "ephemeral": {"volumeClaimTemplate": {}}}]
    api.put("pods", user)
    _claim(api, "user-own")
    _delete(api, CLAIMS, "default", "user-own")
    api.settle(volumeprotection.reconcile_claim, "user-own")
    assert not _exists(api, CLAIMS, "default", "user-own")


def test_a_claim_goes_only_on_the_servers_word(api: MemoryApi) -> None:
    """The view knows of no pod; the server does, or cannot say."""
    _claim(api)
    _delete(api, CLAIMS, "default", "data")
    question = Read("pods", "default")
    api.answers[question] = Answer({"items": [_user()]})
    assert not api.reconcile(volumeprotection.reconcile_claim, "data").actions
    api.answers[question] = Answer(None, 500, "no idea")
    assert api.reconcile(volumeprotection.reconcile_claim, "data").requeue_after
    assert _exists(api, CLAIMS, "default", "data")
    api.answers[question] = Answer({"items": []})
    api.settle(volumeprotection.reconcile_claim, "data")
    assert not _exists(api, CLAIMS, "default", "data")


def test_others_finalizers_stay(api: MemoryApi) -> None:
    _claim(api, finalizers=["example.org/backup", CLAIM_HELD])
    _delete(api, CLAIMS, "default", "data")
    api.settle(volumeprotection.reconcile_claim, "data")
    assert api.get(CLAIMS, "default", "data")["metadata"]["finalizers"] == ["example.org/backup"]


def test_what_was_made_without_the_finalizer_gets_it(api: MemoryApi) -> None:
    _claim(api, finalizers=["example.org/backup"])
    _volume(api)
    api.change(VOLUMES, "", "disk", {"metadata": {"finalizers": []}})
    api.settle(volumeprotection.reconcile_claim, "data")
    api.settle(volumeprotection.reconcile_volume, "disk", "")
    assert api.get(CLAIMS, "default", "data")["metadata"]["finalizers"] == ["example.org/backup", CLAIM_HELD]
    assert api.get(VOLUMES, "", "disk")["metadata"]["finalizers"] == [VOLUME_HELD]
    _claim(api, "late", finalizers=["example.org/backup"], **GOING)
    api.settle(volumeprotection.reconcile_claim, "late")
    assert api.get(CLAIMS, "default", "late")["metadata"]["finalizers"] == ["example.org/backup"], "too late"


def test_a_volume_stays_while_it_is_bound_and_goes_after_its_claim(api: MemoryApi) -> None:
    _bound(api)
    _delete(api, VOLUMES, "", "disk")
    api.settle(volumeprotection.reconcile_volume, "disk", "")
    api.settle(volumebinder.reconcile_volume, "disk", "")
    api.settle(volumebinder.reconcile_claim, "data")
    assert _phases(api) == ("Bound", "Bound")
    _delete(api, CLAIMS, "default", "data")
    api.settle(volumeprotection.reconcile_claim, "data")
    api.settle(volumebinder.reconcile_volume, "disk", "")
    api.settle(volumeprotection.reconcile_volume, "disk", "")
    assert not _exists(api, VOLUMES, "", "disk")


def test_a_volume_that_nobody_has_goes_at_once(api: MemoryApi) -> None:
    _volume(api)
    api.settle(volumebinder.reconcile_volume, "disk", "")
    _delete(api, VOLUMES, "", "disk")
    api.settle(volumeprotection.reconcile_volume, "disk", "")
    assert not _exists(api, VOLUMES, "", "disk")


def test_the_protecting_controllers_have_kubernetes_names() -> None:
    names = {controller.name for controller in controllers(Settings())}
    assert {"persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller"} <= names


# ---- claims and volumes that go and come back ----


def test_a_volume_that_is_going_is_given_to_nobody_new(api: MemoryApi) -> None:
    _volume(api, claimRef={"namespace": "default", "name": "data"})
    _delete(api, VOLUMES, "", "disk")
    _claim(api)
    api.settle(volumebinder.reconcile_claim, "data")
    assert api.get(CLAIMS, "default", "data")["status"]["phase"] == "Pending"


def test_binding_is_finished_though_the_volume_is_going(api: MemoryApi) -> None:
    claim = _claim(api)
    _volume(api, claimRef={"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]})
    _delete(api, VOLUMES, "", "disk")
    api.settle(volumebinder.reconcile_claim, "data")
    assert _phases(api) == ("Bound", "Bound")


def test_a_claim_stays_bound_while_its_volume_is_going(api: MemoryApi) -> None:
    _bound(api)
    _delete(api, VOLUMES, "", "disk")
    api.settle(volumebinder.reconcile_claim, "data")
    assert _phases(api) == ("Bound", "Bound")


def test_a_lost_claim_is_bound_again_when_its_volume_is_back(api: MemoryApi) -> None:
    _bound(api)
    volume = api.get(VOLUMES, "", "disk")
    api.stores[VOLUMES].remove(volume)
    api.settle(volumebinder.reconcile_claim, "data")
    assert api.get(CLAIMS, "default", "data")["status"] == {"phase": "Lost"}
    assert [reason for _, reason, _ in api.events].count("ClaimLost") == 1
    back = {name: value for name, value in volume["spec"].items() if name != "claimRef"}
    _volume(api, **back)
    new = api.get(VOLUMES, "", "disk")
    assert Key("default", "data") in volumebinder.wake_claims(VOLUMES, None, new, api.observed())
    api.settle(volumebinder.reconcile_claim, "data")
    assert _phases(api) == ("Bound", "Bound")
    assert api.get(CLAIMS, "default", "data")["status"]["capacity"] == {"storage": "1Gi"}


def test_a_claim_whose_volume_lost_its_claim_takes_it_again(api: MemoryApi) -> None:
    claim = _bound(api)
    before = api.get(VOLUMES, "", "disk")
    after = api.change(VOLUMES, "", "disk", {"spec": {"claimRef": None}})
    assert Key("default", "data") in volumebinder.wake_claims(VOLUMES, before, after, api.observed())
    api.settle(volumebinder.reconcile_claim, "data")
    assert api.get(VOLUMES, "", "disk")["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]


def test_a_claim_whose_volume_is_anothers_is_lost(api: MemoryApi) -> None:
    _bound(api)
    api.change(VOLUMES, "", "disk", {"spec": {"claimRef": {"name": "other", "uid": "another"}}})
    api.settle(volumebinder.reconcile_claim, "data")
    assert api.get(CLAIMS, "default", "data")["status"]["phase"] == "Lost"
    assert "ClaimMisbound" in {reason for _, reason, _ in api.events}


@pytest.mark.parametrize("steps", [1, 2])
def test_a_claim_deleted_in_the_middle_of_being_bound_releases_its_volume(api: MemoryApi, steps: int) -> None:
    """Its volume was written, it was not: it does not say which volume it had."""
    _volume(api)
    claim = _claim(api)
    done: list[object] = []

    def refuse(action: object) -> StatusError | None:
        done.append(action)
        return StatusError(500, "InternalError", "the end of it") if len(done) > steps else None

    api.refuse = refuse
    api.reconcile(volumebinder.reconcile_claim, "data")
    api.refuse = lambda _action: None
    claim = api.get(CLAIMS, "default", "data")
    assert "volumeName" not in claim["spec"]
    api.stores[CLAIMS].remove(claim)
    namesake = _claim(api)
    for new in (None, namesake):
        assert volumebinder.wake_volumes(CLAIMS, claim, new, api.observed()) == {Key("", "disk")}
    api.settle(volumebinder.reconcile_volume, "disk", "")
    assert api.get(VOLUMES, "", "disk")["status"]["phase"] == "Released"


@pytest.mark.parametrize("by_us", [True, False])
def test_a_volume_given_to_a_claim_that_has_another_is_free_again(api: MemoryApi, by_us: bool) -> None:
    """Two pods of the claim were decided on before the first volume was heard of. A user's own wish stays."""
    before = _claim(api)
    claim = _bound(api)
    reference = {"namespace": "default", "name": "data", "uid": claim["metadata"]["uid"]}
    spare = _volume(api, "spare", claimRef=reference)
    if by_us:
        spare["metadata"]["annotations"] = {"pv.kubernetes.io/bound-by-controller": "yes"}
        api.put(VOLUMES, spare)
    assert Key("", "spare") in volumebinder.wake_volumes(CLAIMS, before, claim, api.observed())
    api.settle(volumebinder.reconcile_volume, "spare", "")
    spare = api.get(VOLUMES, "", "spare")
    assert ("claimRef" in spare["spec"]) != by_us
    if by_us:
        assert spare["status"]["phase"] == "Available"
        assert not spare["metadata"].get("annotations")
    assert _phases(api) == ("Bound", "Bound")
