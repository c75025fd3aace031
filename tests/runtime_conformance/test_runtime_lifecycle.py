"""Sandboxes and containers: made, started, ended, found again, removed."""

from __future__ import annotations

import asyncio
import time

import pytest

from node_agent.runtime.errors import CannotStart, ImageNotFound, NotFound
from node_agent.runtime.types import ContainerConfig, ContainerState, SandboxState
from runtime_conformance.bench import IMAGE, Bench


def test_it_says_who_it_is(bench: Bench) -> None:
    async def check() -> None:
        version = await bench.runtime.version()
        assert version.runtime
        assert version.version[0].isdigit()
        health = await bench.runtime.health()
        assert health.ready, health

    bench.run(check())


def test_a_sandbox_is_listed_until_it_is_removed(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox(labels={"app": "web"}, annotations={"note": "a, b"}, attempt=3)
        other = await bench.sandbox(labels={"app": "db"})
        found = await bench.runtime.list_sandboxes({"app": "web"})
        assert [each.id for each in found] == [sandbox]
        assert await bench.listed() == [sandbox, other]
        status = await bench.runtime.sandbox_status(sandbox)
        assert (status.name, status.attempt, status.state) == (found[0].name, 3, SandboxState.READY)
        assert status.labels == {"app": "web"}
        assert status.annotations == {"note": "a, b"}
        assert abs(status.created_at - time.time()) < 60
        assert status.ips == ()
        await bench.runtime.stop_sandbox(sandbox)
        await bench.runtime.stop_sandbox(sandbox)
        assert (await bench.runtime.sandbox_status(sandbox)).state is SandboxState.NOT_READY
        await bench.runtime.remove_sandbox(sandbox)
        await bench.runtime.remove_sandbox(sandbox)
        assert await bench.listed() == [other]
        with pytest.raises(NotFound):
            await bench.runtime.sandbox_status(sandbox)

    bench.run(check())


def test_a_container_is_created_runs_and_ends(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox()
        began = time.time()
        container = await bench.container(
            sandbox, "sh", "-c", "sleep 0.3; exit 3", start=False, attempt=2, labels={"a": "1"}, annotations={"b": "2"}
        )
        status = await bench.runtime.container_status(container)
        assert status.state is ContainerState.CREATED
        assert (status.container.name, status.container.attempt, status.container.image) == ("main", 2, IMAGE)
        assert (status.container.labels, status.container.annotations) == ({"a": "1"}, {"b": "2"})
        assert status.container.sandbox_id == sandbox
        image = await bench.runtime.image_status(IMAGE)
        assert image is not None
        assert status.container.image_id == image.id
        await bench.runtime.start_container(container)
        assert (await bench.runtime.container_status(container)).state is ContainerState.RUNNING
        ended = await bench.ended(container)
        assert (ended.exit_code, ended.reason) == (3, "Error")
        assert began - 1 <= ended.started_at <= ended.finished_at <= time.time() + 1
        assert ended.finished_at - ended.started_at >= 0.25
        assert [each.id for each in await bench.runtime.list_containers(sandbox, {"a": "1"})] == [container]
        assert await bench.runtime.list_containers(sandbox, {"a": "2"}) == []
        with pytest.raises(CannotStart):
            await bench.runtime.start_container(container)
        await bench.runtime.remove_container(container)
        await bench.runtime.remove_container(container)
        assert await bench.runtime.list_containers(sandbox) == []
        with pytest.raises(NotFound):
            await bench.runtime.container_status(container)

    bench.run(check())


def test_success_is_completed(bench: Bench) -> None:
    async def check() -> None:
        status = await bench.ended(await bench.container(await bench.sandbox(), "true"))
        assert (status.exit_code, status.reason) == (0, "Completed")

    bench.run(check())


def test_what_is_not_there(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox()
        for gone in ("0" * 64, "nonsense"):
            await bench.runtime.stop_container(gone, 1)
            await bench.runtime.remove_container(gone)
            await bench.runtime.stop_sandbox(gone)
            await bench.runtime.remove_sandbox(gone)
            with pytest.raises(NotFound):
                await bench.runtime.start_container(gone)
            with pytest.raises(NotFound):
                await bench.runtime.exec_sync(gone, ["true"])
            with pytest.raises(NotFound):
                await bench.runtime.create_container(gone, ContainerConfig("a", IMAGE))
        with pytest.raises(ImageNotFound):
            await bench.runtime.create_container(sandbox, ContainerConfig("a", "fluyt.test/none:1"))

    bench.run(check())


def test_a_program_that_is_not_there_cannot_start(real: Bench) -> None:
    async def check() -> None:
        container = await real.container(await real.sandbox(), "/bin/nothing", start=False)
        with pytest.raises(CannotStart, match=r"no such file|not found"):
            await real.runtime.start_container(container)
        status = await real.runtime.container_status(container)
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 128, "StartError")
        assert "nothing" in status.message

    real.run(check())


def test_stop_asks_first(real: Bench) -> None:
    """SIGTERM, which the program hears; then SIGKILL, which it does not."""

    async def check() -> None:
        polite, stubborn = await asyncio.gather(real.sandbox(), real.sandbox())
        hears = await real.container(polite, "sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done")
        deaf = await real.container(stubborn, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done")
        for container in (hears, deaf):
            await real.log((await real.runtime.container_status(container)).log_path, 1)
        began = time.monotonic()
        await real.runtime.stop_container(hears, 20)
        assert time.monotonic() - began < 10
        assert (await real.runtime.container_status(hears)).exit_code == 7
        long = asyncio.create_task(real.runtime.stop_container(deaf, 60))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await real.runtime.stop_container(deaf, 1)
        assert time.monotonic() - began < 10
        status = await real.runtime.container_status(deaf)
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 137, "Error")
        await asyncio.wait_for(long, 5)
        await real.runtime.stop_container(deaf, 1)

    real.run(check())


def test_containers_outlive_the_agent(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox(annotations={"fluyt.dev/simulate.brief": "run=300ms, exit=4"}, hostname="keep")
        stays = await bench.container(sandbox, "sleep", "1000", name="stays")
        brief = await bench.container(sandbox, "sh", "-c", "sleep 0.3; exit 4", name="brief", log_path="brief/0.log")
        before = await bench.runtime.container_status(stays)
        await bench.reopen()
        after = await bench.runtime.container_status(stays)
        assert (after.id, after.state, after.started_at) == (before.id, ContainerState.RUNNING, before.started_at)
        assert after.log_path == before.log_path
        assert (await bench.ended(brief)).exit_code == 4
        assert await bench.listed() == [sandbox]
        assert {each.id for each in await bench.runtime.container_statuses()} == {stays, brief}
        more = await bench.container(sandbox, "true", name="more", log_path="more/0.log")
        assert (await bench.ended(more)).exit_code == 0
        await bench.runtime.stop_container(stays, 0)
        assert (await bench.runtime.container_status(stays)).state is ContainerState.EXITED

    bench.run(check())


def test_stopping_a_sandbox_ends_its_containers(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox()
        container = await bench.container(sandbox, "sleep", "1000")
        await bench.runtime.stop_sandbox(sandbox)
        assert (await bench.ended(container)).exit_code == 137
        await bench.runtime.remove_sandbox(sandbox)
        assert container not in {each.id for each in await bench.runtime.list_containers()}

    bench.run(check())
