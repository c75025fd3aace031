"""What the pages of scripts/bench say about the machine: facts, and no paths."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from support.bench.machine import file_system, interpreter, machine

MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
30 27 0:40 / /tmp rw - tmpfs tmpfs rw,size=1k
31 27 0:41 / /with\040space rw - xfs /dev/vdb rw
32 27 0:42 / /tmp rw - btrfs /dev/vdc rw
""".strip()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/home/me", "ext4"),
        ("/tmp", "btrfs"),
        ("/tmp/a/b", "btrfs"),
        ("/tmpfs", "ext4"),
        ("/with space/x", "xfs"),
    ],
)
def test_the_file_system_of_the_nearest_mount_that_was_made_last(folder: str, kind: str) -> None:
    assert file_system(PurePath(folder), MOUNTS) == kind


def test_a_file_system_that_is_not_to_be_found_is_said_to_be_unknown() -> None:
    assert file_system(PurePath("/home"), "") == "?"


@pytest.mark.parametrize(
    ("version", "prefix", "told"),
    [
        ("3.11.2 (main, Apr 28 2025, 14:11:48) [GCC 12.2.0]", "/usr", "Python 3.11.2 (Debian's build, GCC 12.2.0)"),
        ("3.11.2 (x) \n[Clang 15.0.0 ]", "/opt/python", "Python 3.11.2 (a build of its own, Clang 15.0.0)"),
        ("3.11.2 (x) [cc at /opt/bin]", "/usr", "Python 3.11.2 (Debian's build)"),
    ],
)
def test_the_interpreter_and_who_built_it(version: str, prefix: str, told: str) -> None:
    assert interpreter("3.11.2", version, prefix, "Debian") == told


def test_no_path_is_told_of_this_machine() -> None:
    found = machine()
    assert set(found) == {"processor", "memory", "system", "file system", "interpreter"}
    assert "/usr" not in str(found)
    assert "/tmp" not in str(found)
    assert "?" not in found["file system"]
