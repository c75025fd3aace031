"""The agent's shell over the simulated runtime and a fake API: faults, restarts, refusals, static pods, pressure."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_fake_api import FakeApi, Object
from agent_one_node import container, new_agent, one_node, pod, status, until

from node_agent.node.facts import Pressure
from node_agent.node.thresholds import Threshold
from node_agent.pod.config import NodeFacts
from node_agent.pod.network import ClusterDns
from node_agent.pod.spec import MIRROR
from node_agent.runtime.errors import RuntimeFault, RuntimeUnavailable
from node_agent.runtime.simulated import SimulatedRuntime, World
from node_agent.runtime.types import Health
from node_agent.shell.agent import NodeAgent
from node_agent.shell.checkpoint import Checkpoint
from node_agent.shell.housekeeping import Housekeeping
from node_agent.shell.pretended import NoSources
from node_agent.shell.static_pods import StaticPods, static_pod
from node_agent.volumes.keeper import VolumeKeeper


def phase(api: FakeApi, name: str) -> str:
    return str(status(api, name).get("phase", ""))


def condition(api: FakeApi, kind: str) -> str:
    node = api.of("nodes", "n1") or {}
    found = {c["type"]: c["status"] for c in (node.get("status") or {}).get("conditions") or []}
    return found.get(kind, "")


def delete(api: FakeApi, name: str, grace: int = 30) -> None:
    doomed = api.of("pods", name, "default")
    assert doomed is not None
    doomed["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}
    api.put("pods", doomed)


def gone(api: FakeApi, name: str) -> Callable[[], bool]:
    return lambda: api.of("pods", name, "default") is None


def test_the_node_is_registered_and_its_lease_renewed() -> None:
    async def life() -> None:
        async with one_node(lease_seconds=1, labels={"a": "b"}) as (api, _, _):
            node = await until(lambda: api.of("nodes", "n1"), "the node is there")
            assert node["metadata"]["labels"]["a"] == "b"
            await until(lambda: condition(api, "Ready") == "True", "the node is ready")
            lease = await until(lambda: api.of("leases.coordination.k8s.io", "n1", "kube-node-lease"), "a lease")
            assert lease["spec"]["holderIdentity"] == "n1"
            first = lease["spec"]["renewTime"]

            def renewed() -> bool:
                now = api.of("leases.coordination.k8s.io", "n1", "kube-node-lease")
                return now is not None and now["spec"]["renewTime"] != first

            await until(renewed, "the lease is renewed")
            api.drop("leases.coordination.k8s.io", "n1", "kube-node-lease")
            await until(
                lambda: api.of("leases.coordination.k8s.io", "n1", "kube-node-lease"), "the lease is made again"
            )

    asyncio.run(life())


def test_a_lost_api_server_is_survived() -> None:
    async def life() -> None:
        async with one_node(lease_seconds=1) as (api, runtime, agent):
            api.put("pods", pod("web"))
            await until(lambda: phase(api, "web") == "Running", "the pod runs")
            api.down = True
            await until(lambda: agent.registration.api_fault, "the outage is noticed")
            (first,) = await runtime.container_statuses()
            await runtime.stop_container(first.id, 0)
            await until(lambda: len(_running(runtime)) == 1, "it was restarted meanwhile")
            api.down = False
            await until(lambda: container(api, "web").get("restartCount") == 1, "and told of afterwards")
            await until(lambda: not agent.registration.api_fault, "the outage is over")

    asyncio.run(life())


def _running(runtime: SimulatedRuntime) -> list[str]:
    from node_agent.runtime.types import ContainerState

    now = runtime.world.now()
    return [c.id for c in runtime.state.containers.values() if c.state(now) is ContainerState.RUNNING]


def test_a_runtime_that_is_away_is_reported_and_survived() -> None:
    down = False

    def refuse(node: str, operation: str) -> RuntimeFault | None:
        return RuntimeUnavailable("the daemon does not answer") if down else None

    async def life() -> None:
        nonlocal down
        world = World(refuse=refuse)
        async with one_node(world, look_every=(0.05, 0.05), runtime_patience=0.2) as (api, runtime, agent):
            api.put("pods", pod("web"))
            await until(lambda: phase(api, "web") == "Running", "the pod runs")
            down = True
            await until(lambda: agent.view.fault, "the fault is seen")
            agent.registration.changed()
            await until(lambda: condition(api, "Ready") == "False", "the node is not ready")
            node = api.of("nodes", "n1") or {}
            ready = next(c for c in node["status"]["conditions"] if c["type"] == "Ready")
            assert "container runtime is down: the daemon does not answer" in ready["message"]
            assert phase(api, "web") == "Running"
            down = False
            await until(lambda: condition(api, "Ready") == "True", "the node is ready again")
            assert len(_running(runtime)) == 1
            assert container(api, "web")["restartCount"] == 0

    asyncio.run(life())


def test_a_runtime_that_errs_at_random_converges(seed: int) -> None:
    chance = random.Random(seed)
    errs = True

    def refuse(node: str, operation: str) -> RuntimeFault | None:
        wrong = errs and operation not in ("open", "version", "health") and chance.random() < 0.2
        return RuntimeUnavailable(f"{operation} failed by chance") if wrong else None

    async def life() -> None:
        nonlocal errs
        async with one_node(World(refuse=refuse), look_every=(0.05, 0.05)) as (api, runtime, agent):
            agent.context.retry = 0.02
            agent.context.retries.initial = agent.context.pulls.initial = 0.02
            agent.context.retries.longest = agent.context.pulls.longest = 0.05
            for number in range(8):
                api.put("pods", pod(f"p{number}", {"name": "a"}, {"name": "b"}, simulate="stop=10ms"))
            await asyncio.sleep(0.3)
            errs = False
            await until(lambda: all(phase(api, f"p{n}") == "Running" for n in range(8)), "all run", 30)
            assert len(_running(runtime)) == 16
            for number in range(8):
                delete(api, f"p{number}")
            await until(lambda: not api.objects["pods"], "all are gone", 30)
            await until(lambda: not runtime.state.sandboxes, "nothing is left of them")

    asyncio.run(life())


def test_pods_that_went_while_the_agent_was_away_are_wound_up(tmp_path: Path) -> None:
    async def life() -> None:
        world, memory = World(), Checkpoint(tmp_path)
        async with one_node(world, memory=memory) as (api, runtime, _):
            for name in ("stays", "goes"):
                api.put("pods", pod(name))
            await until(lambda: phase(api, "stays") == phase(api, "goes") == "Running", "both run")
        api.drop("pods", "goes", "default")
        async with one_node(world, api=api, memory=Checkpoint(tmp_path)) as (_, runtime, agent):
            await until(lambda: len(runtime.state.sandboxes) == 1, "one is left")
            assert [w.pod["metadata"]["name"] for w in agent.dispatch.workers.values()] == ["stays"]
            assert container(api, "stays")["restartCount"] == 0
            assert len(list((tmp_path / "checkpoint").glob("*.json"))) == 1

    asyncio.run(life())


def test_the_agent_goes_on_from_its_checkpoint_while_no_server_answers(tmp_path: Path) -> None:
    async def life() -> None:
        world = World()
        async with one_node(world, memory=Checkpoint(tmp_path)) as (api, runtime, _):
            api.put("pods", pod("web"))
            await until(lambda: phase(api, "web") == "Running", "it runs")
        api.down = True
        async with one_node(world, api=api, memory=Checkpoint(tmp_path)) as (_, runtime, _):
            (only,) = _running(runtime)
            await runtime.stop_container(only, 0)
            await until(lambda: _running(runtime) not in ([], [only]), "it was restarted")

    asyncio.run(life())


def test_a_pod_the_node_has_no_place_for_fails() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, _):
            api.put("pods", pod("big", {"name": "web", "resources": {"requests": {"cpu": "64"}}}))
            await until(lambda: phase(api, "big") == "Failed", "it is refused")
            assert status(api, "big")["reason"] == "OutOfcpu"
            assert "OutOfcpu" in api.reasons("big")
            assert not runtime.state.sandboxes
            delete(api, "big")
            await until(gone(api, "big"), "it is gone")

    asyncio.run(life())


def test_deletion_waits_for_its_grace_and_may_be_hurried() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, _):
            api.put("pods", pod("slow", simulate="stop=1h"))
            await until(lambda: phase(api, "slow") == "Running", "it runs")
            delete(api, "slow", grace=600)
            await until(lambda: "Killing" in api.reasons("slow"), "it is being ended")
            await asyncio.sleep(0.05)
            assert len(_running(runtime)) == 1
            delete(api, "slow", grace=0)
            await until(gone(api, "slow"), "it is gone")

    asyncio.run(life())


def test_a_forced_deletion_ends_what_runs() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, _):
            api.put("pods", pod("web"))
            await until(lambda: phase(api, "web") == "Running", "it runs")
            api.drop("pods", "web", "default")
            await until(lambda: not runtime.state.sandboxes, "nothing is left")
            api.put("pods", pod("web"))
            await until(lambda: phase(api, "web") == "Running", "another one of the same name runs")

    asyncio.run(life())


def test_probes_make_ready_and_restart() -> None:
    async def life() -> None:
        probe = {"exec": {"command": ["probe"]}, "periodSeconds": 1, "failureThreshold": 1}
        async with one_node() as (api, _, _):
            api.put("pods", pod("late", {"name": "web", "readinessProbe": probe}, simulate="ready-after=300ms"))
            api.put("pods", pod("sick", {"name": "web", "livenessProbe": probe}, simulate="exec-exit=1"))
            await until(lambda: phase(api, "late") == "Running", "it runs")
            assert container(api, "late")["ready"] is False
            await until(lambda: container(api, "late").get("ready"), "it gets ready")
            await until(lambda: container(api, "sick").get("restartCount", 0) >= 1, "it is restarted")
            assert {"Unhealthy", "Killing"} <= set(api.reasons("sick"))
            assert any("failed liveness probe, will be restarted" in e[2] for e in api.events)

    asyncio.run(life())


def test_a_pod_runs_to_its_end_through_init_containers() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, _):
            init = [{"name": "i1", "image": "x", "env": [{"name": "FLUYT_SIMULATE", "value": "run=10ms"}]}]
            main = {"name": "web", "env": [{"name": "FLUYT_SIMULATE", "value": "run=10ms, exit=4"}]}
            api.put("pods", pod("job", main, initContainers=init, restartPolicy="Never"))
            await until(lambda: phase(api, "job") == "Failed", "it has ended")
            assert container(api, "job")["state"]["terminated"]["exitCode"] == 4
            assert status(api, "job")["initContainerStatuses"][0]["ready"] is True
            ready = {c["type"]: c.get("reason") for c in status(api, "job")["conditions"]}
            assert ready["Ready"] == "PodFailed"
            await until(lambda: all(s.stopped for s in runtime.state.sandboxes.values()), "its sandbox is stopped")

    asyncio.run(life())


# ---- static pods ----

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers: [{name: web, image: nginx}]
"""


