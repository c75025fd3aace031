"""What is the process runtime's own: the machine's files as an image, shims, networks, less able machines."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.require import missing
from process_runtimes import opened
from runtime_conformance.bench import read_log, until
from runtime_conformance.image_tar import BUSYBOX, busybox

import node_agent
from node_agent.runtime.errors import CannotStart, ImageNotFound, RuntimeUnavailable
from node_agent.runtime.process import cgroups as process_cgroups
from node_agent.runtime.process import node as process_node
from node_agent.runtime.process.runtime import ProcessRuntime
from node_agent.runtime.types import ContainerConfig, ContainerState, ContainerStatus, Mount, SandboxConfig

IMAGE = "fluyt.test/busybox:1"


@pytest.fixture
def folder() -> Any:
    """Short, because it is a runtime's; readable for the unprivileged, because one test has no root."""
    made = Path(tempfile.mkdtemp(prefix="fluyt-p-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


async def start(runtime: ProcessRuntime, *command: str, sandbox: str = "", **settings: Any) -> str:
    folder = runtime.root.parent / "logs"
    sandbox = sandbox or await runtime.run_sandbox(SandboxConfig("p", "ns", "u", log_directory=str(folder)))
    config = ContainerConfig(**{"name": "main", "image": "host", "command": command, "log_path": "0.log", **settings})
    container = await runtime.create_container(sandbox, config)
    await runtime.start_container(container)
    return container


async def ended(runtime: ProcessRuntime, container: str) -> ContainerStatus:
    async def look() -> ContainerStatus | None:
        status = await runtime.container_status(container)
        return status if status.state is ContainerState.EXITED else None

    return await until(look)


def text(folder: Path) -> str:
    return "".join(f"{row[2]}\n" for row in read_log(folder / "logs" / "0.log"))


def need_root() -> None:
    if os.geteuid() != 0:
        missing("namespaces of the machine need root")


def test_the_machines_own_files_are_an_image_that_stays_as_it_is(folder: Path) -> None:
    need_root()

    async def check() -> None:
        async with opened(folder) as runtime:
            volume = folder / "volume"
            volume.mkdir()
            script = f"echo seen > {folder}/written; cat {folder}/written; echo kept > /no/such/point/f"
            container = await start(runtime, "sh", "-c", script, mounts=(Mount(str(volume), "/no/such/point"),))
            assert (await ended(runtime, container)).exit_code == 0
            assert text(folder) == "seen\n"
            assert not (folder / "written").exists()
            assert (volume / "f").read_text() == "kept\n"
            assert not Path("/no/such").exists()
            with pytest.raises(ImageNotFound):
                await start(runtime, "true", image=f"host:{folder}/missing")

    asyncio.run(check())


def test_a_shim_that_is_killed_takes_its_container_along(folder: Path) -> None:
    async def check() -> None:
        async with opened(folder) as runtime:
            container = await start(runtime, "sleep", "1000")
            state = json.loads((runtime.root / "containers" / container / "state.json").read_text())
            os.kill(state["shim"], signal.SIGKILL)
            status = await ended(runtime, container)
            assert (status.exit_code, status.reason) == (137, "ContainerStatusUnknown")

            async def gone() -> bool | None:
                return True if process_gone(state["pid"]) else None

            await until(gone)

    asyncio.run(check())


def process_gone(pid: int) -> bool:
    try:
        return b") Z " in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True


def test_one_agent_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_node, "_LOCK_SECONDS", 0.1)

    async def check() -> None:
        async with opened(folder):
            with pytest.raises(RuntimeUnavailable, match="another agent"):
                await ProcessRuntime(folder / "runtime").open()

    asyncio.run(check())


def test_a_cgroup_that_does_not_go_at_once_goes_with_the_next_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_cgroups, "_PATIENCE", 0.0)
    groups = process_cgroups.Cgroups(process_cgroups.Layout(v1={"pids": folder / "pids"}))
    busy = folder / "pids" / "busy"
    busy.mkdir(parents=True)
    # As a process that has not ended yet does, a file keeps the folder from being removed.
    (busy / "file").touch()
    groups.remove("busy")
    assert busy.exists()
    (busy / "file").unlink()
    groups.remove("other")
    assert not busy.exists()


