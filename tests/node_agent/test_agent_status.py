"""What is reported of a pod."""

from __future__ import annotations

from typing import Any

import pytest
from agent_values import NOW, pod, ran, seen, sidecar

from node_agent.pod.actions import Verdict
from node_agent.pod.observed import Container, Observed, Probed
from node_agent.pod.spec import time_of
from node_agent.pod.status import Place, pod_status, rejected_status, status_patch

PLACE = Place("docker", ("10.0.0.1", "fd00::1"))


def status(of: Any, observed: Observed, **more: Any) -> dict[str, Any]:
    return pod_status(of, observed, PLACE, NOW, **more)


def conditions(found: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c.get("reason", "")) for c in found["conditions"]}


def test_a_running_pod() -> None:
    found = status(pod("web"), seen(ran("web")))
    assert found["phase"] == "Running"
    assert set(conditions(found).values()) == {("True", "")}
    (entry,) = found["containerStatuses"]
    assert entry["state"] == {"running": {"startedAt": time_of(NOW - 60)}}
    assert (entry["ready"], entry["started"], entry["restartCount"]) == (True, True, 0)
    assert entry["containerID"] == "docker://web-0"
    assert (found["hostIP"], found["podIP"]) == ("10.0.0.1", "10.0.0.1")
    assert found["podIPs"] == [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]


def test_a_pod_that_waits() -> None:
    waiting = {"web": ("ImagePullBackOff", "Back-off pulling image")}
    found = status(pod("web"), seen(), waiting=waiting)
    assert found["phase"] == "Pending"
    state = found["containerStatuses"][0]["state"]
    assert state == {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    ready = next(c for c in found["conditions"] if c["type"] == "Ready")
    assert ready["reason"] == "ContainersNotReady"
    assert ready["message"] == "containers with unready status: [web]"


def test_init_containers_keep_it_pending() -> None:
    found = status(pod("web", init=("i1", "i2")), seen(ran("i1", "exited"), ran("i2")))
    assert found["phase"] == "Pending"
    initialized = next(c for c in found["conditions"] if c["type"] == "Initialized")
    assert initialized["message"] == "containers with incomplete status: [i2]"
    assert [s["ready"] for s in found["initContainerStatuses"]] == [True, False]


@pytest.mark.parametrize(
    ("policy", "codes", "phase"),
    [
        ("Never", (0, 0), "Succeeded"),
        ("Never", (0, 1), "Failed"),
        ("OnFailure", (0, 0), "Succeeded"),
        ("OnFailure", (0, 1), "Running"),
        ("Always", (0, 0), "Running"),
    ],
)
def test_phases_of_ended_containers(policy: str, codes: tuple[int, int], phase: str) -> None:
    found = status(
        pod("a", "b", restartPolicy=policy), seen(ran("a", "exited", codes[0]), ran("b", "exited", codes[1]))
    )
    assert found["phase"] == phase


def test_a_crashing_container_shows_its_last_end() -> None:
    observed = seen(ran("web", "exited", 3, attempt=2), ran("web", "exited", 1, attempt=1))
    found = status(pod("web"), observed, waiting={"web": ("CrashLoopBackOff", "back-off")})
    entry = found["containerStatuses"][0]
    assert entry["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert entry["lastState"]["terminated"]["exitCode"] == 3
    assert entry["restartCount"] == 2
    assert found["phase"] == "Running"


def test_a_running_container_shows_the_end_before() -> None:
    entry = status(pod("web"), seen(ran("web", attempt=1), ran("web", "exited", 9)))["containerStatuses"][0]
    assert entry["lastState"]["terminated"]["exitCode"] == 9
    assert entry["restartCount"] == 1


def test_readiness_gates() -> None:
    of = pod("web", readinessGates=[{"conditionType": "example.com/up"}])
    assert conditions(status(of, seen(ran("web"))))["Ready"] == ("False", "ReadinessGatesNotReady")
    of["status"] = {"conditions": [{"type": "example.com/up", "status": "True"}]}
    found = status(of, seen(ran("web")))
    assert conditions(found)["Ready"] == ("True", "")
    assert conditions(found)["example.com/up"] == ("True", "")


def test_an_unready_container() -> None:
    found = status(pod("web"), seen(ran("web"), ready={"web": Probed(True, False)}))
    assert found["phase"] == "Running"
    assert conditions(found)["Ready"] == ("False", "ContainersNotReady")
    late = status(pod("web"), seen(ran("web"), ready={"web": Probed(False, True)}))
    assert late["containerStatuses"][0]["ready"] is False


def test_a_sidecar_counts_by_having_started() -> None:
    found = status(pod("web", init=(sidecar("proxy"),)), seen(ran("proxy"), ran("web")))
    assert found["phase"] == "Running"
    assert found["initContainerStatuses"][0]["started"] is True


def test_what_was_cleaned_up_keeps_its_last_word() -> None:
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "containerID": "docker://x"}}
    before = {"name": "web", "state": ended, "restartCount": 4, "ready": False, "imageID": "sha256:1"}
    of = pod("web", restartPolicy="Never", status={"phase": "Succeeded", "containerStatuses": [before]})
    entry = status(of, seen(sandbox=None), over=True)["containerStatuses"][0]
    assert entry["state"] == ended
    assert entry["restartCount"] == 4


