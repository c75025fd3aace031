"""Job: completions, indexes, limits, policies, suspension; and that every pod is counted exactly once."""

from __future__ import annotations

import random
from typing import Any

import pytest
from ctl_memory_api import MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.api.status import StatusError, conflict
from control.client.cause import Cause
from control.controllers.reconcilers.job.indexes import index_of, parse, text_of
from control.controllers.reconcilers.job.reconciler import reconcile
from control.controllers.reconcilers.job.tally import FAILURES, IGNORED
from control.controllers.values.actions import Action, Create, Delete, Patch, UpdateStatus
from control.controllers.values.pods import is_active

JOBS = "jobs.batch"


def _api() -> MemoryApi:
    return MemoryApi(JOBS, "pods")


@pytest.fixture
def api() -> MemoryApi:
    return _api()


def _put(api: MemoryApi, **spec: Any) -> dict[str, Any]:
    policy = spec.pop("restartPolicy", "Never")
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "sum", "namespace": "default"},
        "spec": {
            "parallelism": 2,
            "completions": 3,
            "backoffLimit": 6,
            "selector": {"matchLabels": {"batch.kubernetes.io/job-name": "sum"}},
            "template": {
                "metadata": {},
                "spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "x"}]},
            },
            **spec,
        },
    }
    return api.put(JOBS, made)


def _active(api: MemoryApi) -> list[dict[str, Any]]:
    return [pod for pod in api.list("pods") if is_active(pod)]


def _end(api: MemoryApi, pod: dict[str, Any], phase: str, code: int = 1) -> None:
    from control.controllers.values.objects import format_time

    ended = {"exitCode": 0 if phase == "Succeeded" else code, "finishedAt": format_time(api.now)}
    statuses = [{"name": "c", "state": {"terminated": ended}}]
    status = {"phase": phase, "containerStatuses": statuses}
    api.change("pods", "default", pod["metadata"]["name"], {"status": status})


def _run(api: MemoryApi) -> None:
    """Every active pod runs on a node, and will take its time to end."""
    for pod in _active(api):
        ready = [{"type": "Ready", "status": "True"}]
        running = {"spec": {"nodeName": "n"}, "status": {"phase": "Running", "conditions": ready}}
        api.change("pods", "default", pod["metadata"]["name"], running)


def _status(api: MemoryApi) -> dict[str, Any]:
    found: dict[str, Any] = api.get(JOBS, "default", "sum").get("status") or {}
    return found


def _condition(api: MemoryApi, kind: str) -> dict[str, Any] | None:
    return next((c for c in _status(api).get("conditions") or () if c["type"] == kind and c["status"] == "True"), None)


def _settle(api: MemoryApi) -> None:
    api.settle(reconcile, "sum")


