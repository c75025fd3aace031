"""A cluster in a folder: brought up, watched over, taken down.

    FOLDER/cluster.json  the plan        FOLDER/lock      held by the `fluyt up` that is at work
    FOLDER/admin.conf    the kubeconfig  FOLDER/MASTER/   data and kubeconfigs of one master; FOLDER/NODE/ of one node

Invariants: a second `up` never starts what runs; whatever a failed start began, it ends, and the plan that it followed
is not the one that stays. Faults assumed: any process, `up` among them, is killed at any moment; ports are taken by
others between two starts.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from control.up import plan as plans
from control.up.children import Children
from control.up.neighbours import Neighbours
from control.up.places import SIMULATED
from control.up.plan import Plan, UpError, Wishes
from control.up.ready import Probe, come
from control.up.refusals import refuse_impossible, refuse_other_runtime, refuse_wrong_flags
from control.up.rows import Row, table
from kvstore.cli.main import COMMANDS

Say = Callable[[str], None]

# The pid file of `up` itself.
SUPERVISOR: Final = "up"
# In which a start must have got on.
_START_SECONDS: Final = 60.0


class Cluster:
    """The cluster in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children = Children(folder)
        self.plan: Plan | None = plans.read(folder)
        self._interrupted: Callable[[], bool] = lambda: False
        # What the cluster was before prepare(), until a start has shown that what it is now works.
        self._before: Plan | None = None
        self._confirmed = True
        # Nodes that prepare() has ended.
        self.ended: list[str] = []
        # What stop() and prepare() could not clean up, a line each.
        self.left_behind: list[str] = []
        # Node → what it runs short of, as it was when the cluster was ready.
        self.pressed: dict[str, list[str]] = {}

    @property
    def admin_conf(self) -> Path:
        """The kubeconfig of the cluster's administrator."""
        return self.folder / "admin.conf"

    @property
    def rows(self) -> list[Row]:
        """The table of processes; empty before there is a plan."""
        return self._rows_of(self.plan) if self.plan else []

    def _rows_of(self, plan: Plan) -> list[Row]:
        return [row for row in table(self.folder, plan) if row.role in COMMANDS]

    def running(self) -> list[str]:
        """The names of the rows whose processes run."""
        return [row.name for row in self.rows if self.children.pid(row.name) is not None]

    def prepare(self, wishes: Wishes, judge: Callable[[Plan], None] = lambda plan: None) -> Plan:
        """Decide on the plan and write it down; nodes that it no longer has are ended.

        judge(plan): raises what is against it, before anything is done. Raises UpError, OSErrors.
        """
        neighbours = Neighbours(self.folder)
        with neighbours.locked():
            return self._prepared(neighbours, wishes, judge)

    def _prepared(self, neighbours: Neighbours, wishes: Wishes, judge: Callable[[Plan], None]) -> Plan:
        before = self.plan
        wanted = plans.decide(before, wishes, neighbours.free_ports, f"fluyt-{secrets.token_hex(8)}")
        refuse_impossible(wanted)
        if any(row.role == "agent" and self.children.pid(row.name) is not None for row in self.rows):
            refuse_other_runtime(before, wanted, self.folder)
        if wishes.extra:
            refuse_wrong_flags(self._rows_of(wanted))
        judge(wanted)
        self._before, self._confirmed = before, False
        self.plan = neighbours.settle(wanted)
        if before is not None:
            self._retire(before, {node.name for node in self.plan.nodes})
        plans.write(self.folder, self.plan)
        return self.plan

    def confirm(self) -> None:
        """The plan works: it stays."""
        self._confirmed = True

    def revert(self) -> None:
        """Unless it was confirmed, the plan of before prepare() comes back: one that works. Of a first one all stays
        but what was asked by --extra-config, which nobody would look for in a folder. OSErrors.
        """
        if not self._confirmed and self.plan is not None:
            self.plan = plans.taken_back(self._before, self.plan)
            plans.write(self.folder, self.plan)

    def _retire(self, before: Plan, kept: set[str]) -> None:
        gone = [node for node in before.nodes if node.name not in kept]
        self.ended = [node.name for node in gone]
        self.children.stop([f"{node.name}-agent" for node in gone])
        if gone:
            from control.up.sweep import sweep

            self.left_behind = sweep(self.folder, replace(before, nodes=gone))

    def start(self, say: Say, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Start what does not run, and return when all of it is ready.

        Raises UpError, also when `interrupted` says so; then what was begun is ended.
        """
        self._interrupted = interrupted
        before = set(self.running())
        missing = [row for row in self.rows if row.name not in before]
        try:
            self._start(missing, say)
        except BaseException:
            self.children.stop([row.name for row in reversed(missing)])
            raise

    def _start(self, rows: Sequence[Row], say: Say) -> None:
        # Loaded here: `fluyt down` needs none of it.
        from control.client import kubeconfig

        plan = self.planned()
        self._renew_store()
        self._begin(rows, 0)
        self._renew_rest()
        self._begin(rows, 1)
        probe = Probe(kubeconfig.load(self.admin_conf).ssl_context())
        for url, master in zip(plan.api_urls, plan.masters, strict=True):
            say(f"{master.name}: waiting for the API server at {url}")
            self._until(lambda url=url: not probe.serving(url), rows, f"the API server at {url}")  # type: ignore[misc]
        since = _agents_since(rows, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        self._begin(rows, 2)
        if plan.node_count:
            # Pods need it; without nodes nobody waits for pods.
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            say("waiting for the controllers")
            self._until(lambda: not probe.has(plan.api_urls[0], account), rows, "the controllers")
            say(f"waiting for {plan.node_count} nodes")
            names = {node.name for node in plan.nodes}
            self._until(lambda: _unready(probe, plan, names, since), rows, "the nodes to be Ready")
            self.pressed = probe.pressed_nodes(plan.api_urls[0])

    def forget_nodes(self) -> list[str]:
        """Delete the Node objects of nodes that were ended, so that nobody waits for them: their pods go by that, too.
        The names of those that the API server did not let go; the next `up` tries again. OSErrors.
        """
        plan = self.planned()
        if not plan.retired:
            return []
        from control.client import kubeconfig

        probe = Probe(kubeconfig.load(self.admin_conf).ssl_context())
        left = [name for name in plan.retired if not probe.delete(plan.api_urls[0], f"/api/v1/nodes/{name}")]
        self.plan = replace(plan, retired=left)
        plans.write(self.folder, self.plan)
        return left

    def changed(self) -> list[str]:
        """The processes that run with other flags than the plan now has for them."""
        return [row.name for row in self.rows if self.children.runs_otherwise(row)]

    def _renew_store(self) -> None:
        """Make or renew the certificates of a store of our own. Raises UpError, OSErrors."""
        from control.up import credentials

        if self.planned().etcd is None:
            try:
                credentials.ensure_store(self.folder, datetime.now(UTC))
            except ValueError as problem:
                raise UpError(str(problem)) from None

    def _renew_rest(self) -> None:
        """All others; raises likewise."""
        from control.up import credentials

        try:
            credentials.ensure_rest(self.folder, self.planned(), datetime.now(UTC))
        except ValueError as problem:
            raise UpError(str(problem)) from None

    def _begin(self, rows: Sequence[Row], stage: int) -> None:
        for row in rows:
            if row.stage == stage:
                self.children.start(row)

    def _until(self, missing: Callable[[], int], rows: Sequence[Row], what: str) -> None:
        if not come(missing, lambda: self._check(rows), _START_SECONDS):
            raise UpError(f"waited {_START_SECONDS:.0f} s for {what} in vain; the logs are in {self.children.logs}")

    def _check(self, rows: Sequence[Row]) -> None:
        if self._interrupted():
            raise UpError("interrupted")
        for row in rows:
            how = self.children.ended(row)
            if how is not None:
                words = self.children.last_words(row.name)
                raise UpError(f"{row.name} ended at its start ({how}). Its last words:\n{words}{self._cure(row)}")

    def _cure(self, row: Row) -> str:
        """What may be to blame and is not on this command line."""
        flags = self._before.extra_flags(row.role) if self._before else {}
        if not flags:
            return ""
        asked = " ".join(f"--extra-config {row.role}.{name}={value}" for name, value in flags.items())
        return f"\nAn earlier fluyt up had {asked}; the same without the value takes it back"

    def planned(self) -> Plan:
        """The plan. Raises UpError when there is none."""
        if self.plan is None:
            raise UpError(f"there is no cluster in {self.folder}; fluyt up makes one")
        return self.plan

    def stop(self) -> list[str]:
        """Stop every process: agents first, then brains, API servers, store; and, while those go, the containers, which
        nobody looks after any more. The names of the processes that ran.
        """
        stopped = self._stop_roles("agent")
        with ThreadPoolExecutor(1) as pool:
            masters = pool.submit(self._stop_masters)
            if self.plan is not None and self.plan.nodes:
                from control.up.sweep import sweep

                self.left_behind = sweep(self.folder, self.plan)
            return [*stopped, *masters.result()]

    def _stop_masters(self) -> list[str]:
        brains = self._stop_roles("scheduler", "controllers")
        return [*brains, *self._stop_roles("apiserver"), *self._stop_roles("store")]

    def _stop_roles(self, *roles: str) -> list[str]:
        return self.children.stop([row.name for row in self.rows if row.role in roles])

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The folder, made if it is not there, for this `up` alone. Raises UpError when another is at work on it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = self.children.pid(SUPERVISOR)
                who = f" (pid {pid})" if pid else ""
                raise UpError(
                    f"another fluyt up{who} is at work on {self.folder}; "
                    f"stop it with fluyt down --data-dir {self.folder}, or choose another --data-dir"
                ) from None
            self.children.note(SUPERVISOR, os.getpid())
            # What another one did before we had the lock.
            self.plan = plans.read(self.folder)
            yield
            self.children.forget(SUPERVISOR)
        finally:
            os.close(handle)

    def is_up(self) -> bool:
        """Whether all of the cluster runs already (started by `fluyt up --detach`).

        Then its certificates are renewed where they are nearly over: what runs takes them up.
        """
        if self.plan is None or not self.runs(self.plan):
            return False
        self._renew_store()
        self._renew_rest()
        return True

    def runs(self, plan: Plan) -> bool:
        """Whether each process of that plan runs."""
        return all(self.children.pid(row.name) is not None for row in self._rows_of(plan))


def _agents_since(rows: Sequence[Row], now: str) -> Callable[[str], str]:
    """From when on a node's word counts: from now on, if its agent is one of those that are started now."""
    starting = {row.name for row in rows if row.role == "agent"}
    return lambda node: now if starting & {f"{node}-agent", f"{SIMULATED}-agent"} else ""


def _unready(probe: Probe, plan: Plan, names: set[str], since: Callable[[str], str]) -> int:
    """How many nodes are still to come. names: those that are known; simulated ones are only counted."""
    ready = probe.ready_nodes(plan.api_urls[0], since)
    return max(len(names - ready), plan.node_count - len(ready))


def default_folder() -> Path:
    """Where a cluster lives if the user does not say."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state, "fluyt", "up")
