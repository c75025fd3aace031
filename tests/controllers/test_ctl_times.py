"""CronJobs and autoscalers: what depends on time and on figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from ctl_manifests import pod, workload
from ctl_memory_api import START, MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.api.cron import parse_schedule
from control.api.status import conflict, forbidden
from control.controllers.reconcilers import cronjob
from control.controllers.reconcilers.autoscaler.reconciler import METRICS, RESOURCE, Autoscaler
from control.controllers.reconcilers.cronjob_times import due, next_after
from control.controllers.values.actions import Answer, Create, Patch, Read, Update
from control.controllers.values.observed import KnownKind

CRONS, JOBS = "cronjobs.batch", "jobs.batch"


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi(CRONS, JOBS)


def _cron(api: MemoryApi, schedule: str = "*/10 * * * *", **spec: Any) -> None:
    template = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}}
    made = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c", "namespace": "default"}}
    api.put(CRONS, {**made, "spec": {"schedule": schedule, "jobTemplate": template, **spec}})


def _jobs(api: MemoryApi) -> list[str]:
    return sorted(job["metadata"]["name"] for job in api.list(JOBS))


def _finish(api: MemoryApi, name: str, kind: str = "Complete") -> None:
    status = {"conditions": [{"type": kind, "status": "True"}], "completionTime": "2026-01-01T01:00:00Z"}
    api.change(JOBS, "default", name, {"status": status})


def test_a_job_at_each_time_once(api: MemoryApi) -> None:
    _cron(api)
    wait = api.reconcile(cronjob.reconcile, "c").requeue_after
    assert wait is not None
    assert 600 <= wait < 601
    assert _jobs(api) == []
    api.pass_time(wait)
    for _ in range(3):
        api.reconcile(cronjob.reconcile, "c")
    minutes = int((START + timedelta(minutes=10)).timestamp()) // 60
    assert _jobs(api) == [f"c-{minutes}"]
    status = api.get(CRONS, "default", "c")["status"]
    assert status["lastScheduleTime"] == "2026-01-01T00:10:00Z"
    assert [reference["name"] for reference in status["active"]] == [f"c-{minutes}"]
    assert ("Normal", "SuccessfulCreate", f"Created job c-{minutes}") in api.events
    note = api.list(JOBS)[0]["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert note == "2026-01-01T00:10:00Z"


def test_a_new_leader_does_not_start_the_same_time_again(api: MemoryApi) -> None:
    """The status was not written before the old one died; the job's name tells."""
    _cron(api)
    api.pass_time(601)
    api.reconcile(cronjob.reconcile, "c")
    api.change(CRONS, "default", "c", {"status": None})
    decision = api.reconcile(cronjob.reconcile, "c")
    assert not [action for action in decision.actions if isinstance(action, Create)]


def test_a_job_that_was_refused_still_has_its_turn(api: MemoryApi) -> None:
    """A quota was used up: once it is not, that time's job is made."""
    _cron(api)
    api.pass_time(601)
    api.refuse = lambda action: forbidden(JOBS, "c", "exceeded quota: q") if isinstance(action, Create) else None
    for _ in range(2):
        api.reconcile(cronjob.reconcile, "c")
    assert "lastScheduleTime" not in api.get(CRONS, "default", "c").get("status", {})
    api.refuse = lambda _action: None
    api.reconcile(cronjob.reconcile, "c")
    assert len(_jobs(api)) == 1
    assert api.get(CRONS, "default", "c")["status"]["lastScheduleTime"] == "2026-01-01T00:10:00Z"


def test_a_job_that_ended_before_its_turn_was_noted_does_not_run_again(api: MemoryApi) -> None:
    """The one who made it died before it wrote the status; the next notes it before the job may go."""
    _cron(api, successfulJobsHistoryLimit=0)
    api.pass_time(601)
    api.refuse = lambda action: conflict(CRONS, "c") if isinstance(action, Update) else None
    api.reconcile(cronjob.reconcile, "c")
    (name,) = _jobs(api)
    api.refuse = lambda _action: None
    api.reconcile(cronjob.reconcile, "c")
    _finish(api, name)
    for _ in range(3):
        api.reconcile(cronjob.reconcile, "c")
    assert _jobs(api) == []


