"""The process runtime after an agent that was killed half-way, and under calls that are broken off."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.require import missing
from process_runtimes import opened, unreadable
from runtime_conformance.bench import until

from node_agent.runtime.errors import CannotStart, NotRunning, RuntimeUnavailable
from node_agent.runtime.process import container_calls, namespaces, pid_holder, shim_link
from node_agent.runtime.process import node as process_node
from node_agent.runtime.process.cgroups import Layout
from node_agent.runtime.process.runtime import ProcessRuntime
from node_agent.runtime.types import ContainerConfig, ContainerState, SandboxConfig

PACKAGES = str(Path(process_node.__file__).parents[3])

KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from node_agent.runtime.process.runtime import ProcessRuntime
from node_agent.runtime.types import SandboxConfig

async def main(root, processes):
    runtime = ProcessRuntime(root)
    await runtime.open()
    runtime._write_files = lambda record: os.kill(os.getpid(), signal.SIGKILL)
    await runtime.run_sandbox(SandboxConfig("p", "ns", "u", host_network=False, share_process_namespace=processes))

asyncio.run(main(Path(sys.argv[1]), sys.argv[2] == "processes"))
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, because it is a runtime's."""
    made = Path(tempfile.mkdtemp(prefix="fluyt-p-"))
    yield made
    for path in mounted(made):
        subprocess.run(["umount", path], check=False)
    shutil.rmtree(made, ignore_errors=True)


def mounted(folder: Path) -> list[str]:
    paths = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return [path for path in paths if path.startswith(f"{folder}/")]


def process_gone(pid: int) -> bool:
    try:
        return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


async def to_be_gone(pid: int) -> None:
    async def look() -> bool | None:
        return True if process_gone(pid) else None

    await until(look)


async def created(runtime: ProcessRuntime, *command: str) -> tuple[str, str]:
    """A sandbox, and a container in it that was not started yet."""
    sandbox = await runtime.run_sandbox(SandboxConfig("p", "ns", "u", host_network=True))
    return sandbox, await runtime.create_container(sandbox, ContainerConfig("main", "host", command=command))