def test_a_machine_that_was_restarted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its namespaces and processes are gone, whatever the files say."""

    async def check() -> None:
        runtime = ProcessRuntime(folder / "runtime")
        await runtime.open()
        container = await start(runtime, "sleep", "1000")
        (sandbox,) = await runtime.list_sandboxes()
        path = runtime.root / "containers" / container / "state.json"
        state = json.loads(path.read_text())
        await runtime.close()
        os.kill(state["shim"], signal.SIGKILL)
        await until(lambda: _true_when(lambda: process_gone(state["pid"])))
        monkeypatch.setattr(process_node, "boot_id", lambda: "another")
        async with opened(folder) as later:
            assert (await later.sandbox_status(sandbox.id)).state == "NotReady"
            assert (await ended(later, container)).reason == "ContainerStatusUnknown"

    asyncio.run(check())


async def _true_when(condition: Callable[[], bool]) -> bool | None:
    return True if condition() else None


def test_half_made_folders_are_cleared_away(folder: Path) -> None:
    async def check() -> None:
        for name in ("containers/half", "sandboxes/half", "trash/old"):
            (folder / "runtime" / name).mkdir(parents=True)
            (folder / "runtime" / name / "f").write_text("x")
        async with opened(folder) as runtime:
            assert await runtime.list_containers() == []
            assert await runtime.list_sandboxes() == []
        left = [path.name for part in ("containers", "sandboxes") for path in (folder / "runtime" / part).iterdir()]
        assert left == []

    asyncio.run(check())


class Addresses:
    """A network that notes what it is asked."""

    def __init__(self) -> None:
        self.attached: dict[str, str] = {}

    async def attach(self, sandbox_id: str, netns: str, config: SandboxConfig) -> tuple[str, ...]:
        self.attached[sandbox_id] = netns
        return ("10.1.2.3",)

    async def detach(self, sandbox_id: str, netns: str) -> None:
        assert self.attached.pop(sandbox_id, netns) == netns


def test_a_pod_with_a_network_of_its_own(folder: Path) -> None:
    need_root()
    if not BUSYBOX.exists():
        missing("/bin/busybox is not on this machine; cure: apt-get install busybox-static")

    async def check() -> None:
        network = Addresses()
        async with opened(folder, network=network) as runtime:
            await runtime.load_image(busybox(folder / "b.tar"))
            config = SandboxConfig("p", "ns", "u", hostname="web-0", log_directory=f"{folder}/logs", host_network=False)
            sandbox = await runtime.run_sandbox(config)
            status = await runtime.sandbox_status(sandbox)
            assert (status.ips, network.attached) == (("10.1.2.3",), {sandbox: status.netns})
            script = "hostname; grep 10.1.2.3 /etc/hosts; echo hi > /tmp/i; exec httpd -f -p 127.0.0.1:80 -h /tmp"
            container = await start(runtime, "sh", "-c", script, sandbox=sandbox, image=IMAGE)

            async def page() -> bytes | None:
                try:
                    stream = await runtime.port_forward(sandbox, 80)
                except OSError:
                    return None
                await stream.write(b"GET /i HTTP/1.0\r\n\r\n")
                got = b""
                while data := await stream.read():
                    got += data
                await stream.close()
                return got

            assert (await until(page)).endswith(b"hi\n"), "port 80 of this namespace, which nobody else has"
            assert text(folder) == "web-0\n10.1.2.3\tweb-0\n"
            await runtime.stop_container(container, 0)
            await runtime.remove_sandbox(sandbox)
            assert network.attached == {}
            assert not [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]

    asyncio.run(check())


def test_images_arrive_by_themselves(folder: Path) -> None:
    if not BUSYBOX.exists():
        missing("/bin/busybox is not on this machine; cure: apt-get install busybox-static")

    async def check() -> None:
        async with opened(folder) as runtime:
            with pytest.raises(ImageNotFound, match="incoming"):
                await runtime.pull_image(IMAGE)
            (runtime.images.incoming / "bad.tar").write_bytes(b"nonsense")
            with pytest.raises(ImageNotFound, match=r"bad\.tar"):
                await runtime.pull_image(IMAGE)
            busybox(runtime.images.incoming / "good.tar")
            assert (await runtime.pull_image(IMAGE)).startswith("sha256:")
            await runtime.remove_image(IMAGE)
            assert (await runtime.pull_image(IMAGE)).startswith("sha256:"), "collected as garbage, and asked for again"
            await runtime.remove_image(IMAGE)
            assert await runtime.image_status(IMAGE) is not None, "so that imagePullPolicy: Never has it as well"

    asyncio.run(check())


def test_a_user_that_the_image_does_not_know(folder: Path) -> None:
    async def check() -> None:
        from node_agent.runtime.types import Security

        async with opened(folder) as runtime:
            with pytest.raises(CannotStart, match="unable to find user nobody-like-this"):
                await start(runtime, "true", security=Security(username="nobody-like-this"))

    asyncio.run(check())


WITHOUT_ROOT = """
import asyncio, sys
from pathlib import Path
from node_agent.runtime.process.runtime import ProcessRuntime
from node_agent.runtime.types import ContainerConfig, SandboxConfig