def test_it_runs_as_many_as_parallelism_until_enough_ended_well(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    assert len(_active(api)) == 2
    assert _status(api)["active"] == 2
    for expected in (2, 1, 0):
        _end(api, _active(api)[0], "Succeeded")
        _settle(api)
        assert len(_active(api)) == expected
    assert _condition(api, "Complete")
    assert (_status(api)["succeeded"], _status(api)["active"]) == (3, 0)
    assert not any(pod["metadata"].get("finalizers") for pod in api.list("pods"))
    assert ("Normal", "Completed", "Job completed") in api.events


def test_an_indexed_job_gives_each_pod_its_index(api: MemoryApi) -> None:
    _put(api, completionMode="Indexed", parallelism=3)
    _settle(api)
    assert sorted(index_of(pod) or 0 for pod in _active(api)) == [0, 1, 2]
    pod = _active(api)[0]
    assert pod["metadata"]["name"].startswith("sum-0-")
    assert pod["spec"]["hostname"] == "sum-0"
    assert pod["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"
    _end(api, pod, "Failed")
    _end(api, _active(api)[1], "Succeeded")
    api.pass_time(30)
    _settle(api)
    assert _status(api)["completedIndexes"] == "2"
    assert sorted(index_of(pod) or 0 for pod in _active(api)) == [0, 1]


def test_too_many_failures_fail_the_job(api: MemoryApi) -> None:
    _put(api, backoffLimit=1, parallelism=1)
    for _ in range(2):
        _settle(api)
        _end(api, _active(api)[0], "Failed")
        api.pass_time(700)
    _settle(api)
    failed = _condition(api, "Failed")
    assert failed
    assert failed["reason"] == "BackoffLimitExceeded"
    assert _status(api)["failed"] == 2
    assert ("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit") in api.events


def test_a_failed_pod_is_followed_after_10_20_40_seconds(api: MemoryApi) -> None:
    _put(api, parallelism=1)
    for delay in (10, 20, 40):
        api.pass_time(1000)
        _settle(api)
        _end(api, _active(api)[0], "Failed")
        _settle(api)
        assert not _active(api)
        assert api.reconcile(reconcile, "sum").requeue_after == delay
        api.pass_time(delay)
        _settle(api)
        assert len(_active(api)) == 1


def test_restarts_in_place_count_against_the_limit(api: MemoryApi) -> None:
    _put(api, backoffLimit=2, parallelism=1, restartPolicy="OnFailure")
    _settle(api)
    statuses = [{"name": "c", "restartCount": 2}]
    name = _active(api)[0]["metadata"]["name"]
    api.change("pods", "default", name, {"status": {"phase": "Running", "containerStatuses": statuses}})
    _settle(api)
    failed = _condition(api, "Failed")
    assert failed
    assert failed["reason"] == "BackoffLimitExceeded"


@pytest.mark.parametrize(
    ("status", "over"),
    [
        ({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 6}]}, True),
        ({"phase": "Running", "containerStatuses": [{"restartCount": 3}, {"restartCount": 3}]}, True),
        ({"initContainerStatuses": [{"restartCount": 5}], "containerStatuses": [{"restartCount": 1}]}, True),
        ({"initContainerStatuses": [{"restartCount": 2}], "containerStatuses": [{"restartCount": 3}]}, False),
    ],
)
def test_restarts_of_all_containers_count_together(api: MemoryApi, status: dict[str, Any], over: bool) -> None:
    _put(api, parallelism=1, completions=1, restartPolicy="OnFailure")
    _settle(api)
    api.change("pods", "default", _active(api)[0]["metadata"]["name"], {"status": {"phase": "Running", **status}})
    _settle(api)
    assert (_condition(api, "Failed") is not None) is over


def test_restarts_of_a_pod_that_is_still_ending_count(api: MemoryApi) -> None:
    _put(api, parallelism=2, completions=2, restartPolicy="OnFailure")
    _settle(api)
    _run(api)
    for pod in _active(api):
        api.change("pods", "default", pod["metadata"]["name"], {"status": {"containerStatuses": [{"restartCount": 3}]}})
    pod = _active(api)[0]["metadata"]
    api.perform(Delete("pods", "default", pod["name"], pod["uid"], Cause("test")))
    api.reconcile(reconcile, "sum")
    assert _condition(api, "FailureTarget")


def test_the_deadline_ends_it(api: MemoryApi) -> None:
    _put(api, activeDeadlineSeconds=60)
    _settle(api)
    assert api.reconcile(reconcile, "sum").requeue_after == 60
    api.pass_time(60)
    _settle(api)
    failed = _condition(api, "Failed")
    assert failed
    assert failed["reason"] == "DeadlineExceeded"
    assert api.list("pods") == []


def test_failed_comes_only_when_no_pod_is_left(api: MemoryApi) -> None:
    _put(api, activeDeadlineSeconds=60)
    _settle(api)
    for pod in _active(api):
        api.change("pods", "default", pod["metadata"]["name"], {"spec": {"nodeName": "n"}})
    api.pass_time(60)
    _settle(api)
    assert _condition(api, "FailureTarget")
    assert not _condition(api, "Failed")
    for pod in api.list("pods"):
        api.kill("default", pod["metadata"]["name"])
    _settle(api)
    assert _condition(api, "Failed")


def test_suspend_and_resume(api: MemoryApi) -> None:
    _put(api)
    _settle(api)
    api.change(JOBS, "default", "sum", {"spec": {"suspend": True}})
    _settle(api)
    assert _active(api) == []
    suspended = _condition(api, "Suspended")
    assert suspended
    assert suspended["reason"] == "JobSuspended"
    assert "startTime" not in _status(api)
    api.change(JOBS, "default", "sum", {"spec": {"suspend": False}})
    api.pass_time(30)
    _settle(api)
    assert len(_active(api)) == 2
    assert _status(api)["startTime"] == "2026-01-01T00:00:30Z"