def test_static_pods_run_show_and_go(tmp_path: Path) -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, agent):
            dispatch = agent.dispatch
            static = StaticPods(tmp_path, "n1", dispatch.desired, dispatch.removed, agent.mirrors.wanted)
            (tmp_path / "web.yaml").write_text(MANIFEST)
            (tmp_path / ".web.swp").write_text("not to be looked at")
            (tmp_path / "bad.yaml").write_text("kind: Pod\nnonsense: [")
            await static.scan()
            mirror = await until(lambda: api.of("pods", "web-n1", "default"), "the mirror is there")
            assert MIRROR in mirror["metadata"]["annotations"]
            assert mirror["metadata"]["ownerReferences"][0]["kind"] == "Node"
            await until(lambda: phase(api, "web-n1") == "Running", "and shows that it runs")
            api.drop("pods", "web-n1", "default")
            await until(lambda: phase(api, "web-n1") == "Running", "the mirror is made again")
            assert len(_running(runtime)) == 1
            (tmp_path / "web.yaml").write_text(MANIFEST + "  terminationGracePeriodSeconds: 1\n")
            first = set(runtime.state.sandboxes)
            await static.scan()
            await until(
                lambda: len(_running(runtime)) == 1 and not first & set(runtime.state.sandboxes), "another runs"
            )
            (tmp_path / "web.yaml").unlink()
            await static.scan()
            await until(lambda: not runtime.state.sandboxes, "it has ended")
            await until(gone(api, "web-n1"), "and so has its mirror")

    asyncio.run(life())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: ConfigMap\napiVersion: v1", "no v1 Pod"),
        ("[]", "cannot unmarshal"),
        (MANIFEST.replace("containers", "conteiners"), "conteiners"),
        (MANIFEST.replace("image: nginx", "tty: true"), "needs a name and an image"),
        ("{", "."),
    ],
)
def test_static_pods_that_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        static_pod(text.encode(), "n1")


