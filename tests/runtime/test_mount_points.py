"""Where volumes are mounted and programs begin in a hostile image: inside of it, wherever its links lead."""

from __future__ import annotations

import asyncio
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.require import missing
from runtime_conformance.bench import Bench
from runtime_conformance.image_tar import BUSYBOX, busybox, busybox_layer, docker_archive, entry, layer

from node_agent.runtime.errors import CannotStart
from node_agent.runtime.process.runtime import ProcessRuntime
from node_agent.runtime.types import Mount

LINKS = "fluyt.test/links:1"
# Ways out that once were open: the old root, while mounts are made; the root of a process that has the machine's.
WAYS = ["/.fluyt-old-root{}", "/proc/1/root{}", "/proc/self/root{}", "/../../..{}"]


@pytest.fixture
def bench() -> Iterator[Bench]:
    """With the folder of-the-machine, which is empty and stays so, and with the folder volume."""
    if os.geteuid() != 0 or not BUSYBOX.exists():
        missing("images in mount namespaces need root and /bin/busybox; cure: apt-get install busybox-static")
    folder = Path(tempfile.mkdtemp(prefix="fluyt-m-"))
    for name in ("of-the-machine", "volume"):
        (folder / name).mkdir()
    with asyncio.Runner() as runner:
        archive = busybox(folder / "busybox.tar")
        bench = Bench("process", lambda: ProcessRuntime(folder / "runtime"), folder, archive, runner)
        bench.run(bench.start())
        yield bench
        bench.run(bench.finish())
    shutil.rmtree(folder, ignore_errors=True)


async def with_link(bench: Bench, way: str, **settings: Any) -> None:
    """An image in which /x is a link that way to of-the-machine."""
    links = layer(entry("x", kind=tarfile.SYMTYPE, link=way.format(bench.folder / "of-the-machine")))
    archive = docker_archive(bench.folder / "links.tar", LINKS, [busybox_layer(), links], **settings)
    await bench.runtime.load_image(archive)


def machine(bench: Bench) -> list[str]:
    return os.listdir(bench.folder / "of-the-machine")


@pytest.mark.parametrize("way", WAYS)
def test_links_of_an_image_lead_no_mount_to_the_machine(bench: Bench, way: str) -> None:
    async def check() -> None:
        await with_link(bench, way)
        (bench.folder / "volume" / "data").write_text("of the volume\n")
        (bench.folder / "message").touch()
        mounts = (
            Mount(str(bench.folder / "message"), "/x/nologin"),
            Mount(str(bench.folder / "volume"), "/x/made/by/the/pod"),
        )
        sandbox = await bench.sandbox(share_process_namespace=True)
        # Nobody but who is kept from it by capabilities may follow the link of /proc/1: that is no matter of mounts.
        script = "true" if "/proc/1" in way else "cat /x/made/by/the/pod/data; echo last words > /x/nologin"
        container = await bench.container(sandbox, "sh", "-c", script, image=LINKS, mounts=mounts)
        status = await bench.ended(container)
        assert machine(bench) == []
        if "/proc/1" not in way:
            assert (status.exit_code, await bench.log_text(status.log_path)) == (0, "of the volume\n")
            assert (bench.folder / "message").read_text() == "last words\n"

    bench.run(check())


def test_a_shared_pid_namespace_shows_nobody_the_machines_root(bench: Bench) -> None:
    """Its first process, which is ours and no more privileged than the containers, had the machine's."""

    async def check() -> None:
        secret = bench.folder / "of-the-machine" / "secret"
        secret.write_text("of the machine\n")
        sandbox = await bench.sandbox(share_process_namespace=True)
        container = await bench.container(sandbox, "sleep", "60")
        script = f"cd /proc/1/root; cat .{secret}; echo changed > .{secret}; touch here; ls"
        done = await bench.runtime.exec_sync(container, ("sh", "-c", script), 10)
        assert done.stdout == b"pause\n"
        assert secret.read_text() == "of the machine\n"
        secret.unlink()

    bench.run(check())


@pytest.mark.parametrize("way", WAYS)
def test_links_of_an_image_lead_no_program_to_the_machine(bench: Bench, way: str) -> None:
    async def check() -> None:
        await with_link(bench, way, WorkingDir="/x/deep")
        sandbox = await bench.sandbox(share_process_namespace=True)
        container = await bench.container(sandbox, "sh", "-c", "touch here; exec sleep 60", image=LINKS)
        done = await bench.runtime.exec_sync(container, ("sh", "-c", "touch there; echo done"), 10)
        assert (done.exit_code, done.stdout) == (0, b"done\n")
        assert machine(bench) == []

    bench.run(check())


def test_an_exec_begins_in_the_container_though_its_working_folder_was_swapped(bench: Bench) -> None:
    async def check() -> None:
        sandbox = await bench.sandbox(share_process_namespace=True)
        swap = f"rmdir /w; ln -s /proc/1/root{bench.folder}/of-the-machine /w; touch /swapped; exec sleep 60"
        container = await bench.container(sandbox, "sh", "-c", swap, working_dir="/w")
        script = "while [ ! -e /swapped ]; do sleep 0.1; done"
        waited = await bench.runtime.exec_sync(container, ("sh", "-c", script), 10)
        done = await bench.runtime.exec_sync(container, ("sh", "-c", "touch here"), 10)
        assert machine(bench) == []
        assert {waited.exit_code, done.exit_code} == {0}

    bench.run(check())


def test_mount_points_behind_links_are_made_where_they_lead(bench: Bench) -> None:
    """/x leads to a folder that is not there yet; it is made in the image, not on the machine."""

    async def check() -> None:
        await with_link(bench, "../not/there")
        (bench.folder / "volume" / "data").write_text("of the volume\n")
        mounts = (Mount(str(bench.folder / "volume"), "/x"),)
        assert await bench.says("cat", "/not/there/data", image=LINKS, mounts=mounts) == (0, "of the volume\n")
        assert not Path("/not").exists()

    bench.run(check())


def test_a_loop_of_links_is_no_mount_point(bench: Bench) -> None:
    async def check() -> None:
        await with_link(bench, "/x")
        with pytest.raises(CannotStart, match="volume at /x/y: Too many"):
            await bench.says("true", image=LINKS, mounts=(Mount(str(bench.folder / "volume"), "/x/y"),))

    bench.run(check())


def test_no_trace_of_the_old_root_is_left(bench: Bench) -> None:
    async def check() -> None:
        _, text = await bench.says("sh", "-c", "ls -A /; cat /proc/self/mounts")
        roots = [line for line in text.splitlines() if line.split(" ")[1:2] == ["/"]]
        assert len(roots) == 1
        assert "old-root" not in text

    bench.run(check())


def test_the_machines_root_as_a_volume_does_not_hold_the_container_itself(bench: Bench) -> None:
    """As monitoring agents mount it: with all that is mounted below, but for what is the container's."""

    async def check() -> None:
        mounts = (Mount("/", "/host", read_only=True),)
        _, text = await bench.says("cat", "/proc/self/mounts", mounts=mounts)
        points = [line.split(" ")[1] for line in text.splitlines() if line.count(" ") > 4]
        assert "/host" in points
        assert [point for point in points if point.startswith(f"/host{bench.folder}/runtime/containers")] == []

    bench.run(check())
