"""Deployments under random events: they converge, and while rolling they keep within surge and availability.

Everybody acts in any order: both controllers, pods that become ready, users that change template and replicas, a
template whose pods never become ready, pods that are killed. The availability bound is checked while nobody kills pods.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from ctl_manifests import ready_condition, template, workload
from ctl_memory_api import MemoryApi
from hypothesis import given, settings
from hypothesis import strategies as st

from control.controllers.reconcilers import replicaset
from control.controllers.reconcilers.deployment import reconciler as deployment
from control.controllers.values.amounts import surge_and_unavailable
from control.controllers.values.pods import is_active, is_ready

DEPLOYMENTS, SETS = "deployments.apps", "replicasets.apps"


class Simulation:
    """One deployment and whoever acts on it. chance: decides what happens next."""

    def __init__(self, chance: random.Random, surge: int | str, unavailable: int | str, replicas: int) -> None:
        self.chance = chance
        self.api = MemoryApi(DEPLOYMENTS, SETS, "pods")
        self.limits = (surge, unavailable)
        rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
        strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
        self.api.put(DEPLOYMENTS, workload("Deployment", "web", replicas=replicas, strategy=strategy))

    def run_controllers(self) -> None:
        self.api.reconcile(deployment.reconcile, "web")
        for rs in self.api.list(SETS):
            self.api.reconcile(replicaset.reconcile, rs["metadata"]["name"])

    def step(self) -> None:
        """One random thing."""
        match self.chance.randrange(3):
            case 0:
                self.api.reconcile(deployment.reconcile, "web")
            case 1:
                sets = self.api.list(SETS)
                if sets:
                    self.api.reconcile(replicaset.reconcile, self.chance.choice(sets)["metadata"]["name"])
            case 2:
                waiting = [p for p in self.api.list("pods") if not is_ready(p)]
                if waiting:
                    self.make_ready(self.chance.choice(waiting))

    def make_ready(self, pod: dict[str, Any]) -> None:
        if pod["spec"]["containers"][0]["image"] != "broken":
            running = {"phase": "Running", "conditions": [ready_condition()]}
            self.api.change("pods", "default", pod["metadata"]["name"], {"status": running})

    def settle(self) -> None:
        """Everybody does what is to be done, until nothing is left to do."""
        for _ in range(200):
            before = len(self.api.actions)
            self.run_controllers()
            waiting = [p for p in self.api.list("pods") if not is_ready(p)]
            for pod in waiting:
                self.make_ready(pod)
            if len(self.api.actions) == before and not any(map(self._can_be_ready, waiting)):
                return
        raise AssertionError("it does not come to rest")

    def _can_be_ready(self, pod: dict[str, Any]) -> bool:
        return bool(pod["spec"]["containers"][0]["image"] != "broken")

    @property
    def active(self) -> int:
        return sum(map(is_active, self.api.list("pods")))

    @property
    def available(self) -> int:
        return sum(map(is_ready, self.api.list("pods")))

    def check_bounds(self, replicas: int) -> None:
        surge, unavailable = surge_and_unavailable(*self.limits, replicas)
        sizes = sum(rs["spec"]["replicas"] for rs in self.api.list(SETS))
        assert sizes <= replicas + surge
        assert self.active <= replicas + surge
        assert self.available >= replicas - unavailable


LIMITS = st.one_of(st.integers(0, 3), st.sampled_from(["0%", "25%", "50%", "100%"]))


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), LIMITS, LIMITS, st.integers(1, 8), st.booleans())
def test_a_rollout_keeps_its_bounds_and_ends(
    chance: random.Random, surge: int | str, unavailable: int | str, replicas: int, broken: bool
) -> None:
    simulation = Simulation(chance, surge, unavailable, replicas)
    simulation.settle()
    assert simulation.available == replicas
    for image in ["web:2", "broken", "web:3"] if broken else ["web:2", "web:3"]:
        simulation.api.change(DEPLOYMENTS, "default", "web", {"spec": {"template": template(image=image)}})
        for _ in range(chance.randrange(60)):
            simulation.step()
            simulation.check_bounds(replicas)
    simulation.settle()
    pods = simulation.api.list("pods")
    assert len(pods) == replicas
    assert {pod["spec"]["containers"][0]["image"] for pod in pods} == {"web:3"}


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False), LIMITS, LIMITS)
def test_whatever_users_and_faults_do_in_between_it_converges(
    chance: random.Random, surge: int | str, unavailable: int | str
) -> None:
    simulation = Simulation(chance, surge, unavailable, 3)
    replicas = 3
    for _ in range(chance.randrange(120)):
        match chance.randrange(12):
            case 0:
                replicas = chance.randrange(7)
                simulation.api.change(DEPLOYMENTS, "default", "web", {"spec": {"replicas": replicas}})
            case 1:
                image = f"web:{chance.randrange(4)}"
                simulation.api.change(DEPLOYMENTS, "default", "web", {"spec": {"template": template(image=image)}})
            case 2:
                paused = chance.random() < 0.5
                simulation.api.change(DEPLOYMENTS, "default", "web", {"spec": {"paused": paused}})
            case 3:
                pods = simulation.api.list("pods")
                if pods:
                    simulation.api.kill("default", chance.choice(pods)["metadata"]["name"])
            case _:
                simulation.step()
    simulation.api.change(DEPLOYMENTS, "default", "web", {"spec": {"paused": False}})
    simulation.settle()
    wanted = simulation.api.get(DEPLOYMENTS, "default", "web")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert [p["spec"]["containers"][0]["image"] for p in simulation.api.list("pods")] == [wanted] * replicas
    status = simulation.api.get(DEPLOYMENTS, "default", "web").get("status") or {}
    assert status.get("updatedReplicas", 0) == replicas


def test_the_bounds_would_notice_a_rollout_that_is_too_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: nobody looks at what is available."""
    monkeypatch.setattr(
        "control.controllers.reconcilers.deployment.rollout.available", lambda rs: rs["spec"]["replicas"]
    )
    with pytest.raises(AssertionError):
        for seed in range(20):
            chance = random.Random(seed)
            simulation = Simulation(chance, 1, 0, 4)
            simulation.settle()
            simulation.api.change(DEPLOYMENTS, "default", "web", {"spec": {"template": template(image="web:2")}})
            for _ in range(60):
                simulation.step()
                simulation.check_bounds(4)
