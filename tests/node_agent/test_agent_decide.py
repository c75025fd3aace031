"""decide(): values in, plans out."""

from __future__ import annotations

from typing import Any

import pytest
from agent_values import NOW, backoff, pod, ran, seen, sidecar

from node_agent.pod.actions import Kill, Plan, RunSandbox, Start, StopSandbox, Verdict
from node_agent.pod.backoff import Backoff
from node_agent.pod.decide import decide
from node_agent.pod.observed import Failure, Observed, Probed, Sandbox
from node_agent.pod.restart import backoff_key
from node_agent.pod.spec import container_hash, time_of


def plan(of: Any, observed: Observed, backs: Backoff | None = None, verdict: Verdict | None = None) -> Plan:
    return decide(of, observed, backs or Backoff(), NOW, verdict)


def starts(found: Plan) -> list[tuple[str, int]]:
    return [(a.name, a.attempt) for a in found.actions if isinstance(a, Start)]


def kills(found: Plan) -> list[str]:
    return [a.id for a in found.actions if isinstance(a, Kill)]


def test_a_new_pod_gets_a_sandbox_first() -> None:
    found = plan(pod("a", "b"), seen(sandbox=None))
    assert [type(a) for a in found.actions] == [RunSandbox]
    assert found.waiting == {"a": ("ContainerCreating", ""), "b": ("ContainerCreating", "")}


def test_all_containers_start_once_the_sandbox_is_there() -> None:
    assert starts(plan(pod("a", "b"), seen())) == [("a", 0), ("b", 0)]


def test_init_containers_run_one_after_the_other() -> None:
    of = pod("web", init=("i1", "i2"))
    first = plan(of, seen())
    assert starts(first) == [("i1", 0)]
    assert first.waiting["web"] == ("PodInitializing", "")
    assert starts(plan(of, seen(ran("i1")))) == []
    assert starts(plan(of, seen(ran("i1", "exited")))) == [("i2", 0)]
    assert starts(plan(of, seen(ran("i1", "exited"), ran("i2", "exited")))) == [("web", 0)]


def test_a_failed_init_container_is_run_again_with_a_delay() -> None:
    of = pod("web", init=("i1",))
    key = backoff_key(of, of["spec"]["initContainers"][0])
    assert starts(plan(of, seen(ran("i1", "exited", 1)))) == [("i1", 1)]
    waits = plan(of, seen(ran("i1", "exited", 1, attempt=1, ago=3)), backoff(key, 1, ago=3))
    assert starts(waits) == []
    assert waits.waiting["i1"][0] == "CrashLoopBackOff"
    assert waits.again == NOW + 7


def test_a_failed_init_container_ends_a_pod_that_never_restarts() -> None:
    of = pod("web", init=("i1",), restartPolicy="Never")
    found = plan(of, seen(ran("i1", "exited", 1)))
    assert [type(a) for a in found.actions] == [StopSandbox]
    assert plan(of, seen(ran("i1", "exited", 1), sandbox=False)).finished


def test_a_sidecar_holds_the_rest_up_until_it_has_started_and_then_stays() -> None:
    of = pod("web", init=(sidecar("proxy"), "i1"))
    assert starts(plan(of, seen())) == [("proxy", 0)]
    assert starts(plan(of, seen(ran("proxy"), ready={"proxy": Probed(False, False)}))) == []
    assert starts(plan(of, seen(ran("proxy")))) == [("i1", 0)]
    running = [ran("proxy", "exited", 0), ran("i1", "exited"), ran("web")]
    assert starts(plan(of, seen(*running))) == [("proxy", 1)]


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(policy: str, code: int, again: bool) -> None:
    found = plan(pod("web", "other", restartPolicy=policy), seen(ran("web", "exited", code), ran("other")))
    assert starts(found) == ([("web", 1)] if again else [])


