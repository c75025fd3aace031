"""The same node on Docker and on containerd: pods run, talk, are reached, outlive the agent, are gone when deleted."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_live_node import LiveNode
from harness.ports import free_port
from harness.real_store import kube_api
from harness.require import missing, require
from harness.wait import wait_until
from runtime_conformance import image_tar
from runtime_conformance.daemons import containerd, dockerd

from node_agent.runtimes import new_runtime

pytestmark = pytest.mark.soak

IMAGE = "fluyt.test/busybox:1"
DAEMONS = {"docker": dockerd, "cri": containerd}


@pytest.fixture(scope="module", params=sorted(DAEMONS))
def daemon_node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    kubectl = require("kubectl-1.32")
    if not image_tar.BUSYBOX.exists():
        missing("/bin/busybox is not on this machine; cure: apt-get install busybox-static")
    folder = Path(tempfile.mkdtemp(prefix="fluyt-d-"))
    master, node = tmp_path_factory.mktemp("master"), tmp_path_factory.mktemp("node")
    try:
        with DAEMONS[request.param](folder) as daemon, kube_api(master, []) as api:
            endpoint = f"unix://{daemon}"
            asyncio.run(load(request.param, endpoint, node, image_tar.busybox(folder / "busybox.tar")))
            live = LiveNode(api, master, node, kubectl, runtime=request.param, container_runtime_endpoint=endpoint)
            try:
                yield live
                asyncio.run(nothing_is_left(request.param, endpoint, live))
            finally:
                live.close()
                asyncio.run(sweep(request.param, endpoint, node))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def load(kind: str, endpoint: str, node: Path, archive: Path) -> None:
    runtime = new_runtime(kind, endpoint, node / "root", "n1")
    await runtime.open()
    assert await runtime.load_image(archive) == (IMAGE,)
    await runtime.close()


async def nothing_is_left(kind: str, endpoint: str, live: LiveNode) -> None:
    """Once its pods are deleted, a node has no containers; the agent says so before it removes the pod."""
    live.kubectl("delete", "pods", "--all", "--grace-period=1")
    runtime = new_runtime(kind, endpoint, live.folder / "root", "n1")
    async with asyncio.timeout(30):
        while [each for each in await runtime.container_statuses() if each.state == "Running"]:
            await asyncio.sleep(0.1)
    await runtime.close()


async def sweep(kind: str, endpoint: str, node: Path) -> None:
    runtime = new_runtime(kind, endpoint, node / "root", "n1")
    for sandbox in await runtime.list_sandboxes():
        await runtime.remove_sandbox(sandbox.id)
    await runtime.close()


def status(pod: dict[str, Any]) -> dict[str, Any]:
    return dict((pod["status"].get("containerStatuses") or [{}])[0])


def test_a_pod_talks_and_is_reached(daemon_node: LiveNode) -> None:
    node = daemon_node
    script = (
        "mkdir -p /tmp/w; echo page > /tmp/w/index.html; echo up; echo err >&2; exec httpd -f -p 127.0.0.1:0 -h /tmp/w"
    )
    port = free_port()
    node.run_pod("web", "sh", "-c", script.replace(":0 ", f":{port} "), container={"image": IMAGE})
    wait_until(lambda: sorted(node.kubectl("logs", "web").split()) == ["err", "up"], "it talks")
    assert node.kubectl("exec", "-i", "web", "--", "cat", stdin="through\n") == "through\n"
    assert "exit code 7" in node.kubectl("exec", "web", "--", "sh", "-c", "exit 7", code=7)
    forward = node.spawn("port-forward", "pod/web", f":{port}", log="forward.log")
    line = wait_until(lambda: re.search(r"127\.0\.0\.1:(\d+) ->", forward.log.read_text()), "it forwards")
    for _ in range(2):
        with urllib.request.urlopen(f"http://127.0.0.1:{line.group(1)}/index.html", timeout=10) as answer:
            assert answer.read() == b"page\n"
    forward.kill()
    copies(node, "web")


def copies(node: LiveNode, pod: str) -> None:
    """As kubectl cp does it: tar through exec; busybox has it as an applet."""
    source = node.folder / "there.txt"
    source.write_bytes(bytes(range(256)) * 500)
    packed = subprocess.run(["tar", "cf", "-", "-C", str(node.folder), "there.txt"], capture_output=True, check=True)
    command = [require("kubectl-1.32"), "exec", "-i", pod, "--", "busybox", "tar", "xf", "-", "-C", "/tmp"]
    subprocess.run(command, input=packed.stdout, env=node.environment(), check=True, timeout=60, capture_output=True)
    assert node.kubectl("exec", pod, "--", "wc", "-c", "/tmp/there.txt").split()[0] == "128000"


def test_an_agent_that_restarts_restarts_no_container(daemon_node: LiveNode) -> None:
    node = daemon_node
    script = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.1; done"
    node.run_pod("counter", "sh", "-c", script, container={"image": IMAGE})
    wait_until(lambda: node.kubectl("logs", "counter").count("\n") >= 3, "it counts")
    before = status(node.pod("counter"))
    node.agent.kill()
    node.start()
    said = len(wait_until(lambda: numbers(node), "the new agent answers"))
    wait_until(lambda: len(numbers(node)) > said, "it counts on")
    after = status(node.pod("counter"))
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)
    told = numbers(node)
    assert told == list(range(1, len(told) + 1)), "no line is lost or told twice"


def numbers(node: LiveNode) -> list[int]:
    """What the log says; nothing while no agent answers."""
    words = node.kubectl("logs", "counter", code=None).split()
    return [int(word) for word in words] if all(word.isdecimal() for word in words) else []


def test_how_a_container_ended_is_known(daemon_node: LiveNode) -> None:
    node = daemon_node
    node.run_pod("once", "sh", "-c", "exit 3", container={"image": IMAGE}, restartPolicy="Never", wait=False)
    found = node.wait("once", lambda pod: pod["status"].get("phase") == "Failed")
    ended = status(found)["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (3, "Error")
    name = {"image": "127.0.0.1:1/no/such:1"}
    node.run_pod("none", "true", container=name, wait=False)
    node.wait("none", lambda pod: "ImagePull" in str(status(pod)) or "ErrImage" in str(status(pod)))