def state(runtime: ProcessRuntime, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((runtime.root / "containers" / container / "state.json").read_text())
    return found


def need_root() -> None:
    if os.geteuid() != 0:
        missing("namespaces of the machine need root")


# an agent that was killed


@pytest.mark.parametrize("shared", ["network", "processes"])
def test_an_agent_that_is_killed_while_it_makes_a_sandbox_starts_again(folder: Path, shared: str) -> None:
    """The namespaces' mounts kept the half-made folder from being removed, and that the runtime from being opened."""
    need_root()
    command = [sys.executable, "-c", KILLED, str(folder / "runtime"), shared]
    done = subprocess.run(command, check=False, timeout=60, env={**os.environ, "PYTHONPATH": PACKAGES})
    assert done.returncode == -signal.SIGKILL
    assert mounted(folder), "it had come so far"
    states = list((folder / "runtime" / "sandboxes").glob("*/init/state.json"))
    holders = [json.loads(path.read_text())["pid"] for path in states]
    assert len(holders) == (shared == "processes")

    async def check() -> None:
        async with opened(folder) as runtime:
            assert await runtime.list_sandboxes() == []
            for holder in holders:
                await to_be_gone(holder)

    asyncio.run(check())
    assert mounted(folder) == []
    assert [path.name for part in ("sandboxes", "trash") for path in (folder / "runtime" / part).iterdir()] == []


def test_what_hangs_in_the_trash_is_let_go(folder: Path) -> None:
    """An agent of before left it so; and one that is killed between the rename and the removal does."""
    need_root()
    trash = folder / "runtime" / "trash" / "old-1"
    (trash / "ns").mkdir(parents=True)

    async def check() -> None:
        await namespaces.make_in_thread(str(trash / "ns"), {"kinds": ["uts"], "hostname": "h", "sysctls": {}})
        assert mounted(folder)
        async with opened(folder):
            assert not trash.exists()

    asyncio.run(check())


def test_what_cannot_be_removed_is_told_and_keeps_nobody_from_starting(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("sandboxes/half", "containers/half", "trash/old"):
        (folder / "runtime" / name).mkdir(parents=True)

    def busy(path: str) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", path)

    monkeypatch.setattr(process_node, "remove_tree", busy)

    async def check() -> None:
        async with opened(folder) as runtime:
            assert await runtime.list_sandboxes() == []

    asyncio.run(check())
    assert caplog.text.count("Device or resource busy") >= 3


@pytest.mark.parametrize("problem", [errno.EMFILE, errno.EIO])
def test_a_record_that_cannot_be_read_now_is_not_a_half_made_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch, problem: int
) -> None:
    """The folder of a container that ran was thrown away."""
    real = process_node.load_container

    def out_of_descriptors(path: Path) -> Any:
        raise OSError(problem, os.strerror(problem), str(path))

    async def check() -> None:
        async with opened(folder) as runtime:
            sandbox, container = await created(runtime, "sleep", "1000")
            await runtime.start_container(container)
            await runtime.close()
            monkeypatch.setattr(process_node, "load_container", out_of_descriptors)
            later = ProcessRuntime(runtime.root)
            with pytest.raises(RuntimeUnavailable, match=os.strerror(problem)):
                await later.open()
            await later.close()
            monkeypatch.setattr(process_node, "load_container", real)
            await runtime.open()
            assert (await runtime.container_status(container)).state is ContainerState.RUNNING
            assert (runtime.root / "containers" / container).is_dir()
            await runtime.remove_sandbox(sandbox)

    asyncio.run(check())


@pytest.mark.parametrize("problem", [errno.EMFILE, errno.EIO, errno.EACCES])
def test_a_state_that_cannot_be_read_now_is_not_that_of_a_new_container(folder: Path, problem: int) -> None:
    """One that ran counted as never started: the agent that came next wrote that down, and forgot about it."""

    async def check() -> None:
        async with opened(folder) as runtime:
            _, container = await created(runtime, "sleep", "1000")
            await runtime.start_container(container)
            written = state(runtime, container)
            await runtime.close()
            later = ProcessRuntime(runtime.root)
            with unreadable("state.json", problem), pytest.raises(RuntimeUnavailable, match=os.strerror(problem)):
                await later.open()
            await later.close()
            await runtime.open()
            # As who came while it was being started knows it.
            runtime.container(container).state = {}
            with unreadable("state.json", problem):
                for call in (runtime.stop_container(container, 0.0), runtime.start_container(container)):
                    with pytest.raises(RuntimeUnavailable, match=os.strerror(problem)):
                        await call
            assert state(runtime, container) == written
            await runtime.stop_container(container, 0.0)
            assert await ended(runtime, container) == (137, "Error")

    asyncio.run(check())


def test_an_end_that_cannot_be_read_now_is_read_later(folder: Path) -> None:
    """What the shim had written of it was overwritten: nobody knew how the container had ended."""

    async def check() -> None:
        async with opened(folder) as runtime:
            _, container = await created(runtime, "sleep", "1000")
            await runtime.start_container(container)
            with unreadable("state.json", errno.EIO, times=2):
                os.kill((await runtime.container_status(container)).pid, signal.SIGKILL)
                assert await ended(runtime, container) == (137, "Error")

    asyncio.run(check())


# shims that cannot be reached


@pytest.mark.parametrize("problem", [errno.ENOENT, errno.EMFILE, errno.EACCES])
def test_only_a_shim_that_is_not_there_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch, problem: int) -> None:
    def refused(*args: Any, **settings: Any) -> int:
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(shim_link.os, "open", refused)
    gone = NotRunning if problem == errno.ENOENT else RuntimeUnavailable
    with pytest.raises(gone):
        asyncio.run(shim_link.ShimLink.open(folder))


