"""The four runtimes, each started once per process of the test run."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.require import missing

from node_agent.runtime.cri import CriRuntime
from node_agent.runtime.docker import DockerRuntime
from node_agent.runtime.interface import Runtime
from node_agent.runtime.process.runtime import ProcessRuntime
from node_agent.runtime.simulated import SimulatedRuntime, World
from runtime_conformance import image_tar
from runtime_conformance.bench import Bench
from runtime_conformance.daemons import containerd, dockerd

KINDS = ("simulated", "process", "docker", "cri")
_names = itertools.count()


@contextlib.contextmanager
def _maker(kind: str, folder: Path) -> Iterator[Callable[[], Runtime]]:
    """How to make a runtime of that kind; its daemon runs until the block ends."""
    match kind:
        case "simulated":
            world = World()
            yield lambda: SimulatedRuntime(world, "node")
        case "process":
            yield lambda: ProcessRuntime(folder / "runtime")
        case "docker":
            with dockerd(folder) as socket:
                yield lambda: DockerRuntime(f"unix://{socket}", owner="node")
        case _:
            with containerd(folder) as socket:
                yield lambda: CriRuntime(f"unix://{socket}", owner="node")


@pytest.fixture(scope="session", params=KINDS)
def shared_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if not image_tar.BUSYBOX.exists():
        missing("/bin/busybox is not on this machine; cure: apt-get install busybox-static")
    folder = Path(tempfile.mkdtemp(prefix="fluyt-rt-"))
    archive = image_tar.busybox(folder / "busybox.tar")
    try:
        with _maker(request.param, folder) as make, asyncio.Runner() as runner:
            bench = Bench(request.param, make, folder, archive, runner)
            bench.run(bench.start())
            yield bench
            bench.run(bench.finish())
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bench(shared_bench: Bench) -> Iterator[Bench]:
    """With everything that the test made removed afterwards."""
    yield shared_bench
    shared_bench.run(shared_bench.clean())


@pytest.fixture
def real(bench: Bench) -> Bench:
    """One that runs programs."""
    if not bench.real:
        pytest.skip("nothing runs in a simulated container")
    return bench
