"""Objects with hardly anything in them, as other programs may write them: no reconciler falls over one."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from ctl_memory_api import MemoryApi

from control.api.catalogue import BUILTIN
from control.controllers.registry import Settings, controllers
from control.controllers.values.actions import Answer, Key
from control.controllers.values.controller import EVERYTHING, Controller
from control.controllers.values.observed import KnownKind

EVERY = controllers(Settings(root_ca="PEM", cluster_cidr=[ip_network("10.0.0.0/16")], node_mask_sizes=[24]))
RESOURCES = sorted({kind.resource for kind in BUILTIN if kind.stored})
KINDS = {(kind.api_version, kind.name): KnownKind(kind.resource, kind.namespaced) for kind in BUILTIN if kind.stored}
DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["foregroundDeletion", "orphan"]}


def _bare(resource: str, **metadata: Any) -> dict[str, Any]:
    kind = BUILTIN.by_resource(resource)
    assert kind is not None
    place = {"namespace": "default"} if kind.namespaced else {}
    return {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {"name": "bare", **place, **metadata}}


@pytest.mark.parametrize("controller", EVERY, ids=lambda controller: str(controller.name))
@pytest.mark.parametrize("metadata", [{}, DELETED], ids=["living", "going"])
@pytest.mark.parametrize(
    "part", [{}, {"spec": None, "status": None}, {"spec": {}, "status": {}}], ids=["no", "null", "empty"]
)
def test_a_bare_object_is_no_mistake(controller: Controller, metadata: dict[str, Any], part: dict[str, Any]) -> None:
    api = MemoryApi(*RESOURCES, kinds=KINDS)
    for resource in RESOURCES:
        api.put(resource, {**_bare(resource, **metadata), **part})
    view = api.observed()
    for key in list(controller.all_keys(view)):
        _decide(api, controller, key)
    for resource, store in api.stores.items():
        wake = controller.wakes.get(resource) or controller.wakes.get(EVERYTHING)
        for obj in store.objects.values() if wake else ():
            for change in ((None, obj), (obj, obj), (obj, None)):
                assert all(isinstance(key, Key) for key in wake(resource, *change, view))


def _decide(api: MemoryApi, controller: Controller, key: Key) -> None:
    view, answers = api.observed(), {}
    for _ in range(5):
        decision = controller.reconcile(key, view.after(answers), api.now)
        if not decision.reads:
            return
        answers.update({read: api.answer(read) if read.name else Answer({"items": []}) for read in decision.reads})
    raise AssertionError(f"{controller.name} does not stop asking")