@pytest.mark.parametrize("problem", [errno.ENOENT, errno.ECONNREFUSED, errno.EMFILE, errno.EAGAIN])
def test_only_a_shim_that_does_not_listen_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch, problem: int) -> None:
    async def refused(*args: Any, **settings: Any) -> Any:
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(shim_link.asyncio, "open_unix_connection", refused)
    gone = NotRunning if problem in (errno.ENOENT, errno.ECONNREFUSED) else RuntimeUnavailable
    with pytest.raises(gone):
        asyncio.run(shim_link.ShimLink.open(folder))


def test_an_agent_short_of_descriptors_takes_its_containers_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One EMFILE, and a healthy container was Exited (137), its successor started beside it."""
    real, left = os.open, [3]

    def opening(path: Any, *args: Any, **settings: Any) -> int:
        if left[0] and "/containers/" in str(path) and args[0] & os.O_PATH:
            left[0] -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *args, **settings)

    async def check() -> None:
        async with opened(folder) as runtime:
            _, container = await created(runtime, "sleep", "1000")
            await runtime.start_container(container)
            pid = state(runtime, container)["pid"]
            await runtime.close()
            monkeypatch.setattr(shim_link.os, "open", opening)
            await runtime.open()

            async def looked() -> bool | None:
                return None if left[0] else True

            await until(looked)
            await asyncio.sleep(0.3)
            assert (await runtime.container_status(container)).state is ContainerState.RUNNING
            assert not process_gone(pid)
            os.kill(pid, signal.SIGKILL)
            assert await ended(runtime, container) == (137, "Error"), "it is watched"

    asyncio.run(check())


async def ended(runtime: ProcessRuntime, container: str) -> tuple[int, str]:
    async def look() -> tuple[int, str] | None:
        status = await runtime.container_status(container)
        return (status.exit_code, status.reason) if status.state is ContainerState.EXITED else None

    return await until(look)


def test_a_connection_that_breaks_is_not_the_containers_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim with too many connections closes the next one at once."""
    real, left = shim_link.ShimLink.receive, [2]

    async def closed(link: shim_link.ShimLink) -> tuple[bytes, bytes] | None:
        if left[0]:
            left[0] -= 1
            return None
        return await real(link)

    async def check() -> None:
        async with opened(folder) as runtime:
            _, container = await created(runtime, "sleep", "1000")
            monkeypatch.setattr(shim_link.ShimLink, "receive", closed)
            await runtime.start_container(container)

            async def looked() -> bool | None:
                return None if left[0] else True

            await until(looked)
            await asyncio.sleep(0.3)
            assert (await runtime.container_status(container)).state is ContainerState.RUNNING

    asyncio.run(check())


# calls that are broken off


async def broken_off(work: Awaitable[Any], begun: asyncio.Event) -> None:
    task = asyncio.ensure_future(work)
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def no_cgroups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which a leftover process is found by nobody."""
    monkeypatch.setattr(process_node, "find_layout", lambda text: Layout(lacks=("none",)))


def telling(real: Callable[..., Awaitable[Any]], begun: asyncio.Event) -> Callable[..., Awaitable[Any]]:
    async def call(*args: Any, **settings: Any) -> Any:
        begun.set()
        return await real(*args, **settings)

    return call


@pytest.mark.usefixtures("no_cgroups")
def test_a_pod_that_is_deleted_while_its_container_starts_leaves_no_process(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim started on by itself, while the agent believed that nothing had been started."""

    async def check() -> None:
        async with opened(folder) as runtime:
            sandbox, container = await created(runtime, "sleep", "1000")
            begun = asyncio.Event()
            monkeypatch.setattr(container_calls, "start_shim", telling(shim_link.start_shim, begun))
            await broken_off(runtime.start_container(container), begun)
            assert (await runtime.container_status(container)).state is ContainerState.RUNNING
            pid = state(runtime, container)["pid"]
            await runtime.remove_sandbox(sandbox)
            await to_be_gone(pid)

    asyncio.run(check())


