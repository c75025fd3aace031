"""Layers onto a tree: what they may do, and what they must not."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from runtime_conformance.image_tar import Entry, digest, entry, layer

from node_agent.runtime.errors import BadArchive
from node_agent.runtime.image_store.bounds import Bounds
from node_agent.runtime.image_store.unpack import Unpacker

SYMLINK, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


def unpack(root: Path, *layers: bytes, bounds: Bounds | None = None) -> Path:
    root.mkdir(exist_ok=True)
    unpacker = Unpacker(root, bounds or Bounds(reserve=0))
    for each in layers:
        unpacker.apply(io.BytesIO(each), digest(each))
    unpacker.finish()
    return root


def tree(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_layers_are_laid_on_top_of_each_other(tmp_path: Path) -> None:
    below = layer(entry("a/one", b"1"), entry("a/two", b"2"), entry("b/three", b"3"), entry("c/d/four", b"4"))
    above = layer(
        entry("a/one", b"new"), entry("a/.wh.two"), entry("b/.wh..wh..opq"), entry("b/five", b"5"), entry(".wh.c")
    )
    assert tree(unpack(tmp_path / "r", below, above)) == {"a/one": "new", "b/five": "5"}


def test_whiteouts_spare_what_their_own_layer_brings(tmp_path: Path) -> None:
    below = layer(entry("d/old", b"1"), entry("x", b"old"))
    above = layer(entry("d/new", b"2"), entry("d/.wh..wh..opq"), entry("x", b"new"), entry(".wh.x"), entry(".wh.d"))
    assert tree(unpack(tmp_path / "r", below, above)) == {"d/new": "2", "x": "new"}


def test_kinds_of_entries_replace_each_other(tmp_path: Path) -> None:
    below = layer(entry("f", b"file"), entry("d/x", b"1"), entry("l", kind=SYMLINK, link="d"))
    above = layer(entry("f/y", b"2"), entry("d", b"file now"), entry("l", kind=DIR, mode=0o755), entry("l/z", b"3"))
    assert tree(unpack(tmp_path / "r", below, above)) == {"d": "file now", "f/y": "2", "l/z": "3"}


def test_links_inside_are_followed_inside(tmp_path: Path) -> None:
    """/bin → /usr/bin as many images have it: what is put into bin goes to usr/bin of the image."""
    below = layer(entry("usr/bin", kind=DIR, mode=0o755), entry("bin", kind=SYMLINK, link="/usr/bin"))
    above = layer(entry("bin/tool", b"t"), entry("bin/same", kind=HARD, link="bin/tool"))
    root = unpack(tmp_path / "r", below, above)
    assert tree(root) == {"bin": "/usr/bin", "usr/bin/same": "t", "usr/bin/tool": "t"}
    assert (root / "usr/bin/tool").stat().st_ino == (root / "usr/bin/same").stat().st_ino


def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    folder = entry("d", kind=DIR, mode=0o555)
    folder[0].mtime = 1000
    program = entry("d/p", b"p", mode=0o4755)
    program[0].mtime = 2000
    root = unpack(tmp_path / "r", layer(folder, program))
    assert ((root / "d").stat().st_mode & 0o777, (root / "d").stat().st_mtime) == (0o555, 1000)
    expected = 0o4755 if os.geteuid() == 0 else 0o755
    assert ((root / "d/p").stat().st_mode & 0o7777, (root / "d/p").stat().st_mtime) == (expected, 2000)
    (root / "d").chmod(0o755)


HOSTILE: dict[str, list[Entry]] = {
    "up": [entry("../outside", b"x")],
    "up in the middle": [entry("a/../../outside", b"x")],
    "hard link up": [entry("l", kind=HARD, link="../secret")],
    "hard link to nothing": [entry("l", kind=HARD, link="nothing")],
    "hard link to a folder": [entry("d", kind=DIR), entry("l", kind=HARD, link="d")],
    "loop": [entry("a", kind=SYMLINK, link="b"), entry("b", kind=SYMLINK, link="a"), entry("a/x", b"x")],
    "whiteout of nothing": [entry("d/.wh.")],
    "whiteout up": [entry("d/.wh...")],
    "long path": [entry("x/" * 3000 + "y", b"x")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_layers_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(BadArchive):
        unpack(tmp_path / "r", layer(*HOSTILE[name]))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r", "secret"]


@pytest.mark.parametrize("target", ["..", "/", "{outside}", "../../../../.."])
def test_links_never_lead_out(tmp_path: Path, target: str) -> None:
    """A link to the outside, then a file and a whiteout through it: both stay in the tree."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("keep")
    link = target.format(outside=outside)
    entries = (
        entry("l", kind=SYMLINK, link=link),
        entry("l/evil", b"evil"),
        entry("l/.wh.keep"),
        entry("h", kind=HARD, link="l/evil"),
        entry(f"l{outside}/evil", b"evil"),
    )
    root = unpack(tmp_path / "r", layer(*entries))
    assert tree(outside) == {"keep": "keep"}
    assert "h" in tree(root)
    assert {path.name for path in tmp_path.iterdir()} == {"outside", "r"}


