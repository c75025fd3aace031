"""Documents, patches and managedFields of any shape: a new object or a refusal, never anything else."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from control.api import schema
from control.api.patches import apply, json_patch, merge, strategic, views
from control.api.status import StatusError

POD = schema.lookup("core.v1.Pod")
WORDS = [
    "metadata", "spec", "status", "containers", "name", "env", "labels", "finalizers", "ownerReferences", "uid",
    "managedFields", "$patch", "$retainKeys", "$setElementOrder/containers", "$setElementOrder/finalizers",
    "$deleteFromPrimitiveList/finalizers", "volumes", "emptyDir", "ports", "containerPort", "protocol", "tolerations",
    "nodeSelector", "conditions", "type", "a", "", "fieldsV1", "f:spec", "k:[1]", "v:1", "i:0", ".", "op", "path",
    "value", "from", "manager", "operation", "apiVersion", "fieldsType",
]  # fmt: skip
LEAVES = [
    None, True, 0, 1, -1, 1.5, "", "a", "b", "merge", "replace", "delete", "Apply", "Update", "v1", "FieldsV1",
    "/spec/containers/0", "/metadata", "/spec/containers/-", "add", "remove", "move", "copy", "test",
]  # fmt: skip


def anything(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        return rng.choice(LEAVES)
    if kind < 0.6:
        return {rng.choice(WORDS): anything(rng, depth - 1) for _ in range(rng.randrange(5))}
    return [anything(rng, depth - 1) for _ in range(rng.randrange(4))]


def pod(rng: random.Random) -> dict[str, Any]:
    """Something like a Pod, in which anything may stand anywhere."""
    containers = [{"name": rng.choice("abc"), "image": "x"} for _ in range(rng.randrange(4))]
    value: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "finalizers": ["a", "b"], "labels": {"a": "b"}},
        "spec": {"containers": containers, "volumes": [{"name": "v", "emptyDir": {}}]},
    }
    part = rng.choice([value, value["metadata"], value["spec"], *containers])
    part[rng.choice(WORDS)] = anything(rng, 3)
    return value


def patch(rng: random.Random) -> Any:
    if rng.random() < 0.2:
        return anything(rng, 4)
    return {"metadata": anything(rng, 3), "spec": anything(rng, 4)}


def refused_or_object(run: Callable[[], Any]) -> None:
    try:
        found = run()
    except StatusError as refusal:
        if refusal.code not in (400, 409, 413, 422):
            raise
    else:
        if not isinstance(found, dict):
            raise AssertionError(f"no object: {found!r}")


@pytest.mark.parametrize("kind", ["strategic", "merge", "json"])
def test_patches(kind: str, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(600):
        document, body = pod(rng), patch(rng)
        before = copy.deepcopy([document, body])
        if kind == "strategic":
            refused_or_object(lambda d=document, p=body: strategic.apply(d, p, POD))
        elif kind == "merge":
            refused_or_object(lambda d=document, p=body: merge.apply(d, p))
        else:
            operations = [anything(rng, 2) for _ in range(3)]
            refused_or_object(lambda d=document, p=operations: {"": json_patch.apply(d, p)})
        assert [document, body] == before


@pytest.mark.parametrize("view", [views.table(POD), views.structural(None)], ids=["table", "no schema"])
def test_apply_and_track(view: views.View, seed: int) -> None:
    rng = random.Random(seed)
    for step in range(300):
        old, new = pod(rng), pod(rng)
        for value in (old, new):
            if not isinstance(value.get("metadata"), dict):
                value["metadata"] = {"name": "p"}  # the server has looked that far before
        write = apply.Write(view, "fuzz", "v1", "2026-01-01T00:00:00Z", force=rng.random() < 0.5)
        before = copy.deepcopy([old, new])
        stored = old if step % 3 else None
        refused_or_object(lambda o=stored, n=new, w=write: apply.track(o, n, w))
        refused_or_object(lambda o=stored, n=new, w=write: apply.apply(o, n, w))
        assert [old, new] == before
