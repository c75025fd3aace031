"""Server-side apply and ownership against recorded sequences of writes (cases/apply.yaml)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from control.api import schema
from control.api.patches import apply, fieldsets, managed, views
from control.api.status import StatusError

CASES = yaml.safe_load((Path(__file__).parent / "cases" / "apply.yaml").read_text())
API_VERSION = "apps/v1"


def owners(value: dict[str, Any]) -> dict[str, list[str]]:
    """Who owns which fields: "manager Operation subresource" → paths."""
    entries = managed.read(value.get("metadata", {}).get("managedFields"))
    return {
        " ".join(filter(None, (e.manager, e.operation, e.subresource))): [fieldsets.text(p) for p in e.fields.paths()]
        for e in entries.values()
    }


def without_managers(value: dict[str, Any]) -> dict[str, Any]:
    value = copy.deepcopy(value)
    value.get("metadata", {}).pop("managedFields", None)
    return {key: part for key, part in value.items() if part != {} or key != "metadata"}


def run(step: dict[str, Any], stored: dict[str, Any] | None, view: views.View, now: str) -> dict[str, Any]:
    ignored = apply.STATUS if step.get("ignore") == "status" else fieldsets.EMPTY
    write = apply.Write(
        view, step["as"], API_VERSION, now, step.get("subresource", ""), step.get("force", False), ignored
    )
    if "apply" in step:
        return apply.apply(stored, {"apiVersion": API_VERSION} | step["apply"], write)
    if step.get("unmanaged"):
        return without_managers(step["write"])
    return apply.track(stored, {"apiVersion": API_VERSION} | step["write"], write)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in CASES])
def test_apply(case: dict[str, Any]) -> None:
    view = views.structural(case["crd"]) if "crd" in case else views.table(schema.lookup(case["type"]))
    stored: dict[str, Any] | None = None
    for number, step in enumerate(case["steps"]):
        before, given = copy.deepcopy(stored), copy.deepcopy(step)
        now = f"2026-01-01T00:00:{number:02d}Z"
        if "conflict" in step or "error" in step:
            with pytest.raises(StatusError) as refusal:
                run(step, stored, view, now)
            check_refusal(step, refusal.value)
            assert stored == before
            continue
        new = run(step, stored, view, now)
        assert stored == before, "what is stored must not change in place"
        assert step == given, "what is applied must not change in place"
        if step.get("same"):
            assert new == stored
        if "result" in step:
            assert without_managers(new) == {"apiVersion": API_VERSION} | step["result"]
        if "owners" in step:
            assert owners(new) == step["owners"]
        stored = new


def check_refusal(step: dict[str, Any], refusal: StatusError) -> None:
    if "error" in step:
        code, part = step["error"]
        assert refusal.code == code
        assert part in refusal.message
        return
    assert (refusal.code, refusal.reason) == (409, "Conflict")
    assert refusal.message == step["conflict"]
    assert {cause.reason for cause in refusal.causes} == {"FieldManagerConflict"}
    assert all(cause.field in refusal.message for cause in refusal.causes)


def test_times_and_order_of_entries() -> None:
    view = views.table(schema.lookup("apps.v1.Deployment"))

    def write(manager: str, now: str) -> apply.Write:
        return apply.Write(view, manager, API_VERSION, now)

    one = apply.track(None, {"spec": {"replicas": 1}}, write("b", "2026-01-01T00:00:02Z"))
    two = apply.track(one, {"spec": {"replicas": 1, "paused": True}}, write("a", "2026-01-01T00:00:01Z"))
    three = apply.apply(two, {"apiVersion": API_VERSION, "spec": {"paused": True}}, write("c", "2026-01-01T00:00:03Z"))
    entries = three["metadata"]["managedFields"]
    assert [(e["manager"], e["operation"], e["time"][-3:-1]) for e in entries] == [
        ("c", "Apply", "03"),
        ("a", "Update", "01"),
        ("b", "Update", "02"),
    ]
    assert entries[0]["fieldsType"] == "FieldsV1"
    assert entries[0]["fieldsV1"] == {"f:spec": {"f:paused": {}}}
    again = apply.apply(
        three, {"apiVersion": API_VERSION, "spec": {"paused": True}}, write("c", "2026-01-01T00:09:00Z")
    )
    assert again == three


def test_the_oldest_updates_are_put_together() -> None:
    view = views.table(schema.lookup("core.v1.ConfigMap"))
    stored: dict[str, Any] | None = None
    data: dict[str, str] = {}
    for number in range(15):
        data = {**data, f"k{number:02d}": "v"}
        write = apply.Write(view, f"m{number:02d}", "v1", f"2026-01-01T00:00:{number:02d}Z")
        stored = apply.track(stored, {"data": data}, write)
    assert stored is not None
    entries = managed.read(stored["metadata"]["managedFields"])
    assert len(entries) == managed.MAX_UPDATERS
    ancient = entries[managed.ANCIENT, "Update", "v1", ""]
    assert {fieldsets.text(path) for path in ancient.fields.paths()} == {
        ".data",
        *(f".data.k{n:02d}" for n in range(6)),
    }
    assert ancient.time == "2026-01-01T00:00:05Z"


@pytest.mark.parametrize(
    ("agent", "name"),
    [("kubectl/v1.32.5 (linux/amd64)", "kubectl"), ("", "unknown"), ("x" * 200, "x" * 128), ("curl", "curl")],
)
def test_managers_without_a_name(agent: str, name: str) -> None:
    assert apply.manager_of(agent) == name