def test_a_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    """It may be a hard link into another image's tree."""
    root = unpack(tmp_path / "r", layer(entry("f", b"old")))
    os.link(root / "f", tmp_path / "other")
    unpack(root, layer(entry("f", b"new")))
    assert ((tmp_path / "other").read_text(), (root / "f").read_text()) == ("old", "new")


def test_devices_are_left_out(tmp_path: Path) -> None:
    disk = entry("disk", kind=tarfile.BLKTYPE)
    disk[0].devmajor, disk[0].devminor = 254, 0
    assert tree(unpack(tmp_path / "r", layer(disk, entry("f", b"1")))) == {"f": "1"}
    assert not (tmp_path / "r" / "disk").exists()


def test_bounds(tmp_path: Path) -> None:
    with pytest.raises(BadArchive, match="more than 10 bytes"):
        unpack(tmp_path / "a", layer(entry("f", b"x" * 11)), bounds=Bounds(unpacked=10))
    with pytest.raises(BadArchive, match="more than 2 files"):
        unpack(tmp_path / "b", layer(*(entry(str(n)) for n in range(3))), bounds=Bounds(entries=2))


def test_a_damaged_layer_is_noticed(tmp_path: Path) -> None:
    good = layer(entry("f", b"x" * 1000))
    unpacker = Unpacker(tmp_path, Bounds())
    with pytest.raises(BadArchive, match="its digest is"):
        unpacker.apply(io.BytesIO(good.replace(b"x" * 1000, b"y" * 1000)), digest(good))
    with pytest.raises(BadArchive, match="damaged"):
        unpacker.apply(io.BytesIO(good[:700]), digest(good))


def owned(name: str, uid: int, mode: int) -> Entry:
    found = entry(name, kind=DIR, mode=mode)
    found[0].uid = uid
    return found


@pytest.mark.parametrize("layers", [1, 2])
def test_a_folder_whose_parent_became_a_link_changes_nothing_outside(tmp_path: Path, layers: int) -> None:
    """Modes and owners of folders are set last; by then their path may lead somewhere else."""
    machine = tmp_path / "machine"
    (machine / "cron.d").mkdir(parents=True)
    (machine / "cron.d").chmod(0o755)
    folders = [owned("a", 0, 0o755), owned("a/cron.d", 12345, 0o777)]
    link = [entry("a", kind=SYMLINK, link=str(machine))]
    unpack(tmp_path / "r", *([layer(*folders, *link)] if layers == 1 else [layer(*folders), layer(*link)]))
    found = (machine / "cron.d").stat()
    assert (found.st_mode & 0o7777, found.st_uid) == (0o755, os.geteuid())


def test_what_a_folder_was_like_goes_with_it(tmp_path: Path) -> None:
    below = layer(
        entry("a", kind=DIR, mode=0o700), entry("a/b", kind=DIR, mode=0o711), entry("c", kind=DIR, mode=0o711)
    )
    above = layer(entry(".wh.a"), entry("a/b/file", b"1"))
    root = unpack(tmp_path / "r", below, above)
    assert [(root / path).stat().st_mode & 0o777 for path in ("a", "a/b", "c")] == [0o755, 0o755, 0o711]
