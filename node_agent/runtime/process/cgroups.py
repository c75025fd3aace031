"""Limits and usage by control groups, version 1 (also beside an empty v2, as on hybrid machines) and version 2.

One group per container, named by its id, below `fluyt` of each hierarchy. What a hierarchy lacks is left out and
said in `lacks`: a container without its limits is better than none, and the node's owner can read why.
Source: kernel documentation, cgroup-v1/ and cgroup-v2.rst.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from node_agent.runtime.types import Resources

log = logging.getLogger(__name__)

PARENT = "fluyt"
_V1 = ("memory", "cpu", "cpuacct", "pids", "cpuset")
_V2 = ("memory", "cpu", "pids", "cpuset")
_UNLIMITED = 2**62
# Seconds that the ends of killed processes are waited for; a crowded machine takes its time.
_PATIENCE, _FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 0.01, 0.2


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the hierarchies are: v1 controller → folder, or the one folder of v2 with what it controls."""

    v1: dict[str, Path] = field(default_factory=dict)
    v2: Path | None = None
    controllers: frozenset[str] = frozenset()
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU in nanoseconds, the rest in bytes and numbers."""

    cpu: int = 0
    memory: int = 0
    working_set: int = 0
    rss: int = 0
    pids: int = 0


def find_layout(mountinfo: str) -> Layout:
    """From /proc/self/mountinfo, and by making our parent groups."""
    mounts = [_mount(line) for line in mountinfo.splitlines()]
    v2 = next((Path(point) for kind, point, _ in mounts if kind == "cgroup2"), None)
    named = {name: Path(point) for kind, point, options in mounts if kind == "cgroup" for name in options}
    v1 = {name: named[name] for name in _V1 if name in named}
    try:
        if "memory" not in v1 and v2 is not None:
            return _prepare_v2(v2)
        return _prepare_v1(v1)
    except OSError as problem:
        return Layout(lacks=(f"cgroups cannot be made ({problem}): containers have no limits and no usage figures",))


def _mount(line: str) -> tuple[str, str, list[str]]:
    front, _, back = line.partition(" - ")
    kind, _, options = [*back.split(" ", 2), "", ""][:3]
    return kind, front.split()[4], options.split(",")


def _prepare_v1(found: dict[str, Path]) -> Layout:
    if not found:
        return Layout(lacks=("no cgroup hierarchy is mounted: containers have no limits and no usage figures",))
    for folder in found.values():
        (folder / PARENT).mkdir(exist_ok=True)
        _try(folder / PARENT)
    lacks = tuple(f"cgroup controller {name} is missing" for name in _V1[:4] if name not in found)
    if "cpuset" in found:
        _inherit_cpuset(found["cpuset"] / PARENT)
    return Layout(v1={name: folder / PARENT for name, folder in found.items()}, lacks=lacks)


def _prepare_v2(root: Path) -> Layout:
    parent = root / PARENT
    parent.mkdir(exist_ok=True)
    _try(parent)
    for folder in (root, parent):
        _enable(folder)
    has = frozenset((parent / "cgroup.subtree_control").read_text().split())
    lacks = tuple(
        f"cgroup controller {name} cannot be passed on to containers (processes in {root}, or not delegated)"
        for name in _V2[:3]
        if name not in has
    )
    return Layout(v2=parent, controllers=has, lacks=lacks)


def _try(parent: Path) -> None:
    """Another user may have made it: whether we may have groups in it. Raises OSError."""
    group = parent / f"try-{os.getpid()}"
    group.mkdir(exist_ok=True)
    group.rmdir()


def _enable(folder: Path) -> None:
    """One by one: a controller that is missing must not cost the others."""
    for name in set((folder / "cgroup.controllers").read_text().split()) & set(_V2):
        try:
            (folder / "cgroup.subtree_control").write_text(f"+{name}")
        except OSError:
            continue


def _inherit_cpuset(folder: Path) -> None:
    """v1: a new group has no CPUs and no memory nodes until it is given some."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if not (folder / name).read_text().strip():
            (folder / name).write_text((folder.parent / name).read_text())