async def main(root):
    runtime = ProcessRuntime(root / "runtime")
    await runtime.open()
    print("degraded:", *(await runtime.health()).degraded, sep="\\n")
    names = await runtime.load_image(root / "b.tar")
    sandbox = await runtime.run_sandbox(SandboxConfig("p", "ns", "u", log_directory=str(root / "logs")))
    for image, script in (("host", "echo host $$"), (names[0], "id -u; cat /etc/release")):
        script = f"test -c $(tty) && {script}"
        config = ContainerConfig("c", image, command=("sh", "-c", script), log_path="0.log", tty=True)
        try:
            container = await runtime.create_container(sandbox, config)
            await runtime.start_container(container)
            while (await runtime.container_status(container)).state != "Exited":
                await asyncio.sleep(0.02)
            print("code:", image, (await runtime.container_status(container)).exit_code)
        except Exception as problem:
            print("refused:", image, problem)
    await runtime.remove_sandbox(sandbox)
    await runtime.close()

asyncio.run(main(Path(sys.argv[1])))
"""


def python_for_everybody(as_nobody: list[str]) -> str:
    """An interpreter that is new enough and that others than root may run."""
    check = (
        "import subprocess, sys; sys.exit(sys.version_info < (3, 11) or subprocess.call([sys.executable, '-c', '']))"
    )
    for python in (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3"):
        tried = subprocess.run([*as_nobody, python, "-c", check], capture_output=True, check=False, cwd="/", env={})
        if tried.returncode == 0:
            return python
    return missing("no Python 3.11 that everybody may run; cure: apt-get install python3")


def test_without_root_it_does_what_it_can_and_says_what_it_cannot(folder: Path) -> None:
    if not BUSYBOX.exists():
        missing("/bin/busybox is not on this machine; cure: apt-get install busybox-static")
    busybox(folder / "b.tar")
    python, as_nobody = sys.executable, []
    if os.geteuid() == 0:
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        python = python_for_everybody(as_nobody)
        os.chown(folder, 65534, 65534)
    shutil.copytree(Path(node_agent.__file__).parent, folder / "packages" / "node_agent")
    code = f"import sys; sys.path.insert(0, {str(folder / 'packages')!r})\n{WITHOUT_ROOT}"
    command = [*as_nobody, python, "-c", code, str(folder)]
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    assert "not root" in done.stdout
    assert "code: host 0" in done.stdout
    if "code: fluyt.test/busybox:1 0" in done.stdout:
        assert text(folder).replace("\r", "").endswith("0\none\n"), "root in a user namespace of its own"
    else:
        assert "refused: fluyt.test/busybox:1 images need mount namespaces" in done.stdout