# ---- pressure ----


@contextlib.contextmanager
def housekeeping(agent: NodeAgent, root: Path, measure: Callable[[], Pressure]) -> Any:
    facts = NodeFacts(name="n1", ips=(), memory=1, allocatable={}, dns=ClusterDns(), log_root="/logs")

    class Lookup(NoSources):
        async def find(self, resource: str, name: str, namespace: str) -> Object | None:
            return None

    keeper = VolumeKeeper(root, Lookup(), dict, facts)
    yield Housekeeping(agent, keeper, list, lambda path, images: measure())


def test_memory_pressure_evicts_one_pod_at_a_time(tmp_path: Path) -> None:
    async def life() -> None:
        available = 50 << 20
        hard = (Threshold("memory.available", 100 << 20),)
        async with one_node(eviction_hard=hard, pressure_transition=0.0) as (api, _, agent):
            for name, memory in (("small", "1Mi"), ("large", "900Mi")):
                api.put("pods", pod(name, simulate=f"memory={memory}"))
            await until(lambda: phase(api, "small") == phase(api, "large") == "Running", "both run")
            with housekeeping(agent, tmp_path, lambda: Pressure(available, 8 << 30)) as keeper:
                await keeper.look_after_node()
                await until(lambda: phase(api, "large") == "Failed", "the larger one goes")
                assert status(api, "large")["reason"] == "Evicted"
                assert phase(api, "small") == "Running"
                await until(lambda: condition(api, "MemoryPressure") == "True", "the node says so")
                assert {"NodeHasInsufficientMemory", "EvictionThresholdMet"} <= set(api.reasons("n1"))
                api.put("pods", pod("new"))
                await until(lambda: phase(api, "new") == "Failed", "no more of them is taken")
                available = 4 << 30
                await keeper.look_after_node()
                await until(lambda: condition(api, "MemoryPressure") == "False", "the pressure is over")

    asyncio.run(life())