class Cgroups:
    """The groups of one machine's containers. Blocking; quick."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._left: set[str] = set()  # groups that could not be removed yet
        self._lock = threading.Lock()

    def folders(self, name: str) -> list[Path]:
        """Where the processes of a container go."""
        if self.layout.v2 is not None:
            return [self.layout.v2 / name]
        return list(dict.fromkeys((folder / name).resolve() for folder in self.layout.v1.values()))

    def oom_file(self, name: str) -> str:
        if self.layout.v2 is not None:
            return str(self.layout.v2 / name / "memory.events")
        return str(self.layout.v1["memory"] / name / "memory.oom_control") if "memory" in self.layout.v1 else ""

    def create(self, name: str, resources: Resources) -> None:
        """Raises OSError, which names the file."""
        for folder in self.folders(name):
            folder.mkdir(exist_ok=True)
        if "cpuset" in self.layout.v1:
            _inherit_cpuset(self.layout.v1["cpuset"] / name)
        self.limit(name, resources)

    def limit(self, name: str, resources: Resources) -> None:
        """Set all limits, also those that are none. Raises OSError."""
        settings = _v2_settings(resources) if self.layout.v2 is not None else _v1_settings(resources)
        for controller, file, value in settings:
            base = self.layout.v1.get(controller)
            if self.layout.v2 is not None and controller in self.layout.controllers:
                base = self.layout.v2
            if base is not None and value:
                (base / name / file).write_text(value)

    def remove(self, name: str) -> None:
        """Kill what is left in them and take the groups away. Ended processes keep a group for a moment, so it is
        tried again; what stays nevertheless is tried again with the next one.
        """
        deadline, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
        while not (removed := self._tried(name)) and time.monotonic() < deadline:
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        if not removed:
            log.warning("the cgroup of container %s cannot be removed yet", name[:12])
        with self._lock:
            left = {each for each in self._left - {name} if not self._tried(each)}
            self._left = left if removed else left | {name}

    def _tried(self, name: str) -> bool:
        """Whether nothing is left of the groups."""
        left = [folder for folder in self.folders(name) if not _removed(folder)]
        for folder in left:
            _kill_all(folder)
        return not left

    def usage(self, name: str) -> Usage | None:
        """None: there is no such group, or no figures."""
        try:
            return self._usage_v2(name) if self.layout.v2 is not None else self._usage_v1(name)
        except (OSError, ValueError):
            return None

    def _usage_v1(self, name: str) -> Usage | None:
        if "memory" not in self.layout.v1 or "cpuacct" not in self.layout.v1:
            return None
        memory = self.layout.v1["memory"] / name
        stat = _pairs(memory / "memory.stat")
        used = _number(memory / "memory.usage_in_bytes")
        pids = self.layout.v1.get("pids")
        return Usage(
            cpu=_number(self.layout.v1["cpuacct"] / name / "cpuacct.usage"),
            memory=used,
            working_set=max(0, used - stat.get("total_inactive_file", 0)),
            rss=stat.get("total_rss", 0),
            pids=_number(pids / name / "pids.current") if pids else 0,
        )

    def _usage_v2(self, name: str) -> Usage:
        folder = (self.layout.v2 or Path()) / name
        has = self.layout.controllers
        used = _number(folder / "memory.current") if "memory" in has else 0
        stat = _pairs(folder / "memory.stat") if "memory" in has else {}
        return Usage(
            cpu=_pairs(folder / "cpu.stat").get("usage_usec", 0) * 1000,
            memory=used,
            working_set=max(0, used - stat.get("inactive_file", 0)),
            rss=stat.get("anon", 0),
            pids=_number(folder / "pids.current") if "pids" in has else 0,
        )


def _removed(top: Path) -> bool:
    for folder, _, _ in os.walk(top, topdown=False):
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _kill_all(top: Path) -> None:
    for folder, _, _ in os.walk(top):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(folder, "cgroup.procs").read_text().split():
                os.kill(int(line), signal.SIGKILL)


def _v1_settings(resources: Resources) -> list[tuple[str, str, str]]:
    return [
        ("memory", "memory.limit_in_bytes", str(resources.memory or -1)),
        ("cpu", "cpu.shares", str(resources.cpu_shares or 1024)),
        ("cpu", "cpu.cfs_period_us", str(resources.cpu_period)),
        ("cpu", "cpu.cfs_quota_us", str(resources.cpu_quota or -1)),
        ("pids", "pids.max", str(resources.pids or "max")),
        ("cpuset", "cpuset.cpus", resources.cpuset_cpus),
    ]


def _v2_settings(resources: Resources) -> list[tuple[str, str, str]]:
    return [
        ("memory", "memory.max", str(resources.memory or "max")),
        ("cpu", "cpu.weight", str(weight(resources.cpu_shares))),
        ("cpu", "cpu.max", f"{resources.cpu_quota or 'max'} {resources.cpu_period}"),
        ("pids", "pids.max", str(resources.pids or "max")),
        ("cpuset", "cpuset.cpus", resources.cpuset_cpus),
    ]


def weight(shares: int) -> int:
    """cgroup v2's weight (1-10000) of v1's shares (2-262144; 0: the default 1024), as container runtimes map them."""
    shares = min(max(shares or 1024, 2), 262144)
    return 1 + (shares - 2) * 9999 // 262142


def _number(path: Path) -> int:
    text = path.read_text().strip()
    return _UNLIMITED if text == "max" else int(text)


def _pairs(path: Path) -> dict[str, int]:
    rows = (line.split() for line in path.read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}
