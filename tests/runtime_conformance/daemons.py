"""Docker engines and containerds of our own for the tests: private folders and sockets, ended by their ids."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.require import missing

from node_agent.runtime.pause import image as pause_image
from node_agent.runtime.process import linux

SECONDS = 30.0
PAUSE = "fluyt.test/pause:1"

_CONTAINERD = """version = 2
root = "{root}/root"
state = "{root}/state"
oom_score = 0
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
address = "{socket}"
[ttrpc]
address = "{root}/ttrpc.sock"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "{pause}"
stream_server_address = "127.0.0.1"
stream_server_port = "0"
"""


def need_root_and(*programs: str) -> None:
    if os.geteuid() != 0:
        missing("container daemons need root")
    for program in programs:
        if shutil.which(program) is None and not Path(f"/usr/sbin/{program}").exists():
            missing(f"{program} is not on this machine; cure: apt-get install docker.io containerd runc")


@contextmanager
def running(command: list[str], folder: Path, ready: Callable[[], bool]) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon until the block ends; its log is daemon.log in its folder."""
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    with open(folder / "daemon.log", "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    try:
        deadline = time.monotonic() + SECONDS
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {(folder / 'daemon.log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        unmount_below(folder)


def unmount_below(folder: Path) -> None:
    """What a daemon leaves mounted (Docker: a network namespace) would keep its folder from being removed."""
    points = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for point in reversed(points):
        if point.startswith(f"{folder}/"):
            linux.umount(point)


@contextmanager
def containerd(folder: Path) -> Iterator[Path]:
    """Its socket; the sandbox image is loaded."""
    need_root_and("containerd", "ctr", "runc")
    socket = folder / "c.sock"
    (folder / "config.toml").write_text(_CONTAINERD.format(root=folder, socket=socket, pause=PAUSE))
    archive = folder / "pause.tar"
    archive.write_bytes(pause_image(platform.machine(), PAUSE))

    def ready() -> bool:
        return subprocess.run(["ctr", "-a", str(socket), "version"], capture_output=True, check=False).returncode == 0

    with running(["containerd", "--config", str(folder / "config.toml")], folder, ready):
        load = ["ctr", "-a", str(socket), "-n", "k8s.io", "images", "import", str(archive)]
        subprocess.run(load, capture_output=True, check=True)
        yield socket


def docker_command(folder: Path) -> list[str]:
    socket = folder / "d.sock"
    flags = ["--iptables=false", "--bridge=none", "--storage-driver=overlay2", "--live-restore", "--log-level=warn"]
    places = ["--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/d.pid"]
    return ["dockerd", *places, "-H", f"unix://{socket}", *flags]


@contextmanager
def dockerd(folder: Path) -> Iterator[Path]:
    """Its socket."""
    need_root_and("dockerd", "containerd", "runc")
    socket = folder / "d.sock"

    def ready() -> bool:
        command = ["curl", "-sf", "--unix-socket", str(socket), "http://docker/_ping"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    with running(docker_command(folder), folder, ready):
        yield socket