def test_a_job_made_by_hand_is_nobody_s_turn(api: MemoryApi) -> None:
    """kubectl create job --from=cronjob/c: it must not keep the schedule waiting, as Kubernetes' does not."""
    _cron(api, concurrencyPolicy="Forbid")
    owner = api.get(CRONS, "default", "c")["metadata"]
    reference = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "c", "uid": owner["uid"], "controller": True}
    note = {"cronjob.kubernetes.io/instantiate": "manual"}
    made = {"name": "mine", "namespace": "default", "ownerReferences": [reference], "annotations": note}
    api.put(JOBS, {"apiVersion": "batch/v1", "kind": "Job", "metadata": made, "spec": {}})
    api.pass_time(601)
    api.reconcile(cronjob.reconcile, "c")
    assert len(_jobs(api)) == 2
    assert "mine" not in [job["name"] for job in api.get(CRONS, "default", "c")["status"]["active"]]
    text = "Saw a job that the controller did not create or forgot: mine"
    assert ("Warning", "UnexpectedJob", text) in api.events


@pytest.mark.parametrize(("policy", "count"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
def test_what_happens_while_the_last_one_runs(api: MemoryApi, policy: str, count: int) -> None:
    _cron(api, concurrencyPolicy=policy)
    for _ in range(2):
        api.pass_time(601)
        api.settle(cronjob.reconcile, "c") if policy != "Forbid" else api.reconcile(cronjob.reconcile, "c")
    assert len(_jobs(api)) == count
    assert any(reason == "JobAlreadyActive" for _, reason, _ in api.events) is (policy == "Forbid")


def test_what_was_missed_is_made_up_for_once(api: MemoryApi) -> None:
    _cron(api)
    api.pass_time(3600)
    api.settle(cronjob.reconcile, "c")
    assert _jobs(api) == [f"c-{int((START + timedelta(hours=1)).timestamp()) // 60}"]


def test_what_was_missed_for_too_long_is_not_made_up_for(api: MemoryApi) -> None:
    _cron(api, startingDeadlineSeconds=30)
    api.pass_time(640)
    api.settle(cronjob.reconcile, "c")
    assert _jobs(api) == []


def test_very_many_missed_times_are_an_event(api: MemoryApi) -> None:
    _cron(api, schedule="* * * * *")
    api.pass_time(400 * 86400)
    api.reconcile(cronjob.reconcile, "c")
    assert any(reason == "TooManyMissedTimes" for _, reason, _ in api.events)
    assert len(_jobs(api)) == 1


def test_old_jobs_go(api: MemoryApi) -> None:
    _cron(api, successfulJobsHistoryLimit=2, failedJobsHistoryLimit=1)
    for number in range(8):
        api.pass_time(601)
        api.settle(cronjob.reconcile, "c")
        for name in _jobs(api):
            if not (api.get(JOBS, "default", name).get("status") or {}).get("conditions"):
                _finish(api, name, "Complete" if number % 2 else "Failed")
    api.settle(cronjob.reconcile, "c")
    assert len(_jobs(api)) == 3
    assert api.get(CRONS, "default", "c")["status"]["lastSuccessfulTime"] == "2026-01-01T01:00:00Z"


def test_suspended(api: MemoryApi) -> None:
    _cron(api, suspend=True)
    api.pass_time(3600)
    decision = api.reconcile(cronjob.reconcile, "c")
    assert _jobs(api) == []
    assert decision.requeue_after is None


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"schedule": "61 * * * *"}, "UnparseableSchedule"),
        ({"schedule": "a sentence"}, "UnparseableSchedule"),
        ({"schedule": ""}, "UnparseableSchedule"),
        ({"timeZone": "Mars/Olympus"}, "UnknownTimeZone"),
        ({"timeZone": "../etc/passwd"}, "UnknownTimeZone"),
    ],
)
def test_what_cannot_be_read_is_an_event_and_no_loop(api: MemoryApi, spec: dict[str, str], reason: str) -> None:
    _cron(api, **spec)
    decision = api.reconcile(cronjob.reconcile, "c")
    assert [event.reason for event in decision.events] == [reason]
    assert decision.requeue_after is None


