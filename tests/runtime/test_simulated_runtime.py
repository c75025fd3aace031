"""Fake nodes: what they do follows from the clock, the seed and what was asked for, and nothing from chance."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Coroutine
from typing import Any

import pytest

from node_agent.runtime.errors import CannotCreate, CannotStart, RuntimeFault, RuntimeUnavailable
from node_agent.runtime.simulated import ANNOTATION, SimulatedRuntime, World
from node_agent.runtime.simulated.behaviour import behaviour_of, by_command
from node_agent.runtime.types import ContainerConfig, ContainerState, SandboxConfig


class ManualClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.slept = 0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.slept += 1
        until: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self.sleepers, (self.time + seconds, self.slept, until))
        await until

    async def advance(self, seconds: float) -> None:
        end = self.time + seconds
        await settle()
        while self.sleepers and self.sleepers[0][0] <= end:
            self.time, _, until = heapq.heappop(self.sleepers)
            if not until.done():
                until.set_result(None)
            await settle()
        self.time = end
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def node(world: World, name: str = "n1") -> SimulatedRuntime:
    return SimulatedRuntime(world, name)


async def pod(runtime: SimulatedRuntime, says: str, **settings: Any) -> str:
    """A container that does as it is told: its id, not started yet."""
    sandbox = await runtime.run_sandbox(
        SandboxConfig("p", "ns", "u", annotations={ANNOTATION: says}, host_network=False)
    )
    await runtime.pull_image("web")
    return await runtime.create_container(sandbox, ContainerConfig("main", "web", **settings))


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def test_words() -> None:
    made = behaviour_of({ANNOTATION: "start=2s, run=1m30s, exit=3", f"{ANNOTATION}.b": "exit=4"}, "b", (), ())
    assert (made.start, made.run, made.exit) == (2.0, 90.0, 4)
    assert behaviour_of({}, "a", (("FLUYT_SIMULATE", "cpu=250m,memory=64Mi"),), ()).memory == 64 * 2**20
    for wrong in ("nonsense", "start", "start=fast", "exit=one", "memory=lots"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            behaviour_of({ANNOTATION: wrong}, "a", (), ())


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["sleep", "5"], {"run": 5.0, "exit": 0}),
        (["sleep", "infinity"], {"run": math.inf, "exit": 0}),
        (["sh", "-c", "echo hi there; sleep 1; exit 3; echo no"], {"run": 1.0, "exit": 3, "log": "hi there"}),
        (["/bin/false"], {"run": 0.0, "exit": 1}),
        (["nginx", "-g", "daemon off;"], {}),
        (["sh", "-c", "echo up; exec nginx"], {"log": "up"}),
        (["sh", "-c", "'unbalanced"], {}),
        ([], {}),
    ],
)
def test_well_known_commands(command: list[str], expected: dict[str, Any]) -> None:
    assert by_command(command) == expected


def test_start_run_and_end_follow_the_clock() -> None:
    async def check() -> None:
        clock = ManualClock()
        runtime = node(World(clock))
        container = await pod(runtime, "start=5s, run=10s, exit=2, reason=OOMKilled")
        starting = asyncio.create_task(runtime.start_container(container))
        await clock.advance(4)
        assert (await runtime.container_status(container)).state is ContainerState.CREATED
        await clock.advance(1)
        await starting
        status = await runtime.container_status(container)
        assert (status.state, status.started_at) == (ContainerState.RUNNING, 1005.0)
        await clock.advance(9.9)
        assert (await runtime.container_status(container)).state is ContainerState.RUNNING
        await clock.advance(1)
        status = await runtime.container_status(container)
        assert (status.exit_code, status.reason, status.finished_at) == (2, "OOMKilled", 1015.0)

    run(check())


def test_only_the_first_attempts_fail() -> None:
    async def check() -> None:
        clock = ManualClock()
        runtime = node(World(clock))
        states = []
        for attempt in range(4):
            container = await pod(runtime, "run=1s, exit=1, fail-times=2", attempt=attempt)
            await runtime.start_container(container)
            await clock.advance(5)
            states.append((await runtime.container_status(container)).state)
        assert states == [ContainerState.EXITED] * 2 + [ContainerState.RUNNING] * 2

    run(check())


def test_a_stop_that_takes_too_long_is_a_kill() -> None:
    async def check() -> None:
        clock = ManualClock()
        runtime = node(World(clock))
        quick, slow = [await pod(runtime, f"stop={seconds}s, stop-exit=0") for seconds in (3, 60)]
        for container in (quick, slow):
            await runtime.start_container(container)
        stops = [asyncio.create_task(runtime.stop_container(each, 30)) for each in (quick, slow)]
        await clock.advance(3)
        assert [stop.done() for stop in stops] == [True, False]
        await clock.advance(27)
        assert [stop.done() for stop in stops] == [True, True]
        codes = [(await runtime.container_status(each)).exit_code for each in (quick, slow)]
        assert codes == [0, 137]

    run(check())


def test_probes_fail_until_it_is_ready() -> None:
    async def check() -> None:
        clock = ManualClock()
        runtime = node(World(clock))
        container = await pod(runtime, "ready-after=10s")
        await runtime.start_container(container)
        assert (await runtime.exec_sync(container, ["cat", "/ready"])).exit_code == 1
        await clock.advance(10)
        assert (await runtime.exec_sync(container, ["cat", "/ready"])).exit_code == 0

    run(check())


def test_what_was_meant_to_fail_does() -> None:
    async def check() -> None:
        runtime = node(World(ManualClock()))
        container = await pod(runtime, "start-error=no such device")
        with pytest.raises(CannotStart, match="no such device"):
            await runtime.start_container(container)
        assert (await runtime.container_status(container)).reason == "StartError"
        with pytest.raises(CannotCreate, match="no address"):
            await pod(runtime, "sandbox-error=no address left")
        with pytest.raises(CannotCreate, match="unknown word"):
            await pod(runtime, "strat=1s")

    run(check())


def test_the_same_seed_does_the_same() -> None:
    async def story(seed: int) -> list[object]:
        clock = ManualClock()
        runtime = node(World(clock, seed))
        seen: list[object] = []
        for _ in range(20):
            container = await pod(runtime, "run=10s, jitter=0.5")
            await runtime.start_container(container)
            seen.append(container)
        await clock.advance(60)
        seen += [status.finished_at for status in await runtime.container_statuses()]
        seen += [each.ips for each in await runtime.list_sandboxes()]
        return seen

    assert asyncio.run(story(1)) == asyncio.run(story(1))
    assert asyncio.run(story(1)) != asyncio.run(story(2))


def test_thousands_that_run_cost_no_task_and_no_timer() -> None:
    async def check() -> None:
        clock = ManualClock()
        world = World(clock)
        nodes = [node(world, f"n{number}") for number in range(100)]
        tasks = len(asyncio.all_tasks())
        for runtime in nodes:
            for _ in range(20):
                await runtime.start_container(await pod(runtime, ""))
        assert len(asyncio.all_tasks()) == tasks
        assert clock.slept == 0
        addresses = [each.ips for runtime in nodes for each in await runtime.list_sandboxes()]
        assert len(set(addresses)) == 2000
        for runtime in nodes:
            await runtime.start_container(await pod(runtime, "run=5s"))
        await settle()
        assert len(asyncio.all_tasks()) == tasks + 1
        await clock.advance(5)
        assert len(asyncio.all_tasks()) == tasks
        ended = [s for runtime in nodes for s in await runtime.container_statuses() if s.state is ContainerState.EXITED]
        assert len(ended) == 100

    run(check())


def test_the_load_of_a_running_pod_can_be_changed() -> None:
    async def check() -> None:
        clock = ManualClock()
        runtime = node(World(clock))
        container = await pod(runtime, "cpu=100m, memory=8Mi")
        await runtime.start_container(container)
        await clock.advance(10)
        runtime.set_load("u", {ANNOTATION: "cpu=2, memory=64Mi, exit=3"})
        runtime.set_load("somebody else", {ANNOTATION: "cpu=7"})
        (now,) = await runtime.stats()
        assert (now.cpu_nanoseconds, now.memory_working_set) == (10**9, 64 * 2**20)
        await clock.advance(10)
        runtime.set_load("u", {})
        (now,) = await runtime.stats()
        assert (now.cpu_nanoseconds, now.memory_working_set) == (21 * 10**9, 2**20)
        with pytest.raises(ValueError, match="unknown word 'load=1'"):
            runtime.set_load("u", {ANNOTATION: "load=1"})
        await clock.advance(1000)
        (now,) = await runtime.stats()
        assert now.cpu_nanoseconds == 22 * 10**9

    run(check())


def test_a_fraction_of_the_operations_fails_the_same_with_the_same_seed() -> None:
    async def failed(seed: int, rate: float) -> list[bool]:
        world = World(ManualClock(), seed)
        world.err(rate)
        runtime, found = node(world), []
        await runtime.open()
        assert (await runtime.health()).ready
        for _ in range(400):
            try:
                await runtime.stats()
                found.append(False)
            except RuntimeUnavailable:
                found.append(True)
        return found

    async def check() -> None:
        once = await failed(1, 0.25)
        assert 60 < sum(once) < 140
        assert await failed(1, 0.25) == once
        assert await failed(2, 0.25) != once
        assert sum(await failed(1, 0.0)) == 0

    run(check())


def test_a_world_that_errs() -> None:
    async def check() -> None:
        faults: list[RuntimeFault] = [RuntimeUnavailable("down")]

        def refuse(name: str, operation: str) -> RuntimeFault | None:
            return faults[0] if faults and (name, operation) in (("n1", "list_images"), ("n1", "health")) else None

        world = World(ManualClock(), refuse=refuse)
        with pytest.raises(RuntimeUnavailable):
            await node(world).list_images()
        assert not (await node(world).health()).ready
        assert await node(world, "n2").list_images() == []
        faults.clear()
        assert (await node(world).health()).ready

    run(check())