def test_a_failure_policy_may_fail_the_job_or_ignore_the_failure(api: MemoryApi) -> None:
    rules = [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
    ]
    _put(api, parallelism=1, podFailurePolicy={"rules": rules})
    _settle(api)
    pod = _active(api)[0]
    _end(api, pod, "Failed")
    name = pod["metadata"]["name"]
    disrupted = [{"type": "DisruptionTarget", "status": "True"}]
    api.change("pods", "default", name, {"status": {"conditions": disrupted}})
    api.pass_time(30)
    _settle(api)
    assert not _status(api).get("failed")
    pod = _active(api)[0]
    _end(api, pod, "Failed", code=42)
    _settle(api)
    failed = _condition(api, "Failed")
    assert failed
    assert failed["reason"] == "PodFailurePolicy"
    place = f"default/{pod['metadata']['name']}"
    assert failed["message"] == f"Container c for pod {place} failed with exit code 42 matching FailJob rule at index 1"


def test_limits_for_each_index(api: MemoryApi) -> None:
    _put(api, completionMode="Indexed", completions=2, parallelism=1, backoffLimitPerIndex=1, backoffLimit=None)
    for expected in ("0", "1"):
        api.pass_time(700)
        _settle(api)
        pod = _active(api)[0]
        assert index_of(pod) == 0
        assert pod["metadata"]["annotations"]["batch.kubernetes.io/job-index-failure-count"] == expected
        _end(api, pod, "Failed")
    api.pass_time(700)
    _settle(api)
    assert _status(api)["failedIndexes"] == "0"
    pod = _active(api)[0]
    assert index_of(pod) == 1
    _end(api, pod, "Succeeded")
    _settle(api)
    failed = _condition(api, "Failed")
    assert failed
    assert failed["reason"] == "FailedIndexes"


def _at_work(api: MemoryApi) -> list[int]:
    return sorted(index_of(pod) or 0 for pod in _active(api))


def _fail(api: MemoryApi, index: int) -> None:
    _end(api, next(pod for pod in _active(api) if index_of(pod) == index), "Failed")
    _settle(api)


def test_with_limits_for_each_index_none_waits_for_another(api: MemoryApi) -> None:
    _put(api, completionMode="Indexed", completions=5, parallelism=2, backoffLimitPerIndex=5, backoffLimit=None)
    _settle(api)
    assert _at_work(api) == [0, 1]
    _fail(api, 0)
    assert _at_work(api) == [1], "it keeps its place while it waits"
    _end(api, _active(api)[0], "Succeeded")
    _settle(api)
    assert _at_work(api) == [2], "the place of the one that ended is not held up"
    api.pass_time(4)
    _fail(api, 2)
    assert api.reconcile(reconcile, "sum").requeue_after == 6
    api.pass_time(6)
    _settle(api)
    assert _at_work(api) == [0]
    _fail(api, 0)
    assert api.reconcile(reconcile, "sum").requeue_after == 4, "that of index 2, whose wait is not longer for it"
    api.pass_time(4)
    _settle(api)
    assert _at_work(api) == [2]
    api.pass_time(15)
    _settle(api)
    assert _at_work(api) == [2], "the second failure of index 0 costs it 20 seconds"
    api.pass_time(1)
    _settle(api)
    assert _at_work(api) == [0, 2]


def test_failures_that_are_ignored_make_an_index_wait_longer_all_the_same(api: MemoryApi) -> None:
    rules = [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]
    limits = {"backoffLimitPerIndex": 1, "backoffLimit": None, "podFailurePolicy": {"rules": rules}}
    _put(api, completionMode="Indexed", completions=1, parallelism=1, **limits)
    for delay in (10, 20, 40):
        _settle(api)
        _fail(api, 0)
        assert api.reconcile(reconcile, "sum").requeue_after == delay
        for ended in [pod for pod in api.list("pods") if not pod["metadata"].get("finalizers")]:
            api.kill("default", ended["metadata"]["name"])
        api.pass_time(delay)
    _settle(api)
    (pod,) = _active(api)
    assert pod["metadata"]["annotations"][FAILURES] == "0"
    assert pod["metadata"]["annotations"][IGNORED] == "3"