def test_a_time_that_never_comes(api: MemoryApi) -> None:
    _cron(api, schedule="0 0 31 2 *")
    assert api.reconcile(cronjob.reconcile, "c").requeue_after is None


def test_time_zones_and_their_summer_time() -> None:
    schedule, zone = parse_schedule("30 9 * * *"), "Europe/Berlin"
    winter = next_after(schedule, zone, START, datetime(2026, 3, 28, 0, 0, tzinfo=UTC))
    summer = next_after(schedule, zone, START, datetime(2026, 3, 29, 0, 0, tzinfo=UTC))
    assert winter == datetime(2026, 3, 28, 8, 30, tzinfo=UTC)
    assert summer == datetime(2026, 3, 29, 7, 30, tzinfo=UTC)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["* * * * *", "*/7 * * * *", "5 4 * * *", "0 0 1 * *", "@hourly", "@every 90s", "0 3 * * 1-5"]),
    st.integers(0, 200_000),
)
def test_the_last_due_time_is_what_counting_forward_finds(text: str, seconds: int) -> None:
    schedule, now = parse_schedule(text), START + timedelta(seconds=seconds)
    found, last = due(schedule, "", START, now, None)[0], None
    moment = schedule.after(START)
    while moment is not None and moment <= now:
        last, moment = moment, schedule.after(moment)
    assert found == last


# ---- autoscalers ----