def test_crashes_wait_twice_as_long_each_time() -> None:
    of = pod("web")
    key = backoff_key(of, of["spec"]["containers"][0])
    for failures, delay in ((1, "10s"), (2, "20s"), (3, "40s"), (4, "1m20s"), (9, "5m0s")):
        found = plan(of, seen(ran("web", "exited", 1, attempt=failures, ago=1)), backoff(key, failures, ago=1))
        assert starts(found) == []
        message = f"back-off {delay} restarting failed container=web pod=p_default(u1)"
        assert found.waiting == {"web": ("CrashLoopBackOff", message)}
    assert starts(plan(of, seen(ran("web", "exited", 1, attempt=9, ago=1)), backoff(key, 9, ago=2000))) == [("web", 10)]


def test_a_failed_probe_kills_with_its_own_grace() -> None:
    found = plan(pod("web"), seen(ran("web"), ready={"web": Probed(True, True, "liveness", 3.0)}))
    (kill,) = found.actions
    assert isinstance(kill, Kill)
    assert (kill.grace, kill.because) == (3.0, "liveness probe failed")
    assert kill.event == "Container web failed liveness probe, will be restarted"
    again = plan(pod("web"), seen(ran("web"), ready={"web": Probed(True, True, "liveness")}, killing=("web-0",)))
    assert again.actions == ()


def test_another_image_replaces_the_container_without_delay() -> None:
    of = pod("web")
    key = backoff_key(of, of["spec"]["containers"][0])
    old = ran("web")
    observed = seen(type(old)(**{f: getattr(old, f) for f in old.__slots__} | {"hash": "older"}))
    assert kills(plan(of, observed)) == ["web-0"]
    ended = ran("web", "exited", 137, ago=0)
    observed = seen(type(ended)(**{f: getattr(ended, f) for f in ended.__slots__} | {"hash": "older"}))
    assert starts(plan(of, observed, backoff(key, 5))) == [("web", 1)]
    same = seen(
        type(old)(**{f: getattr(old, f) for f in old.__slots__} | {"hash": container_hash(of["spec"]["containers"][0])})
    )
    assert plan(of, same).actions == ()


def test_a_failure_to_start_is_shown_and_tried_again_at_its_time() -> None:
    failure = Failure("ImagePullBackOff", 'Back-off pulling image "i"', NOW + 20)
    found = plan(pod("web"), seen(failures={"web": failure}))
    assert found.actions == ()
    assert found.again == NOW + 20
    assert found.waiting == {"web": ("ImagePullBackOff", 'Back-off pulling image "i"')}
    due = plan(pod("web"), seen(failures={"web": Failure("ErrImagePull", "x", NOW)}))
    assert starts(due) == [("web", 0)]


def test_deletion_ends_containers_then_sidecars_backwards_then_the_sandbox() -> None:
    of = pod("web", init=(sidecar("s1"), sidecar("s2")), deleting=True)
    everything = [ran("s1"), ran("s2"), ran("web")]
    first = plan(of, seen(*everything))
    assert kills(first) == ["web-0"]
    assert [a.grace for a in first.actions if isinstance(a, Kill)] == [7.0]
    assert kills(plan(of, seen(*everything, killing=("web-0",)))) == []
    ended = ran("web", "exited")
    assert kills(plan(of, seen(ran("s1"), ran("s2"), ended))) == ["s2-0"]
    assert kills(plan(of, seen(ran("s1"), ran("s2", "exited"), ended))) == ["s1-0"]
    last = seen(ran("s1", "exited"), ran("s2", "exited"), ended)
    assert [type(a) for a in plan(of, last).actions] == [StopSandbox]
    over = seen(ended, sandbox=False)
    assert plan(of, over).finished


def test_a_pod_that_was_never_begun_is_over_at_once_when_deleted() -> None:
    assert plan(pod("web", deleting=True), seen(sandbox=None)).finished