@pytest.mark.usefixtures("no_cgroups")
def test_a_start_that_fails_after_it_was_broken_off_is_known(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def check() -> None:
        async with opened(folder) as runtime:
            _, container = await created(runtime, "/no/such/program")
            begun = asyncio.Event()
            monkeypatch.setattr(container_calls, "start_shim", telling(shim_link.start_shim, begun))
            await broken_off(runtime.start_container(container), begun)
            status = await runtime.container_status(container)
            assert (status.state, status.reason) == (ContainerState.EXITED, "StartError")

    asyncio.run(check())


@pytest.mark.usefixtures("no_cgroups")
@pytest.mark.parametrize("how", ["stop", "start"])
def test_a_container_that_came_up_after_its_agent_had_ended_is_known(folder: Path, how: str) -> None:
    """The next agent read "created" before the shim had written that it runs."""

    async def check() -> None:
        async with opened(folder) as runtime:
            sandbox, container = await created(runtime, "sleep", "1000")
            await shim_link.start_shim(runtime.root / "containers" / container)
            pid = state(runtime, container)["pid"]
            if how == "start":
                with pytest.raises(CannotStart, match="before"):
                    await runtime.start_container(container)
                assert state(runtime, container)["pid"] == pid
            await runtime.remove_sandbox(sandbox)
            await to_be_gone(pid)

    asyncio.run(check())


def test_a_removal_that_is_broken_off_can_be_done_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waited for the end of a container that had never been started."""
    monkeypatch.setattr(container_calls, "_KILL_SECONDS", 0.5)
    real = container_calls.ContainerRecord.write_state

    async def check() -> None:
        async with opened(folder) as runtime:
            sandbox, container = await created(runtime, "sleep", "1000")
            begun, loop = asyncio.Event(), asyncio.get_running_loop()

            def writing(record: Any, **changes: Any) -> None:
                loop.call_soon_threadsafe(begun.set)
                time.sleep(0.1)  # longer than it takes to be broken off
                real(record, **changes)

            monkeypatch.setattr(container_calls.ContainerRecord, "write_state", writing)
            await broken_off(runtime.remove_container(container), begun)
            await asyncio.sleep(0.2)
            await runtime.remove_sandbox(sandbox)
            assert await runtime.list_containers() == []

    asyncio.run(check())


def test_a_sandbox_that_is_broken_off_leaves_no_holder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told to end before it listened."""
    need_root()
    real, pids = pid_holder.let_go, []

    async def noting(sandbox: Path) -> None:
        await real(sandbox)
        await asyncio.sleep(0.5)
        pids.append(json.loads((sandbox / "init" / "state.json").read_text())["pid"])

    async def check() -> None:
        async with opened(folder) as runtime:
            begun = asyncio.Event()
            monkeypatch.setattr(pid_holder, "start_shim", telling(shim_link.start_shim, begun))
            monkeypatch.setattr(pid_holder, "let_go", noting)
            config = SandboxConfig("p", "ns", "u", host_network=True, share_process_namespace=True)
            await broken_off(runtime.run_sandbox(config), begun)
            assert len(pids) == 1
            await to_be_gone(pids[0])

    try:
        asyncio.run(check())
    finally:
        for pid in pids:
            if not process_gone(pid):
                os.kill(pid, signal.SIGKILL)
    assert mounted(folder) == []


def test_namespaces_that_are_broken_off_are_made_before_they_are_released(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread mounted on, below a folder that was being removed."""
    need_root()
    real, request = namespaces.make, {"kinds": ["uts"], "hostname": "h", "sysctls": {}}

    async def check() -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()

        def making(*args: Any) -> None:
            loop.call_soon_threadsafe(begun.set)
            time.sleep(0.2)  # longer than it takes to be broken off
            real(*args)

        monkeypatch.setattr(namespaces, "make", making)
        await broken_off(namespaces.make_in_thread(str(folder), request), begun)
        namespaces.release(str(folder))
        await asyncio.sleep(0.4)

    asyncio.run(check())
    assert mounted(folder) == []
