"""Volumes: which files (by value), and how they come to the disk."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from agent_values import pod

from node_agent.pod.config import NodeFacts
from node_agent.pod.fields import ConfigProblem
from node_agent.pod.needs import Sources
from node_agent.pod.network import ClusterDns
from node_agent.volumes.atomic import write_files
from node_agent.volumes.files import (
    File,
    TokenWish,
    holds_secrets,
    shows_other_metadata,
    token_wishes,
    volume_files,
)
from node_agent.volumes.host import below, host_path, persistent_path
from node_agent.volumes.keeper import VolumeKeeper
from node_agent.volumes.memory import memory_folder
from node_agent.volumes.problem import VolumeProblem
from node_agent.volumes.scratch import empty_dir

Object = dict[str, Any]
CONFIG = {"metadata": {"name": "conf"}, "data": {"a": "1", "b": "2"}}
SECRET = {"metadata": {"name": "hush"}, "data": {"key": base64.b64encode(b"s").decode()}}
SOURCES = Sources({("configmaps", "conf"): CONFIG, ("secrets", "hush"): SECRET}, tokens={("v", "token"): "jwt"})
FACTS = NodeFacts(name="n1", ips=("10.0.0.1",), memory=1 << 30, allocatable={}, dns=ClusterDns(), log_root="/logs")


def content(volume: Object, of: Object | None = None) -> dict[str, tuple[bytes, int]]:
    found = volume_files(of or pod(), {"name": "v", **volume}, SOURCES, {"cpu": "4"})
    return {path: (file.data, file.mode) for path, file in found.items()}


def test_all_keys_of_a_config_map() -> None:
    assert content({"configMap": {"name": "conf"}}) == {"a": (b"1", 0o644), "b": (b"2", 0o644)}


def test_chosen_keys_with_paths_and_modes() -> None:
    items = [{"key": "a", "path": "x/y", "mode": 0o400}, {"key": "b", "path": "z"}]
    found = content({"configMap": {"name": "conf", "items": items, "defaultMode": 0o600}})
    assert found == {"x/y": (b"1", 0o400), "z": (b"2", 0o600)}


def test_a_projected_volume_holds_all_its_sources() -> None:
    sources = [
        {"secret": {"name": "hush", "items": [{"key": "key", "path": "k"}]}},
        {"configMap": {"name": "absent", "optional": True}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 600, "audience": "x"}},
    ]
    volume = {"name": "v", "projected": {"sources": sources}}
    assert content(volume) == {"k": (b"s", 0o644), "name": (b"p", 0o644), "token": (b"jwt", 0o644)}
    assert holds_secrets(volume)
    assert list(token_wishes(pod(volumes=[volume]))) == [TokenWish("v", "token", "x", 600)]
    alone = pod(volumes=[volume], securityContext={"runAsUser": 7})
    assert content(volume, alone)["token"] == (b"jwt", 0o600)


@pytest.mark.parametrize(
    ("volume", "problem"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        ({"configMap": {"name": "conf", "items": [{"key": "q", "path": "q"}]}}, "non-existent configmap key: q"),
        ({"configMap": {"name": "conf", "items": [{"key": "a", "path": "../a"}]}}, "must not contain"),
        ({"configMap": {"name": "conf", "items": [{"key": "a", "path": "/a"}]}}, "must be relative"),
        ({"configMap": {"name": "conf", "items": [{"key": "a", "path": "..data"}]}}, "must not start"),
        ({"projected": {"sources": [{"clusterTrustBundle": {}}]}}, "not supported"),
    ],
)
def test_volumes_that_cannot_be(volume: Object, problem: str) -> None:
    with pytest.raises(ConfigProblem, match=problem):
        content(volume)


@pytest.mark.parametrize(
    ("volume", "changed", "wanted"),
    [
        ({"downwardAPI": {"items": []}}, {"labels": {"tier": "b"}}, True),
        ({"projected": {"sources": [{"downwardAPI": {"items": []}}]}}, {"annotations": {"note": "x"}}, True),
        ({"downwardAPI": {"items": []}}, {"resourceVersion": "9"}, False),
        ({"configMap": {"name": "conf"}}, {"labels": {"tier": "b"}}, False),
    ],
)
def test_other_labels_are_shown_at_once(volume: Object, changed: Object, wanted: bool) -> None:
    old = pod(volumes=[{"name": "v", **volume}])
    assert shows_other_metadata(old, {**old, "metadata": {**old["metadata"], **changed}}) is wanted
    assert not shows_other_metadata(None, old)


# ---- the atomic writer ----


def read(folder: Path) -> dict[str, str]:
    visible = (p for p in folder.rglob("*") if not p.relative_to(folder).parts[0].startswith(".."))
    found = {str(p.relative_to(folder)): p.read_text() for p in visible if p.is_file()}
    for link in folder.iterdir():
        if link.is_symlink() and link.is_dir() and not link.name.startswith(".."):
            found |= {f"{link.name}/{p.relative_to(link)}": p.read_text() for p in link.rglob("*") if p.is_file()}
    return found


def test_files_appear_change_and_go(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    assert write_files(folder, {"a": File(b"1"), "d/e": File(b"2", 0o400)})
    assert read(folder) == {"a": "1", "d/e": "2"}
    assert stat.S_IMODE((folder / "d/e").stat().st_mode) == 0o400
    first = os.readlink(folder / "..data")
    assert not write_files(folder, {"a": File(b"1"), "d/e": File(b"2", 0o400)})
    assert os.readlink(folder / "..data") == first
    assert write_files(folder, {"a": File(b"3")})
    assert read(folder) == {"a": "3"}
    assert not (folder / first).exists()
    assert write_files(folder, {"a": File(b"3", 0o600)})
    assert write_files(folder, {})
    assert read(folder) == {}


def test_a_write_that_was_cut_off_is_cleaned_up(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    write_files(folder, {"a": File(b"1")})
    (folder / "..2020_01_01_00_00_00.x").mkdir()
    (folder / "..data_tmp").symlink_to("..gone")
    (folder / "stray").symlink_to("..data/stray")
    write_files(folder, {"a": File(b"2")})
    assert sorted(p.name for p in folder.iterdir() if not p.name.startswith("..2")) == ["..data", "a"]
    assert len([p for p in folder.iterdir() if p.name.startswith("..2")]) == 1


def test_a_reader_sees_one_version_or_the_other(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    write_files(folder, {"a": File(b"0"), "b": File(b"0")})
    done, mixed = threading.Event(), []

    def reader() -> None:
        while not done.is_set():
            try:
                at = os.open(folder / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue  # removed between the link and the folder that it names
            try:
                pair = []
                for name in ("a", "b"):
                    with open(os.open(name, os.O_RDONLY, dir_fd=at), "rb") as file:
                        pair.append(file.read())
            except FileNotFoundError:
                continue  # this version was removed as a whole
            finally:
                os.close(at)
            if pair[0] != pair[1]:
                mixed.append(pair)

    thread = threading.Thread(target=reader)
    thread.start()
    for number in range(1, 60):
        data = str(number).encode()
        write_files(folder, {"a": File(data), "b": File(data)})
    done.set()
    thread.join()
    assert mixed == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_group_of_the_pod_owns_and_reads(tmp_path: Path) -> None:
    folder = tmp_path / "v"
    write_files(folder, {"a": File(b"1", 0o400)}, group=4242, owner=77)
    found = (folder / "a").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (77, 4242, 0o440)


# ---- folders of the node ----


@pytest.mark.parametrize(
    ("kind", "there", "problem"),
    [
        ("", False, ""),
        ("DirectoryOrCreate", False, ""),
        ("FileOrCreate", False, ""),
        ("Directory", True, ""),
        ("Directory", False, "hostPath type check failed: .* is not a directory"),
        ("File", True, "is not a file"),
        ("Socket", True, "is not a socket file"),
        ("Nonsense", True, "is not known"),
    ],
)
def test_host_paths(tmp_path: Path, kind: str, there: bool, problem: str) -> None:
    path = tmp_path / "x"
    if there:
        path.mkdir()
    if problem:
        with pytest.raises(VolumeProblem, match=problem):
            host_path("v", {"path": str(path), "type": kind})
    else:
        assert host_path("v", {"path": str(path), "type": kind}).exists()


def test_a_sub_path_does_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "v"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    (root / "in").symlink_to("deep")
    assert below("v", root, "a/b").is_dir()
    assert below("v", root, "in/x") == root / "deep/x"
    for bad in ("out", "out/passwd"):
        with pytest.raises(VolumeProblem, match="leads out"):
            below("v", root, bad)


@pytest.mark.parametrize(("group", "mode"), [(None, 0o777), (1001, 0o2777)])
def test_a_sub_path_is_as_open_as_its_volume(tmp_path: Path, group: int | None, mode: int) -> None:
    """A container that does not run as root writes to it as it would to the whole volume."""
    if group is not None and os.geteuid() != 0:
        pytest.skip("only root may give folders away")
    root = tmp_path / "v"
    asyncio.run(empty_dir(root, {}, group))
    (root / "there").mkdir(mode=0o700)
    below("v", root, "there/a/b")
    for made in (root / "there/a", root / "there/a/b"):
        found = made.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_gid) == (mode, group or root.stat().st_gid)
    assert stat.S_IMODE((root / "there").stat().st_mode) & 0o777 == 0o700


def test_a_sub_path_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert below("v", tmp_path, "file") == tmp_path / "file"
    with pytest.raises(VolumeProblem, match="subPath 'file/x': Not a directory"):
        below("v", tmp_path, "file/x")


def test_claims(tmp_path: Path) -> None:
    claim = {"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Bound"}}
    terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]
    volume: Object = {
        "metadata": {"name": "pv"},
        "spec": {"local": {"path": str(tmp_path)}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}},
    }
    node = {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}}
    assert persistent_path("v", claim, "c", volume, node) == tmp_path
    with pytest.raises(VolumeProblem, match='persistentvolumeclaim "c" not found'):
        persistent_path("v", None, "c", None, node)
    with pytest.raises(VolumeProblem, match="not bound"):
        persistent_path("v", {**claim, "status": {"phase": "Pending"}}, "c", None, node)
    with pytest.raises(VolumeProblem, match="no matching NodeSelectorTerms"):
        persistent_path("v", claim, "c", volume, {"metadata": {"name": "n2"}})
    with pytest.raises(VolumeProblem, match="neither hostPath nor local"):
        persistent_path("v", claim, "c", {"metadata": {"name": "pv"}, "spec": {"nfs": {}}}, node)


# ---- the keeper ----


class Found:
    """A lookup that knows what it is given."""

    def __init__(self, sources: Sources) -> None:
        self.now = sources

    async def sources(self, pod: Object) -> Sources:
        return self.now

    async def find(self, resource: str, name: str, namespace: str) -> Object | None:
        return None


def test_the_life_of_a_pods_volumes(tmp_path: Path) -> None:
    lookup = Found(SOURCES)
    keeper = VolumeKeeper(tmp_path, lookup, dict, FACTS)
    of = pod(
        {
            "name": "web",
            "volumeMounts": [
                {"name": "conf", "mountPath": "/conf"},
                {"name": "empty", "mountPath": "/e", "subPath": "s"},
            ],
        },
        volumes=[
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "empty", "emptyDir": {}},
            {"name": "hush", "secret": {"secretName": "hush"}},
        ],
    )

    async def life() -> None:
        await keeper.set_up(of)
        mounts = {m.container_path: m for m in await keeper.mounts(of, of["spec"]["containers"][0], {}, 0)}
        assert set(mounts) == {"/conf", "/e", "/dev/termination-log"}
        assert mounts["/conf"].read_only
        assert not mounts["/e"].read_only
        assert Path(mounts["/e"].host_path).is_dir()
        conf = Path(mounts["/conf"].host_path)
        assert (conf / "a").read_text() == "1"
        assert (tmp_path / "memory/u1/secret/hush/key").read_text() == "s"
        (Path(mounts["/e"].host_path) / "kept").write_text("x")
        lookup.now = Sources({**SOURCES.objects, ("configmaps", "conf"): {**CONFIG, "data": {"a": "9"}}})
        await keeper.refresh(of)
        assert (conf / "a").read_text() == "9"
        assert not (conf / "b").exists()
        assert (Path(mounts["/e"].host_path) / "kept").exists()
        lookup.now = Sources()
        with pytest.raises(VolumeProblem, match='for volume "conf" : configmap "conf" not found'):
            await keeper.refresh(of)
        assert (conf / "a").read_text() == "9"
        await keeper.tear_down(of)
        assert not conf.exists()
        assert keeper.message_file("u1", "web", 0).exists()
        await keeper.clean(lambda uid: False)
        assert not (tmp_path / "pods/u1").exists()

    asyncio.run(life())


def test_a_volume_type_that_is_not_supported_is_named(tmp_path: Path) -> None:
    keeper = VolumeKeeper(tmp_path, Found(SOURCES), dict, FACTS)
    with pytest.raises(VolumeProblem, match='volume "v" : volumes of type nfs are not supported'):
        asyncio.run(keeper.set_up(pod(volumes=[{"name": "v", "nfs": {"server": "x", "path": "/"}}])))


def test_secrets_are_in_memory_and_leave_nothing_behind(tmp_path: Path) -> None:
    gone, here = tmp_path / "gone", tmp_path / "here"
    gone.mkdir()
    left = memory_folder(gone)
    if left is None:
        pytest.skip("this machine has no tmpfs that we may write to")
    assert memory_folder(gone) == left
    (left / "u1").mkdir()
    gone.rmdir()
    here.mkdir()
    mine = memory_folder(here)
    assert mine is not None
    assert mine != left
    assert not left.exists()

    async def close() -> None:
        keeper = VolumeKeeper(here, Found(SOURCES), dict, FACTS)
        await keeper.open()
        await keeper.clean(lambda uid: False)
        await keeper.close()

    asyncio.run(close())
    assert not mine.exists()