def test_a_container_that_got_lost() -> None:
    found = status(pod("web", deleting=True), seen(sandbox=None), over=True)
    assert found["containerStatuses"][0]["state"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert found["phase"] == "Failed"


def test_what_a_failed_init_container_kept_from_starting_waits_for_ever() -> None:
    before = pod("web", init=("first",), restartPolicy="Never")
    found = status(before, seen(ran("first", "exited", code=1)), over=True)
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert found["phase"] == "Failed"


def test_a_verdict_is_for_ever() -> None:
    evicted = Verdict("Evicted", "low on memory")
    found = status(pod("web"), seen(ran("web", "exited")), verdict=evicted)
    assert (found["phase"], found["reason"], found["message"]) == ("Failed", "Evicted", "low on memory")
    after = status(pod("web", status=found), seen(ran("web", "exited"), sandbox=False), over=True)
    assert (after["phase"], after["reason"]) == ("Failed", "Evicted")


@pytest.mark.parametrize(
    ("runs", "phase"),
    [
        ((ran("web"),), "Running"),
        ((ran("web", "exited"), ran("proxy")), "Running"),
        ((ran("proxy"),), "Pending"),
        ((ran("web", "unknown"),), "Running"),
        ((ran("web", "exited"),), "Failed"),
    ],
)
def test_nothing_has_failed_while_something_runs(runs: tuple[Container, ...], phase: str) -> None:
    """Who watches phases may give what the pod holds to others then."""
    before = pod("web", init=(sidecar("proxy"),), status={"phase": "Running" if phase == "Running" else "Pending"})
    found = status(before, seen(*runs), verdict=Verdict("Evicted", "low on memory"))
    assert found["phase"] == phase
    assert found.get("reason", "") == ("Evicted" if phase == "Failed" else "")
    assert conditions(found)["Ready"] == ("False", "PodFailed")


def test_the_time_of_a_condition_moves_with_its_status_only() -> None:
    first = status(pod("web"), seen(ran("web")))
    later = pod_status(pod("web", status=first), seen(ran("web")), PLACE, NOW + 100)
    assert later["conditions"] == first["conditions"]
    unready = seen(ran("web"), ready={"web": Probed(True, False)})
    changed = pod_status(pod("web", status=first), unready, PLACE, NOW + 100)
    moved = {c["type"] for c in changed["conditions"] if c["lastTransitionTime"] != time_of(NOW)}
    assert moved == {"Ready", "ContainersReady"}


def test_a_patch_names_what_changed_and_nothing_else() -> None:
    old = status(pod("web"), seen(ran("web")))
    assert status_patch(old, old) == {}
    new = status(pod("web", status=old), seen(ran("web"), ready={"web": Probed(True, False)}))
    patch = status_patch(old, new)
    assert set(patch) == {"containerStatuses", "conditions"}
    assert {c["type"] for c in patch["conditions"]} == {"Ready", "ContainersReady"}
    back = status_patch(new, old)
    assert all(c["reason"] is None and c["message"] is None for c in back["conditions"])


def test_absent_and_empty_are_the_same_to_a_patch() -> None:
    assert status_patch({"podIP": "", "reason": None}, {}) == {}
    one: dict[str, Any] = {"name": "web", "state": {"running": {"startedAt": "T"}}, "restartCount": 0}
    kept = {**one, "lastState": {"waiting": {"reason": "", "message": None}}, "imageID": "", "mounts": []}
    assert status_patch({"containerStatuses": [kept]}, {"containerStatuses": [one]}) == {}
    assert status_patch({"containerStatuses": [one]}, {"containerStatuses": [kept]}) == {}


def test_what_is_told_apart_by_a_patch() -> None:
    one: dict[str, Any] = {"name": "web", "state": {"running": {"startedAt": "T"}}, "restartCount": 0}
    others: list[dict[str, Any]] = [
        {**one, "restartCount": 1},
        {**one, "ready": False},
        {**one, "state": {"running": {"startedAt": "U"}}},
        {**one, "state": {}},
        {**one, "mounts": [""]},
    ]
    for other in others:
        new = {"containerStatuses": [other]}
        assert status_patch({"containerStatuses": [one]}, new) == new
    assert status_patch({"containerStatuses": [one]}, {"containerStatuses": [one, one]}) != {}


def test_a_refused_pod() -> None:
    found = rejected_status(pod("web"), Verdict("OutOfcpu", "no room"), PLACE, NOW)
    assert (found["phase"], found["reason"], found["qosClass"]) == ("Failed", "OutOfcpu", "BestEffort")
    assert "podIP" not in found
