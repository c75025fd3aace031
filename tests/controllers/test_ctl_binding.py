"""Which volume a claim gets, and what both say of it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ctl_memory_api import MemoryApi

from control.api.schema import Object
from control.api.status import conflict
from control.controllers.reconcilers import volumebinder
from control.controllers.values.actions import Create, Delete, Update


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(volumebinder.CLAIMS, volumebinder.VOLUMES, volumebinder.CLASSES)


def _volume(api: MemoryApi, name: str, size: str, **spec: Any) -> None:
    made = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}, **spec}
    api.put(
        "persistentvolumes", {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": made}
    )


def _claim(api: MemoryApi, name: str, size: str, **spec: Any) -> None:
    made = {"resources": {"requests": {"storage": size}}, "accessModes": ["ReadWriteOnce"], **spec}
    metadata = {"name": name, "namespace": "default"}
    api.put(
        "persistentvolumeclaims",
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": made},
    )


def test_a_claim_gets_the_smallest_volume_that_is_enough(api: MemoryApi) -> None:
    for name, size in (("small", "1Gi"), ("medium", "5Gi"), ("large", "50Gi")):
        _volume(api, name, size)
    _volume(api, "other-class", "3Gi", storageClassName="fast")
    _claim(api, "data", "2Gi")
    api.settle(volumebinder.reconcile_claim, "data")
    claim = api.get("persistentvolumeclaims", "default", "data")
    assert claim["spec"]["volumeName"] == "medium"
    assert claim["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}}
    volume = api.get("persistentvolumes", "", "medium")
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert volume["status"]["phase"] == "Bound"


@pytest.mark.parametrize("refused", [0, 1, 2, 3])
def test_a_claim_is_not_said_to_be_bound_before_it_is(api: MemoryApi, refused: int) -> None:
    """Somebody else's write comes first at any of the four steps: those after it are not taken in that pass."""
    _volume(api, "disk", "1Gi")
    _claim(api, "data", "1Gi")
    api.settle(volumebinder.reconcile_volume, "disk", "")
    steps = itertools.count()
    api.refuse = lambda action: (
        conflict(action.resource, "x", "somebody was faster") if next(steps) == refused else None
    )
    api.reconcile(volumebinder.reconcile_claim, "data")
    claim, volume = api.get(volumebinder.CLAIMS, "default", "data"), api.get(volumebinder.VOLUMES, "", "disk")
    assert claim.get("status", {}).get("phase") != "Bound"
    assert ("claimRef" in volume["spec"]) == (refused > 0)
    assert (volume["status"]["phase"] == "Bound") == (refused > 1)
    assert ("volumeName" in claim["spec"]) == (refused > 2)
    api.refuse = lambda _action: None
    api.settle(volumebinder.reconcile_claim, "data")
    _is_bound(api, "data", "disk")


def test_a_claim_that_only_says_that_it_is_bound_is_bound(api: MemoryApi) -> None:
    """As an older version could leave it."""
    _volume(api, "disk", "1Gi", claimRef={"namespace": "default", "name": "data"})
    _claim(api, "data", "1Gi")
    api.change(volumebinder.CLAIMS, "default", "data", {"status": {"phase": "Bound"}})
    api.settle(volumebinder.reconcile_claim, "data")
    _is_bound(api, "data", "disk")


def _is_bound(api: MemoryApi, name: str, to: str) -> None:
    claim, volume = api.get(volumebinder.CLAIMS, "default", name), api.get(volumebinder.VOLUMES, "", to)
    assert claim["spec"]["volumeName"] == to
    assert claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] == "yes"
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]
    assert claim["status"]["phase"] == volume["status"]["phase"] == "Bound"


def test_a_volume_is_never_given_twice(api: MemoryApi) -> None:
    _volume(api, "only", "5Gi")
    for name in ("one", "two"):
        _claim(api, name, "1Gi")
        api.settle(volumebinder.reconcile_claim, name)
    two = api.get("persistentvolumeclaims", "default", "two")
    assert two["status"]["phase"] == "Pending"
    assert any(reason == "FailedBinding" for _, reason, _ in api.events)


