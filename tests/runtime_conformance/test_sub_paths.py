"""subPath: what a container mounts below a volume stays in the volume, whatever its neighbours do meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node_agent.pod.config import NodeFacts
from node_agent.pod.needs import Sources
from node_agent.pod.network import ClusterDns
from node_agent.runtime.errors import CannotCreate, CannotStart
from node_agent.runtime.types import Mount
from node_agent.volumes.keeper import VolumeKeeper
from runtime_conformance.bench import Bench

Object = dict[str, Any]
FACTS = NodeFacts(name="n1", ips=(), memory=1 << 30, allocatable={}, dns=ClusterDns(), log_root="/logs")
CONFIG = {"metadata": {"name": "conf"}, "data": {"a": "one key\n"}}


class OneConfig:
    """A lookup that knows a config map."""

    async def sources(self, pod: Object) -> Sources:
        return Sources({("configmaps", "conf"): CONFIG})

    async def find(self, resource: str, name: str, namespace: str) -> Object | None:
        return None


def keeper_for(bench: Bench) -> VolumeKeeper:
    return VolumeKeeper(bench.folder / "agent", OneConfig(), dict, FACTS, by_path=bench.kind != "process")


@pytest.fixture
def keeper(real: Bench) -> Iterator[VolumeKeeper]:
    """Whose pods are all gone afterwards."""
    keeper = keeper_for(real)
    real.run(keeper.open())
    yield keeper
    real.run(real.clean())
    real.run(keeper.clean(lambda uid: False))
    assert mounted_below(real.folder / "agent") == []


def mounted_below(folder: Path) -> list[str]:
    points = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]


def pod(uid: str, volume: Object, sub_path: str, at: str = "/mnt") -> Object:
    mount = {"name": "v", "mountPath": at, "subPath": sub_path}
    containers = [{"name": "main", "image": "x", "volumeMounts": [mount]}]
    return {"metadata": {"name": uid, "uid": uid}, "spec": {"containers": containers, "volumes": [volume]}}


async def mounts_of(keeper: VolumeKeeper, of: Object) -> tuple[Mount, ...]:
    await keeper.set_up(of)
    return await keeper.mounts(of, of["spec"]["containers"][0], {}, 0)


EMPTY: Object = {"name": "v", "emptyDir": {}}


def test_a_sub_path_that_became_a_link_leads_nowhere(real: Bench, keeper: VolumeKeeper) -> None:
    """Another container of the pod, which has the whole volume, swaps the folder between the check and the start."""

    async def check() -> None:
        machine = real.folder / "of-the-machine"
        machine.mkdir(exist_ok=True)
        (machine / "secret").write_text("the machine's\n")
        sandbox = await real.sandbox()
        mounts = await mounts_of(keeper, pod("swapped", EMPTY, "sub"))
        script = "ls /mnt; echo overwritten > /mnt/secret; echo done"
        container = await real.container(sandbox, "sh", "-c", script, mounts=mounts, start=False)
        folder = real.folder / "agent/pods/swapped/volumes/emptyDir/v/sub"
        os.rename(folder, f"{folder}.old")
        folder.symlink_to(machine)
        try:
            await real.runtime.start_container(container)
        except CannotStart:
            pass  # the process runtime looks once more: what was a folder is a link now
        else:
            status = await real.ended(container)
            assert await real.log_text(status.log_path) == "done\n"
        assert (machine / "secret").read_text() == "the machine's\n"

    real.run(check())


def test_sub_paths_show_folders_and_files(real: Bench, keeper: VolumeKeeper) -> None:
    async def check() -> None:
        mounts = await mounts_of(keeper, pod("folder", EMPTY, "deep/er"))
        assert (await real.says("sh", "-c", "echo in > /mnt/file; cat /mnt/file", mounts=mounts)) == (0, "in\n")
        assert (real.folder / "agent/pods/folder/volumes/emptyDir/v/deep/er/file").read_text() == "in\n"
        config: Object = {"name": "v", "configMap": {"name": "conf"}}
        mounts = await mounts_of(keeper, pod("file", config, "a", at="/etc/one"))
        code, text = await real.says("sh", "-c", "cat /etc/one; touch /etc/one 2>/dev/null || exit 3", mounts=mounts)
        assert (code, text) == (3, "one key\n")

    real.run(check())


def test_a_sub_path_is_mounted_anew_for_every_run(real: Bench, keeper: VolumeKeeper) -> None:
    """What the second run of a container sees is what the volume holds by then."""

    async def check() -> None:
        of = pod("again", EMPTY, "sub")
        await mounts_of(keeper, of)
        folder = real.folder / "agent/pods/again/volumes/emptyDir/v/sub"
        os.rename(folder, f"{folder}.old")
        folder.mkdir()
        (folder / "new").touch()
        mounts = await mounts_of(keeper, of)
        assert (await real.says("ls", "/mnt", mounts=mounts)) == (0, "new\n")
        assert len([each for each in mounted_below(real.folder / "agent") if "again" in each]) <= 1

    real.run(check())


def test_nothing_stays_mounted_when_the_pod_has_gone(real: Bench, keeper: VolumeKeeper) -> None:
    """Also when the agent was started anew in between; and what was mounted keeps what it holds."""

    async def check() -> None:
        kept = real.folder / "kept"
        (kept / "sub").mkdir(parents=True, exist_ok=True)
        (kept / "sub" / "data").write_text("still here")
        for uid in ("one", "two"):
            await mounts_of(keeper, pod(uid, {"name": "v", "hostPath": {"path": str(kept)}}, "sub"))
        later = keeper_for(real)
        await later.tear_down(pod("one", EMPTY, ""))
        await later.clean(lambda uid: False)
        assert mounted_below(real.folder / "agent") == []
        assert not (real.folder / "agent/pods/two").exists()
        assert (kept / "sub" / "data").read_text() == "still here"

    real.run(check())


def test_a_runtime_that_takes_paths_alone_refuses_a_sub_path(real: Bench) -> None:
    if real.kind == "process":
        pytest.skip("it looks for sub paths itself")

    async def check() -> None:
        mount = Mount(str(real.folder), "/mnt", below="sub")
        with pytest.raises(CannotCreate, match="below"):
            await real.container(await real.sandbox(), "true", mounts=(mount,))

    real.run(check())