def test_dead_containers_and_leftovers_are_cleaned_up(tmp_path: Path) -> None:
    async def life() -> None:
        async with one_node(dead_containers_each=1, log_root=str(tmp_path / "logs")) as (api, runtime, agent):
            agent.context.restarts.initial = agent.context.restarts.longest = 0.01
            api.put("pods", pod("crash", simulate="run=1ms, exit=1, log=oops"))
            await until(lambda: container(api, "crash").get("restartCount", 0) >= 4, "it crashed some times")
            (tmp_path / "pods/unknown/volumes").mkdir(parents=True)
            with housekeeping(agent, tmp_path, Pressure) as keeper:
                agent.context.restarts.initial = agent.context.restarts.longest = 3600.0
                await until(lambda: not _running(runtime), "it waits")
                await asyncio.sleep(0.05)
                await keeper.clean_containers(age=0.0)
                kept = len(runtime.state.containers)
                assert kept <= 3
                assert len(list((tmp_path / "logs").rglob("*.log"))) == kept
                await keeper.clean_folders()
                assert not (tmp_path / "pods/unknown").exists()
                await keeper.round(0)
                assert agent.images

    asyncio.run(life())


def test_two_agents_of_one_runtime_leave_each_others_pods_alone() -> None:
    async def life() -> None:
        api, world = FakeApi(), World()
        runtime = SimulatedRuntime(world, "shared")
        one = new_agent(api, runtime)
        await one.start()
        api.put("pods", pod("web"))
        await until(lambda: phase(api, "web") == "Running", "it runs")
        other = new_agent(FakeApi(), SimulatedRuntime(world, "shared"), name="n2")
        await other.start()
        await until(lambda: other.heard, "the other node is up")
        await asyncio.sleep(0.05)
        assert len(_running(runtime)) == 1
        await other.stop()
        await one.stop()

    asyncio.run(life())