def test_a_success_policy_ends_it_early(api: MemoryApi) -> None:
    rules = [{"succeededIndexes": "0", "succeededCount": 1}]
    _put(api, completionMode="Indexed", successPolicy={"rules": rules})
    _settle(api)
    _end(api, next(pod for pod in _active(api) if index_of(pod) == 0), "Succeeded")
    _settle(api)
    complete = _condition(api, "Complete")
    assert complete
    assert complete["reason"] == "SuccessPolicy"
    assert _active(api) == []


def test_a_work_queue_is_done_when_one_succeeded_and_all_ended(api: MemoryApi) -> None:
    _put(api, completions=None, parallelism=3)
    _settle(api)
    pods = _active(api)
    assert len(pods) == 3
    _end(api, pods[0], "Succeeded")
    _settle(api)
    assert len(_active(api)) == 2
    for pod in pods[1:]:
        _end(api, pod, "Succeeded")
    _settle(api)
    assert _condition(api, "Complete")
    assert _status(api)["succeeded"] == 3


def test_fewer_parallelism_takes_pods_away(api: MemoryApi) -> None:
    _put(api, parallelism=3)
    _settle(api)
    api.change(JOBS, "default", "sum", {"spec": {"parallelism": 1}})
    _settle(api)
    assert len(_active(api)) == 1


@pytest.mark.parametrize("mode", ["NonIndexed", "Indexed"])
@pytest.mark.parametrize("policy", [None, "TerminatingOrFailed", "Failed"])
@pytest.mark.parametrize(("change", "left"), [({"parallelism": 1}, 1), ({"suspend": True}, 0)])
def test_pods_that_the_controller_takes_away_are_no_failures(
    api: MemoryApi, mode: str, policy: str | None, change: dict[str, Any], left: int
) -> None:
    _put(api, parallelism=10, completions=20, completionMode=mode, podReplacementPolicy=policy, backoffLimit=0)
    _settle(api)
    _run(api)
    api.change(JOBS, "default", "sum", {"spec": change})
    _settle(api)
    status = _status(api)
    assert (status["active"], status["terminating"], status["failed"]) == (left, 10 - left, 0)
    for pod in api.list("pods"):
        if not is_active(pod):
            _end(api, pod, "Failed", code=143)
            api.kill("default", pod["metadata"]["name"])
            _settle(api)
    status = _status(api)
    assert (status["active"], status["terminating"], status["failed"]) == (left, 0, 0)
    assert not _condition(api, "FailureTarget")
    assert not status["uncountedTerminatedPods"]


@pytest.mark.parametrize("limits", [{}, {"backoffLimitPerIndex": 0, "backoffLimit": None}])
def test_who_resumes_waits_for_no_failure(api: MemoryApi, limits: dict[str, Any]) -> None:
    _put(api, parallelism=3, completionMode="Indexed", **limits)
    _settle(api)
    _run(api)
    api.change(JOBS, "default", "sum", {"spec": {"suspend": True}})
    _settle(api)
    api.change(JOBS, "default", "sum", {"spec": {"suspend": False}})
    _settle(api)
    assert sorted(index_of(pod) or 0 for pod in _active(api)) == [0, 1, 2]
    counts = {pod["metadata"]["annotations"].get(FAILURES, "0") for pod in _active(api)}
    assert counts == {"0"}
    assert not _status(api).get("failedIndexes")


def test_a_pod_that_ended_well_meanwhile_is_counted_not_taken_away(api: MemoryApi) -> None:
    _put(api, parallelism=2, completions=2)
    _settle(api)
    _run(api)
    done = _active(api)[1]
    api.change(JOBS, "default", "sum", {"spec": {"suspend": True}})

    def refuse(action: Action) -> StatusError | None:
        # It ends between the look at it and the write.
        if isinstance(action, Patch) and action.name == done["metadata"]["name"]:
            api.refuse = lambda _: None
            _end(api, done, "Succeeded")
            return conflict("pods", action.name)
        return None

    api.refuse = refuse
    _settle(api)
    assert (_status(api)["succeeded"], _status(api)["failed"]) == (1, 0)