@pytest.mark.parametrize(
    ("made", "reason", "words", "asked"),
    [
        (None, "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', False),
        ({"provisioner": "kubernetes.io/no-provisioner"}, "ProvisioningFailed", "no volume plugin matched name", False),
        (
            {"provisioner": "example.org/disks", "volumeBindingMode": "WaitForFirstConsumer"},
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
            False,
        ),
        (
            {"provisioner": "example.org/disks"},
            "ExternalProvisioning",
            "external provisioner 'example.org/disks'",
            True,
        ),
    ],
)
def test_a_claim_says_what_it_waits_for(
    api: MemoryApi, made: Object | None, reason: str, words: str, asked: bool
) -> None:
    if made is not None:
        api.put(volumebinder.CLASSES, {"metadata": {"name": "fast"}, **made})
    _claim(api, "data", "1Gi", storageClassName="fast")
    api.settle(volumebinder.reconcile_claim, "data")
    claim = api.get("persistentvolumeclaims", "default", "data")
    assert claim["status"]["phase"] == "Pending"
    assert any(why == reason and words in text for _, why, text in api.events), api.events
    provisioner = (claim["metadata"].get("annotations") or {}).get("volume.kubernetes.io/storage-provisioner")
    assert (provisioner == "example.org/disks") is asked
    # Whoever makes a volume for it says so on the volume: it is bound.
    reference = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": "data"}
    _volume(api, "made", "1Gi", storageClassName="fast", claimRef={**reference, "uid": claim["metadata"]["uid"]})
    assert [key.name for key in volumebinder.wake_class("", None, {"metadata": {"name": "fast"}}, api.observed())] == [
        "data"
    ]
    api.settle(volumebinder.reconcile_claim, "data")
    assert api.get("persistentvolumeclaims", "default", "data")["spec"]["volumeName"] == "made"


def test_a_late_claim_is_asked_for_once_the_scheduler_has_chosen_its_node(api: MemoryApi) -> None:
    late = {"provisioner": "example.org/disks", "volumeBindingMode": "WaitForFirstConsumer"}
    _volume(api, "free", "1Gi", storageClassName="late")  # perhaps on a node that the pod cannot have
    api.put(volumebinder.CLASSES, {"metadata": {"name": "late"}, **late})
    _claim(api, "data", "1Gi", storageClassName="late")
    api.settle(volumebinder.reconcile_claim, "data")
    claim = api.get("persistentvolumeclaims", "default", "data")
    assert "volume.kubernetes.io/storage-provisioner" not in (claim["metadata"].get("annotations") or {})
    claim["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "n1"}
    api.put("persistentvolumeclaims", claim)
    api.settle(volumebinder.reconcile_claim, "data")
    noted = api.get("persistentvolumeclaims", "default", "data")["metadata"]["annotations"]
    assert noted["volume.kubernetes.io/storage-provisioner"] == "example.org/disks"
    assert noted["volume.kubernetes.io/selected-node"] == "n1"
    assert "ExternalProvisioning" in {why for _, why, _ in api.events}


def test_a_volume_of_a_deleted_claim_is_released_and_not_reused(api: MemoryApi) -> None:
    _volume(api, "only", "5Gi")
    _claim(api, "one", "1Gi")
    api.settle(volumebinder.reconcile_volume, "only", "")
    assert api.get("persistentvolumes", "", "only")["status"]["phase"] == "Available"
    api.settle(volumebinder.reconcile_claim, "one")
    api.stores["persistentvolumeclaims"].remove(api.get("persistentvolumeclaims", "default", "one"))
    api.settle(volumebinder.reconcile_volume, "only", "")
    assert api.get("persistentvolumes", "", "only")["status"]["phase"] == "Released"
    _claim(api, "one", "1Gi")
    api.settle(volumebinder.reconcile_claim, "one")
    assert api.get("persistentvolumeclaims", "default", "one")["status"]["phase"] == "Pending"


def test_a_claim_whose_volume_went_is_lost(api: MemoryApi) -> None:
    _volume(api, "only", "5Gi")
    _claim(api, "one", "1Gi")
    api.settle(volumebinder.reconcile_claim, "one")
    api.stores["persistentvolumes"].remove(api.get("persistentvolumes", "", "only"))
    api.settle(volumebinder.reconcile_claim, "one")
    assert api.get("persistentvolumeclaims", "default", "one")["status"]["phase"] == "Lost"


def test_a_volume_reserved_for_a_claim_by_name_waits_for_it(api: MemoryApi) -> None:
    _volume(api, "mine", "9Gi", claimRef={"namespace": "default", "name": "one"})
    _volume(api, "smaller", "1Gi")
    _claim(api, "one", "1Gi")
    api.settle(volumebinder.reconcile_claim, "one")
    assert api.get("persistentvolumeclaims", "default", "one")["spec"]["volumeName"] == "mine"


def test_which_changes_are_made_in_which_order(api: MemoryApi) -> None:
    """The volume first: two claims cannot both have it then."""
    _volume(api, "v", "5Gi")
    _claim(api, "one", "1Gi")
    actions = api.reconcile(volumebinder.reconcile_claim, "one").actions
    assert next((type(a).__name__, a.resource) for a in actions) == ("Update", "persistentvolumes")
    assert not [a for a in actions if isinstance(a, Create | Delete)]
    assert sum(isinstance(a, Update) and not a.subresource for a in actions) == 2
