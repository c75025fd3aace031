"""The quota controller: what it counts, and when it must not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from control.controllers.reconcilers.resourcequota import RESOURCE, reconcile, wake
from control.controllers.values.actions import UpdateStatus
from control.controllers.values.observed import Observed

Object = dict[str, Any]
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Objects:
    """An informer's store."""

    def __init__(self, *objects: Object) -> None:
        self.objects = {("ns", obj["metadata"]["name"]): obj for obj in objects}

    def by_index(self, name: str, key: str) -> list[Object]:
        return list(self.objects.values()) if (name, key) == ("namespace", "ns") else []


def quota(used: str = "", hard: str = "5") -> Object:
    status = {"status": {"hard": {"pods": hard}, "used": {"pods": used}}} if used else {}
    return {"kind": "ResourceQuota", "apiVersion": "v1", **named("q"), "spec": {"hard": {"pods": hard}}, **status}


def named(name: str, **more: Any) -> Object:
    return {"metadata": {"name": name, "namespace": "ns", "uid": name}, **more}


def pod(phase: str = "Running") -> Object:
    return named("p", spec={"containers": []}, status={"phase": phase})


QUOTA = quota("1")


@pytest.mark.parametrize(
    ("resource", "old", "new", "wakes"),
    [
        (RESOURCE, None, QUOTA, True),
        (RESOURCE, quota("1"), quota("2"), False),  # admission has reserved
        (RESOURCE, quota("1"), quota("1", hard="6"), True),
        (RESOURCE, QUOTA, None, False),
        ("pods", None, pod(), False),  # admission has counted it
        ("pods", pod(), None, True),
        ("pods", pod(), pod("Succeeded"), True),
        ("pods", pod(), {**pod(), "extra": 1}, False),
    ],
)
def test_nothing_is_counted_because_something_was_created(
    resource: str, old: Object | None, new: Object | None, wakes: bool
) -> None:
    observed = Observed({RESOURCE: Objects(QUOTA), "pods": Objects()})
    assert bool(list(wake(resource, old, new, observed))) is wakes


@pytest.mark.parametrize(("used", "pods", "says"), [("3", 1, "1"), ("1", 1, ""), ("", 0, "0")])
def test_it_says_what_is_there(used: str, pods: int, says: str) -> None:
    found = quota(used)
    observed = Observed({RESOURCE: Objects(found), "pods": Objects(*[pod()] * pods)})
    [key] = wake(RESOURCE, None, found, observed)
    actions = reconcile(key, observed, NOW).actions
    written = [action.object["status"]["used"]["pods"] for action in actions if isinstance(action, UpdateStatus)]
    assert written == ([says] if says else [])