def test_a_deletion_interrupts_a_start() -> None:
    async def life() -> None:
        async with one_node() as (api, runtime, _):
            api.put("pods", pod("stuck", simulate="start=1h"))
            await until(lambda: "Created" in api.reasons("stuck"), "it is being started")
            delete(api, "stuck")
            await until(gone(api, "stuck"), "it is gone")
            assert not runtime.state.containers

    asyncio.run(life())


def test_calls_that_are_refused_leave_the_node_ready() -> None:
    left = 0

    def refuse(node: str, operation: str) -> RuntimeFault | None:
        nonlocal left
        if operation != "list_sandboxes" or not left:
            return None
        left -= 1
        return RuntimeUnavailable("not now")

    async def life() -> None:
        nonlocal left
        async with one_node(World(refuse=refuse), look_every=(0.05, 0.05)) as (api, _, agent):
            await until(lambda: condition(api, "Ready") == "True", "the node is ready")
            left = 3
            await until(lambda: agent.view.fault, "the fault is seen")
            assert agent.situation().faults == ()
            await until(lambda: not left and not agent.view.fault, "it is over")

    asyncio.run(life())


def test_a_runtime_that_is_away_at_the_start_is_reported() -> None:
    down = True

    def refuse(node: str, operation: str) -> RuntimeFault | None:
        return RuntimeUnavailable("no such socket") if down else None

    async def life() -> None:
        nonlocal down
        async with one_node(World(refuse=refuse), retry=0.05) as (api, _, _):
            await until(lambda: condition(api, "Ready") == "False", "the node is there, and not ready")
            api.put("pods", pod("web"))
            down = False
            await until(lambda: condition(api, "Ready") == "True", "the node is ready")
            await until(lambda: phase(api, "web") == "Running", "and runs its pod")

    asyncio.run(life())


def test_a_runtime_without_a_network_will_do_where_pods_have_the_nodes(tmp_path: Path) -> None:
    class NoNetwork(SimulatedRuntime):
        async def health(self) -> Health:
            return Health(ready=True, network_ready=False, message="cni plugin not initialized")

    async def life(pod_network: bool) -> set[str]:
        agent = new_agent(FakeApi(), NoNetwork(World(), "n1"), pod_network=pod_network)
        await agent.start()
        await agent.looked.wait()
        with housekeeping(agent, tmp_path, Pressure) as keeper:
            await keeper.look_after_node()
        await agent.stop()
        return set(agent.faults)

    assert asyncio.run(life(False)) == set()
    assert asyncio.run(life(True)) == {"network"}


def test_a_start_that_could_not_be_seen_is_not_made_twice() -> None:
    blind = False

    def refuse(node: str, operation: str) -> RuntimeFault | None:
        return RuntimeUnavailable("it cannot be looked at") if blind and operation.startswith("list_") else None

    async def life() -> None:
        nonlocal blind
        async with one_node(World(refuse=refuse), look_every=(0.05, 0.05)) as (api, runtime, agent):
            agent.context.retry = 0.02
            start = runtime.start_container

            async def start_and_blind(container_id: str) -> None:
                nonlocal blind
                await start(container_id)
                blind = True

            runtime.start_container = start_and_blind  # type: ignore[method-assign]
            api.put("pods", pod("web"))
            await until(lambda: blind, "it was started, and cannot be seen")
            await asyncio.sleep(0.2)
            assert len(_running(runtime)) == 1
            blind = False
            await until(lambda: phase(api, "web") == "Running", "it runs")
            await asyncio.sleep(0.1)
            assert len(_running(runtime)) == 1

    asyncio.run(life())


def test_a_runtime_that_is_not_open_yet_is_not_down(tmp_path: Path) -> None:
    """Its folders may not have been made when the agent looks at the node for the first time."""

    class NotThereYet(SimulatedRuntime):
        async def health(self) -> Health:
            return Health(ready=False, reason="RuntimeUnavailable", message="No such file or directory")

    async def life() -> tuple[set[str], set[str]]:
        agent = new_agent(FakeApi(), NotThereYet(World(), "n1"))
        with housekeeping(agent, tmp_path, Pressure) as keeper:
            await keeper.look_after_node()
            before = set(agent.faults)
            await agent.start()
            await agent.looked.wait()
            await keeper.look_after_node()
        await agent.stop()
        return before, set(agent.faults)

    assert asyncio.run(life()) == (set(), {"runtime"})