def test_a_lost_sandbox_takes_everything_with_it() -> None:
    found = plan(pod("web"), seen(ran("web"), sandbox=False))
    assert kills(found) == ["web-0"]
    found = plan(pod("web"), seen(ran("web", "exited", 137), sandbox=False))
    assert [type(a) for a in found.actions] == [StopSandbox, RunSandbox]
    assert [e.reason for e in found.events] == ["SandboxChanged"]
    anew = seen(ran("web", "exited", 137), sandboxes=(Sandbox(id="s1", attempt=1), Sandbox(id="s0", ready=False)))
    assert starts(plan(pod("web"), anew)) == [("web", 1)]


def test_what_succeeded_before_the_sandbox_was_lost_is_not_run_again() -> None:
    of = pod("done", "web", restartPolicy="OnFailure")
    anew = seen(
        ran("done", "exited", 0),
        ran("web", "exited", 137),
        sandboxes=(Sandbox(id="s1", attempt=1), Sandbox(id="s0", ready=False)),
    )
    assert starts(plan(of, anew)) == [("web", 1)]


def test_the_deadline_fails_the_pod() -> None:
    status = {"startTime": time_of(NOW - 50)}
    found = plan(pod("web", activeDeadlineSeconds=60, status=status), seen(ran("web")))
    assert found.actions == ()
    assert found.again == pytest.approx(NOW + 10, abs=1)
    late = plan(pod("web", activeDeadlineSeconds=30, status=status), seen(ran("web")))
    assert kills(late) == ["web-0"]
    assert late.verdict is not None
    assert late.verdict.reason == "DeadlineExceeded"


def test_what_ended_in_time_is_not_late_afterwards() -> None:
    """An agent that looked at a finished job later, or again, called it DeadlineExceeded."""
    status = {"startTime": time_of(NOW - 50)}
    of = pod("web", init=(sidecar("proxy"),), restartPolicy="Never", activeDeadlineSeconds=30, status=status)
    in_time = plan(of, seen(ran("web", "exited", ago=25), ran("proxy")))
    assert (in_time.verdict, kills(in_time)) == (None, ["proxy-0"])
    late = plan(of, seen(ran("web", "exited", ago=15), ran("proxy")))
    assert late.verdict is not None
    of["status"]["phase"] = "Succeeded"
    assert plan(of, seen(ran("web", "exited", ago=15), sandbox=False)).verdict is None


def test_a_condemned_pod_is_wound_up() -> None:
    found = plan(pod("web"), seen(ran("web")), verdict=Verdict("Evicted", "low on memory"))
    assert kills(found) == ["web-0"]
    assert plan(pod("web"), seen(ran("web", "exited"), sandbox=False), verdict=Verdict("Evicted", "")).finished


def test_a_pod_that_has_run_to_its_end_is_left_alone() -> None:
    of = pod("web", init=(sidecar("s1"),), restartPolicy="OnFailure")
    assert kills(plan(of, seen(ran("s1"), ran("web", "exited", 0)))) == ["s1-0"]
    over = plan(of, seen(ran("s1", "exited"), ran("web", "exited", 0), sandbox=False))
    assert over.finished
    assert over.actions == ()


def test_an_ephemeral_container_starts_once() -> None:
    of = pod("web")
    of["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "i"}]
    assert starts(plan(of, seen(ran("web")))) == [("debug", 0)]
    assert starts(plan(of, seen(ran("web"), ran("debug", "exited", 1)))) == []


def test_a_container_that_was_only_created_is_made_again_as_the_same_attempt() -> None:
    assert starts(plan(pod("web"), seen(ran("web", "created", attempt=2)))) == [("web", 2)]


def test_no_container_runs_twice() -> None:
    twice = seen(ran("web", attempt=1), ran("web", attempt=0))
    assert kills(plan(pod("web"), twice)) == ["web-0"]
    assert starts(plan(pod("web"), seen(ran("web", attempt=1), ran("web"), killing=("web-0",)))) == []


def test_nothing_is_done_while_a_container_is_on_its_way_out() -> None:
    assert plan(pod("web"), seen(ran("web"), killing=("web-0",))).actions == ()
