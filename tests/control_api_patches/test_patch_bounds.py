"""Patches from a hostile client: too many operations, too deep, too much copied, long lists."""

from __future__ import annotations

import time
from typing import Any

import pytest

from control.api import schema
from control.api.patches import json_patch, merge, strategic
from control.api.patches.values import MAX_DEPTH
from control.api.status import StatusError

POD = schema.lookup("core.v1.Pod")


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("run", [merge.apply, lambda d, p: strategic.apply(d, p, POD)])
def test_depth(run: Any) -> None:
    assert run({}, nested(MAX_DEPTH))
    with pytest.raises(StatusError) as refusal:
        run({}, nested(50_000))
    assert refusal.value.code == 400


def test_depth_of_a_json_patch() -> None:
    with pytest.raises(StatusError) as refusal:
        json_patch.apply({}, [{"op": "add", "path": "/a", "value": nested(50_000)}])
    assert refusal.value.code == 400


def test_operations() -> None:
    one = {"op": "add", "path": "/a", "value": 1}
    assert json_patch.apply({}, [one] * json_patch.MAX_OPERATIONS) == {"a": 1}
    with pytest.raises(StatusError) as refusal:
        json_patch.apply({}, [one] * (json_patch.MAX_OPERATIONS + 1))
    assert refusal.value.code == 413


def test_copies_do_not_double_for_ever() -> None:
    grow = [{"op": "copy", "from": "/a", "path": f"/a/{n}"} for n in range(64)]
    with pytest.raises(StatusError) as refusal:
        json_patch.apply({"a": {"x": "y" * 1000}}, grow)
    assert refusal.value.code == 422


def test_long_lists_take_linear_time() -> None:
    count = 20_000
    stored = {"metadata": {"finalizers": [f"f{n}" for n in range(count)]}}
    patch = {
        "metadata": {
            "finalizers": [f"g{n}" for n in range(count)],
            "$deleteFromPrimitiveList/finalizers": [f"f{n}" for n in range(0, count, 2)],
        }
    }
    began = time.process_time()
    merged = strategic.apply(stored, patch, POD)
    assert len(merged["metadata"]["finalizers"]) == count + count // 2
    assert time.process_time() - began < 5  # quadratic: minutes