class World:
    """A deployment with pods that use what they are told to, and an autoscaler of it."""

    def __init__(self, replicas: int = 2, **spec: Any) -> None:
        kinds = {("apps/v1", "Deployment"): KnownKind("deployments.apps", True)}
        self.api = MemoryApi(RESOURCE, "deployments.apps", "pods", kinds=kinds)
        self.api.put("deployments.apps", workload("Deployment", "web", replicas=replicas))
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        made = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [metric], **spec}
        place = {"name": "h", "namespace": "default"}
        self.api.put(RESOURCE, {"apiVersion": "autoscaling/v2", "metadata": place, "spec": made, "kind": "Hpa"})
        self.scaler = Autoscaler()
        self.load: dict[str, int] = {}
        self.match_pods()

    def match_pods(self) -> None:
        """As the deployment's controllers and nodes would have it, long ago."""
        for name in [p["metadata"]["name"] for p in self.api.list("pods")]:
            if int(name.removeprefix("p")) >= self.replicas:
                self.api.kill("default", name)
        for number in range(self.replicas):
            if ("default", f"p{number}") not in self.api.stores["pods"].objects:
                self.add(f"p{number}")

    def add(self, name: str, *, ready: bool = True, since: str = "2025-01-01T00:00:00Z") -> None:
        made = pod(name, phase="Running", ready=ready)
        made["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
        made["status"] |= {"startTime": since}
        made["status"].setdefault("conditions", [{"type": "Ready", "status": "False"}])[0]["lastTransitionTime"] = since
        self.api.put("pods", made)

    @property
    def replicas(self) -> int:
        return int(self.api.get("deployments.apps", "default", "web")["spec"]["replicas"])

    def use(self, milli: int | None, **each: int | None) -> None:
        """What every pod uses, in thousandths of a CPU; None: it tells nothing."""
        names = [p["metadata"]["name"] for p in self.api.list("pods")]
        figures = {name: each.get(name, milli) for name in names}
        items = [
            {
                "metadata": {"name": name},
                "timestamp": "2026-01-01T00:00:00Z",
                "window": "30s",
                "containers": [{"name": "main", "usage": {"cpu": f"{used}m", "memory": "100Mi"}}],
            }
            for name, used in figures.items()
            if used is not None
        ]
        self.api.answers[Read(METRICS, "default", label_selector="app=web")] = Answer({"items": items})

    def look(self) -> int:
        """One pass; the replicas it wants."""
        decision = self.api.reconcile(self.scaler.reconcile, "h")
        for action in decision.actions:
            if isinstance(action, Patch):
                assert action.subresource == "scale"
        assert decision.requeue_after == 15
        return self.replicas

    def condition(self, kind: str) -> tuple[str, str]:
        conditions = self.api.get(RESOURCE, "default", "h")["status"]["conditions"]
        found = next(c for c in conditions if c["type"] == kind)
        return found["status"], found["reason"]


def test_more_load_more_replicas() -> None:
    world = World(replicas=2)
    world.use(100)
    assert world.look() == 4
    assert world.condition("AbleToScale") == ("True", "SucceededRescale")
    assert world.condition("ScalingActive") == ("True", "ValidMetricFound")
    text = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert ("Normal", "SuccessfulRescale", text) in world.api.events
    status = world.api.get(RESOURCE, "default", "h")["status"]
    (current,) = status["currentMetrics"]
    assert current["resource"]["current"] == {"averageUtilization": 100, "averageValue": "100m"}


def test_a_step_that_was_refused_is_said_and_not_counted() -> None:
    world = World(replicas=2)
    world.use(100)
    world.api.refuse = lambda action: forbidden("deployments", "web", "no") if isinstance(action, Patch) else None
    for _ in range(3):
        assert world.look() == 2
        world.api.pass_time(1)
    assert world.condition("AbleToScale") == ("False", "FailedUpdateScale")
    status = world.api.get(RESOURCE, "default", "h")["status"]
    assert status["desiredReplicas"] == 2
    assert "lastScaleTime" not in status
    world.api.refuse = lambda _action: None
    assert world.look() == 4
    assert world.condition("AbleToScale") == ("True", "SucceededRescale")
    assert world.api.get(RESOURCE, "default", "h")["status"]["desiredReplicas"] == 4


@pytest.mark.parametrize("milli", [45, 50, 55])
def test_within_a_tenth_nothing_moves(milli: int) -> None:
    world = World(replicas=3)
    world.use(milli)
    assert world.look() == 3
    assert world.condition("AbleToScale") == ("True", "ReadyForNewScale")


def test_growing_is_limited_to_twice_or_four_more_in_15_seconds() -> None:
    world = World(replicas=2, maxReplicas=100)
    world.use(2000)
    assert world.look() == 6
    assert world.condition("ScalingLimited") == ("True", "ScaleUpLimit")
    world.match_pods()
    world.use(2000)
    assert world.look() == 6
    world.api.pass_time(16)
    assert world.look() == 12


def test_shrinking_waits_for_five_minutes_of_calm() -> None:
    world = World(replicas=4)
    world.use(50)
    world.look()
    world.use(10)
    for _ in range(19):
        world.api.pass_time(15)
        assert world.look() == 4
    assert world.condition("AbleToScale") == ("True", "ScaleDownStabilized")
    world.api.pass_time(16)
    assert world.look() == 1


def test_a_new_leader_does_not_shrink_at_once() -> None:
    world = World(replicas=4)
    world.use(10)
    world.scaler = Autoscaler()
    assert world.look() == 4


def test_what_is_remembered_of_an_earlier_term_counts_for_nothing() -> None:
    world = World(replicas=4)
    world.use(50)
    world.look()
    world.api.pass_time(3600)
    world.use(10)
    assert world.look() == 4


def test_minimum_and_maximum() -> None:
    world = World(replicas=2, maxReplicas=3)
    world.use(1000)
    assert world.look() == 3
    assert world.condition("ScalingLimited") == ("True", "TooManyReplicas")
    world.api.change(RESOURCE, "default", "h", {"spec": {"minReplicas": 5, "maxReplicas": 8}})
    assert world.look() == 5


def test_pods_that_tell_nothing_never_cause_a_change() -> None:
    world = World(replicas=2)
    world.use(100, p1=None)
    assert world.look() == 2
    world = World(replicas=4)
    world.use(10, p0=None, p1=None, p2=None)
    world.look()
    world.api.pass_time(400)
    assert world.look() >= 3


def test_pods_that_are_only_starting_are_not_taken_for_load() -> None:
    world = World(replicas=3)
    world.api.change("deployments.apps", "default", "web", {"spec": {"replicas": 3}})
    for name in ("p1", "p2"):
        world.api.kill("default", name)
        world.add(name, ready=False, since="2026-01-01T00:00:00Z")
    world.use(60, p1=1000, p2=1000)
    assert world.look() == 3


def test_without_figures_nothing_moves_and_it_is_said() -> None:
    world = World(replicas=3)
    world.use(None)
    assert world.look() == 3
    assert world.condition("ScalingActive") == ("False", "FailedGetResourceMetric")
    world.api.answers[Read(METRICS, "default", label_selector="app=web")] = Answer(None, 404, "no such resource")
    assert world.look() == 3


def test_pods_without_requests_have_no_utilization() -> None:
    world = World(replicas=1)
    containers = [{"name": "main", "image": "x"}]
    world.api.change("pods", "default", "p0", {"spec": {"containers": containers}})
    world.use(100)
    world.look()
    assert world.condition("ScalingActive") == ("False", "FailedGetResourceMetric")
    words = "failed to get cpu utilization: missing request for cpu in container main of Pod p0"
    assert words in [message for _, _, message in world.api.events]


def test_figures_of_none_of_the_pods_are_said_as_kubernetes_says_it() -> None:
    world = World(replicas=1)
    world.use(60)
    read = Read(METRICS, "default", label_selector="app=web")
    world.api.answers[read].object["items"][0]["metadata"]["name"] = "elsewhere"  # type: ignore[index]
    world.look()
    words = "failed to get cpu utilization: did not receive metrics for targeted pods (pods might be unready)"
    assert ("Warning", "FailedGetResourceMetric", words) in world.api.events


def test_a_target_that_is_not_there_or_at_zero() -> None:
    world = World(replicas=0)
    world.use(100)
    assert world.look() == 0
    assert world.condition("ScalingActive") == ("False", "ScalingDisabled")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "nobody"}
    world.api.change(RESOURCE, "default", "h", {"spec": {"scaleTargetRef": target}})
    world.api.reconcile(world.scaler.reconcile, "h")
    assert world.condition("AbleToScale") == ("False", "FailedGetScale")


def test_average_values_and_several_metrics_take_the_highest() -> None:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageValue": "50m"}}}
    memory = {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "25Mi"}}}
    world = World(replicas=2, metrics=[cpu, memory])
    world.use(50)
    assert world.look() == 6


def test_one_unknown_metric_does_not_shrink_but_lets_grow() -> None:
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}}
    world = World(replicas=4, metrics=[cpu, {"type": "External", "external": {}}])
    world.use(10)
    world.look()
    world.api.pass_time(400)
    assert world.look() == 4
    world.use(100)
    assert world.look() == 8


def test_policies_and_windows_of_ones_own() -> None:
    policy = {"type": "Pods", "value": 1, "periodSeconds": 60}
    rules = {"stabilizationWindowSeconds": 0, "policies": [policy], "selectPolicy": "Max"}
    world = World(replicas=4, behavior={"scaleUp": rules, "scaleDown": rules})
    world.use(100)
    assert world.look() == 5
    world.api.pass_time(30)
    assert world.look() == 5
    world.api.pass_time(31)
    world.use(1)
    assert world.look() == 4
    world = World(replicas=4, behavior={"scaleUp": {"selectPolicy": "Disabled"}})
    world.use(1000)
    assert world.look() == 4