def test_a_refusal_leaves_no_pod_untracked_and_alive(api: MemoryApi) -> None:
    """Of a pod that works on without its finalizer, nobody would count the end."""
    _put(api, parallelism=5, completions=5)
    _settle(api)
    _run(api)
    api.change(JOBS, "default", "sum", {"spec": {"suspend": True}})
    last = sorted(pod["metadata"]["name"] for pod in _active(api))[-1]
    api.refuse = lambda action: conflict("x", last) if isinstance(action, Patch) and action.name == last else None
    api.reconcile(reconcile, "sum")
    assert [pod["metadata"]["name"] for pod in _active(api)] == [last]
    assert all(pod["metadata"].get("finalizers") for pod in _active(api))


def test_a_pod_that_a_user_deletes_is_a_failure(api: MemoryApi) -> None:
    _put(api, parallelism=1, completions=1)
    _settle(api)
    _run(api)
    pod = _active(api)[0]["metadata"]
    api.perform(Delete("pods", "default", pod["name"], pod["uid"], Cause("test")))
    _settle(api)
    assert _status(api)["failed"] == 1


def test_pods_that_a_success_policy_ends_are_no_failures(api: MemoryApi) -> None:
    _put(api, completionMode="Indexed", successPolicy={"rules": [{"succeededCount": 1}]})
    _settle(api)
    _run(api)
    _end(api, _active(api)[0], "Succeeded")
    _settle(api)
    assert (_status(api)["failed"], _status(api)["terminating"]) == (0, 1)
    for pod in api.list("pods"):
        api.kill("default", pod["metadata"]["name"])
    _settle(api)
    assert _condition(api, "Complete")
    assert _status(api)["failed"] == 0


def test_pods_of_a_job_that_is_gone_lose_their_finalizer(api: MemoryApi) -> None:
    job = _put(api)
    _settle(api)
    api.stores[JOBS].remove(job)
    _settle(api)
    assert not any(pod["metadata"].get("finalizers") for pod in api.list("pods"))


def test_a_job_that_somebody_else_manages_is_left_alone(api: MemoryApi) -> None:
    _put(api, managedBy="example.com/other")
    _settle(api)
    assert api.list("pods") == []


def test_index_texts() -> None:
    assert text_of({0, 1, 2, 4, 6, 7}) == "0-2,4,6-7"
    assert parse("0-2,4,6-7,x,9-", 7) == {0, 1, 2, 4, 6}
    assert text_of(set()) == ""


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), st.booleans())
def test_every_pod_is_counted_once_whatever_fails_in_between(chance: random.Random, indexed: bool) -> None:
    """Any write may be refused at any time, and ended pods may be deleted as soon as nothing holds them.

    The job is suspended and resumed in between; pods that it takes away for that are in no count.
    """
    api = _api()
    mode = "Indexed" if indexed else "NonIndexed"
    completions = 4
    _put(api, completions=completions, completionMode=mode, backoffLimit=1000)
    ended = {"Succeeded": 0, "Failed": 0}

    def refuse(action: Action) -> StatusError | None:
        refusable = isinstance(action, Create | Patch | UpdateStatus)
        return conflict("x", "y") if refusable and chance.random() < 0.3 else None

    api.refuse = refuse
    for _ in range(chance.randrange(100)):
        running = _active(api)
        match chance.randrange(5):
            case 0 if running:
                phase = chance.choice(["Succeeded", "Failed"])
                _end(api, chance.choice(running), phase)
                ended[phase] += 1
            case 1:
                gone = [p for p in api.list("pods") if not is_active(p) and not p["metadata"].get("finalizers")]
                if gone:
                    api.kill("default", chance.choice(gone)["metadata"]["name"])
            case 2:
                api.change(JOBS, "default", "sum", {"spec": {"suspend": chance.random() < 0.3}})
            case _:
                api.pass_time(700)
                api.reconcile(reconcile, "sum")
                assert len(_active(api)) <= 2
    api.refuse = lambda _: None
    api.change(JOBS, "default", "sum", {"spec": {"suspend": False}})
    for _ in range(3 * completions):
        api.pass_time(700)
        _settle(api)
        for pod in _active(api):
            _end(api, pod, "Succeeded")
            ended["Succeeded"] += 1
    _settle(api)
    assert _condition(api, "Complete")
    assert _status(api).get("failed", 0) == ended["Failed"]
    assert _status(api)["succeeded"] == (completions if indexed else ended["Succeeded"])
    assert not _status(api).get("uncountedTerminatedPods")
