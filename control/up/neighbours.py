"""The other clusters of `fluyt up` on this machine: a folder of links to theirs, and what follows for ours.

    /run/fluyt/clusters/<hash of the folder>   text: the folder; a note, no more: what counts is its cluster.json

Only root has need of it: without root Services have no addresses of their own, so there is nothing to clash but ports,
which nobody listens on yet while two are founded at once.
Invariants: while a cluster is founded, no other is (lock); a note of a folder that holds no cluster is removed.
Faults assumed: folders are deleted by hand; the machine restarts (notes go, and come again with each cluster's start).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from control.up import plan as plans
from control.up import ranges
from control.up.children import Children
from control.up.plan import Plan, UpError
from control.up.ports import free_ports

log = logging.getLogger(__name__)

_NOTES: Final = Path("/run/fluyt/clusters")


class Neighbours:
    """Of the cluster in that folder. notes: where they are, None for a machine whose clusters cannot clash."""

    def __init__(self, folder: Path, notes: Path | None = None) -> None:
        self._folder = folder.absolute()
        self._notes = notes or (_NOTES if os.geteuid() == 0 else None)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else is founded meanwhile."""
        if self._notes is not None:
            try:
                self._notes.mkdir(mode=0o755, parents=True, exist_ok=True)
            except OSError as problem:
                log.info("other clusters of this machine cannot be known: %s", problem)
                self._notes = None
        if self._notes is None:
            yield
            return
        handle = os.open(self._notes / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def free_ports(self, count: int) -> list[int]:
        """Ports that nobody listens on and that no other cluster has, be it up or not. OSError: not so many."""
        taken = set[int]().union(*(other.ports for other in self._others().values()))
        return free_ports(count, besides=taken)

    def settle(self, plan: Plan) -> Plan:
        """With ranges, where it has none yet. Raises UpError: one is another cluster's that is up."""
        others = self._others()
        up = {folder: other for folder, other in others.items() if _is_up(folder)}
        if not plan.service_range:
            found = _choose(ranges.SERVICES, [[each.services for each in of.values()] for of in (others, up)])
            plan = replace(plan, service_range=found)
        if plan.network == "bridge" and not plan.pod_range:
            found = _choose(ranges.PODS, [[each.pods for each in of.values() if each.pods] for of in (others, up)])
            plan = replace(plan, pod_range=found)
        for folder, other in up.items():
            _refuse_clash(plan, folder, other)
        self._note()
        return plan

    def _others(self) -> dict[Path, Plan]:
        """By folder; what is no cluster any more is forgotten."""
        found = {}
        for note in sorted(self._notes.glob("[0-9a-f]*")) if self._notes else ():
            with contextlib.suppress(OSError):
                folder = Path(note.read_text())
                with contextlib.suppress(UpError):
                    plan = plans.read(folder)
                    if plan is not None and folder != self._folder:
                        found[folder] = plan
                    if plan is not None:
                        continue
                note.unlink(missing_ok=True)
        return found

    def _note(self) -> None:
        if self._notes is not None:
            name = hashlib.sha256(str(self._folder).encode()).hexdigest()[:16]
            (self._notes / name).write_text(str(self._folder))


def _choose(candidates: Sequence[str], taken: Sequence[Sequence[str]]) -> str:
    """Best one that no cluster has; else one that no cluster that is up has; the first when there is none."""
    routes = _routes()
    return next(filter(None, (ranges.choose(candidates, each, routes) for each in taken)), candidates[0])


def _refuse_clash(plan: Plan, folder: Path, other: Plan) -> None:
    """Two clusters that run containers must not share addresses while both are up."""
    if not (plan.nodes and other.nodes):
        return
    cure = f"stop that one with fluyt down --data-dir {folder}, or found this one in another --data-dir"
    if ranges.overlapping(plan.services, [other.services]):
        raise UpError(
            f"Services have addresses of {plan.services}, and those of the cluster in {folder}, which is up, of "
            f"{other.services}; {cure} with another --service-cluster-ip-range"
        )
    if plan.pods and other.pods and ranges.overlapping(plan.pods, [other.pods]):
        raise UpError(f"pods have addresses of {plan.pods}, as those of the cluster in {folder}, which is up; {cure}")


def _is_up(folder: Path) -> bool:
    """Whether anything of it runs, or is being started."""
    children = Children(folder)
    return any(children.pid(path.stem) is not None for path in children.run.glob("*.pid"))


def _routes() -> list[str]:
    with contextlib.suppress(OSError, ValueError):
        return ranges.parse_routes(Path("/proc/net/route").read_text())
    return []
