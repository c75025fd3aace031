"""The real member on simulated ground: which names of its modules stand for simulated things, and what is watched.

Everything between the peer port's calls and the disk's is the production code: links, driver, outbox, committer,
duties, queues, applier, store, lessor, watch hub, log, snapshot transfer, bootstrap. Replaced are the loop, the
threads and calls that wait for the disk, `os` (sim_os), LMDB (sim_backend), gRPC's bytes (sim_net), clocks and dice.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from sim_backend import SimBackend, Tables, open_view
from sim_checks import goes_on
from sim_disk import Disk
from sim_net import Network
from sim_os import ROOT, SimOs
from sim_world import PowerCut, World

from kvstore.member import bootstrap, duties, leader_calls, transfer, waiting
from kvstore.member import member as member_module
from kvstore.member.apply import applier, batch_apply, retention
from kvstore.member.consensus import busy_poll, committed, driver, read_rounds
from kvstore.member.consensus.outbox import Outbox
from kvstore.member.disk import committer, log_sync
from kvstore.member.member import Member
from kvstore.member.peers import dial
from kvstore.member.peers import link as peer_link
from kvstore.raft.types import Entry, Ready, Role
from kvstore.storage.log import Log, segments
from kvstore.wire.channel import Channel


class SimSyncThread:
    """Stands in for SyncThread: the call happens at the start or at the end of its time, and reports later."""

    def __init__(self, world: World, loop: Any, name: str, work: Callable[[], Any], done: Callable[..., None]) -> None:
        self._world = world
        self._loop = loop
        self._work = work
        self._done = done
        self.busy = False
        self.seconds = 0.0
        self._called = False
        self._problem: Exception | None = None

    def refuses(self) -> bool:
        """One time in ten."""
        return self._world.random.random() < 0.1

    def start(self) -> None:
        """Begin one call."""
        self.busy = True
        world, life = self._world, self._world.life
        assert life is not None
        self._called = False
        self.seconds = world.random.expovariate(1 / 0.003)
        early = world.random.random() < 0.5
        if early:
            world.at(world.now, life, self._call)
        world.at(world.now + self.seconds, life, self._end, not early)

    def _call(self) -> None:
        self._called = True
        self._problem = None
        try:
            self._work()
        except PowerCut:
            raise
        except Exception as problem:
            self._problem = problem
        life = self._world.life
        assert life is not None
        self.seconds += life.spent
        life.spent = 0.0  # it is a thread's time, not the loop's

    def _end(self, call: bool) -> None:
        if call:
            self._call()
        self.busy = False
        self._done(self._problem)

    def stop(self) -> Exception | None:
        """After the call under way; how it ended."""
        if not self.busy:
            return None
        self.busy = False
        if not self._called:
            self._call()
        return self._problem


class SimKernelSync:
    """Stands in for KernelSync in the same way."""

    def __init__(self, world: World, loop: Any, done: Callable[[OSError | None], None]) -> None:
        self._thread = SimSyncThread(world, loop, "kernel", lambda: os.fdatasync(self._descriptor), done)
        self._descriptor = -1

    def start(self, fd: int) -> bool:
        """Begin; now and then the kernel does not take it."""
        if self._thread.refuses():
            return False
        self._descriptor = fd
        self._thread.start()
        return True

    def close(self) -> Exception | None:
        """After the one under way; how it ended."""
        return self._thread.stop()


class ObservedLog(Log):
    """The real log; what was appended is shown to the checks."""

    __slots__ = ("watch",)

    def append(self, entries: Any, hard_state: Any = None) -> None:
        """As Log's."""
        previous = self.term(entries[0].index - 1) if entries and entries[0].index > self.first_index() - 1 else 0
        before = self.initial_state()[0]
        super().append(entries, hard_state)
        goes_on(before, self.initial_state()[0])
        if entries and self.watch is not None:
            self.watch(previous, entries)


class SimMember(Member):
    """The real member; what it applies and who leads is shown to the checks."""

    observer: Any = None

    def apply(self, entry: Entry, late: Callable[[], bool]) -> bool:
        """As Member's."""
        fresh = entry.index > self.state.applied_index
        if fresh and not self.applying.under_way:
            self.observer.applying(self, entry)
        finished = super().apply(entry, late)
        if fresh and finished:
            self.observer.applied(self, entry)
        return finished

    def state_changed(self, leader: int, role: Role) -> None:
        """As Member's."""
        super().state_changed(leader, role)
        self.observer.state_changed(self, leader, role)

    def install_snapshot(self, ready: Ready, done: Callable[[], None]) -> None:
        """As Member's."""

        def installed() -> None:
            self.observer.installed(self)
            done()

        super().install_snapshot(ready, installed)


def _raise_again(message: str) -> None:
    problem = sys.exception()
    assert problem is not None
    raise problem


class Ground:
    """The machines of one run: disks, tables, copies, the network."""

    def __init__(self, world: World, members: list[int], segment_bytes: int) -> None:
        self.world = world
        self.net = Network(world)
        self.disks = {n: Disk(world, n) for n in members}
        self.tables = {n: Tables() for n in members}
        self.copies: dict[bytes, dict[str, dict[bytes, bytes]]] = {}
        self.segment_bytes = segment_bytes
        self.watch_log: Callable[..., None] | None = None
        for disk in self.disks.values():
            disk.mkdir(f"{ROOT}{disk.member}")
            disk.durable = dict(disk.present)

    # ---- what stands in for the module's names

    def _open_backend(self, directory: Any, **_: Any) -> SimBackend:
        number = int(str(directory)[len(ROOT) :].partition("/")[0])
        disk = self.disks[number]
        if str(directory) not in disk.present:
            disk.mkdir(str(directory))
            disk.durable[str(directory)] = disk.present[str(directory)]
        return SimBackend(disk, self.tables[number], self.copies)

    def _log(self, make: Callable[..., Log], directory: Any, **options: Any) -> Log:
        log: Any = make(directory, segment_bytes=self.segment_bytes, cache_bytes=4096, **options)
        log.watch = self.watch_log
        return log  # type: ignore[no-any-return]

    def _open_view(self, path: Any) -> Any:
        disk = self.disks[int(str(path)[len(ROOT) :].partition("/")[0])]
        return open_view(self.copies, disk, path)

    def _clock(self) -> float:
        life = self.world.life
        return self.world.now + (life.spent + life.offset if life is not None else 0.0)

    @contextmanager
    def installed(self, scale: float) -> Iterator[None]:
        """While in this context the member's modules live here. scale: its small waits are so many times as long."""
        world = self.world
        clock = SimpleNamespace(perf_counter=self._clock, monotonic=self._clock)
        threads = functools.partial(SimSyncThread, world)
        kernel = SimpleNamespace(open=functools.partial(SimKernelSync, world))
        dice = SimpleNamespace(SystemRandom=lambda: world.random, uniform=world.random.uniform)
        # A member goes on when serving a client fails. Here clients are the checks.
        clients = SimpleNamespace(exception=_raise_again)
        patches: list[tuple[Any, dict[str, Any]]] = [
            (
                bootstrap,
                {
                    "Backend": SimpleNamespace(open=self._open_backend),
                    "Log": SimpleNamespace(
                        create=functools.partial(self._log, ObservedLog.create),
                        open=functools.partial(self._log, ObservedLog.open),
                    ),
                    "random": dice,
                },
            ),
            (
                driver,
                {"Outbox": functools.partial(Outbox, clock=self._clock)},
            ),
            (committed, {"time": clock, "SLICE_SECONDS": -1.0}),  # every turn is over at once
            (log_sync, {"SyncThread": threads, "RingSync": kernel, "time": clock}),
            (busy_poll, {"POLL_SECONDS": 0.0}),
            (read_rounds, {"NEXT_SECONDS": 0.0, "log": clients}),
            (batch_apply, {"log": clients}),
            (applier, {"LARGE_DELETE": 0, "SLICE_KEYS": 1}),
            (
                committer,
                {
                    "SyncThread": threads,
                    "COMMIT_SECONDS": 0.1 * scale,
                    "COMMIT_REQUESTS": 40,
                    "time": SimpleNamespace(thread_time=self._clock),
                },
            ),
            (member_module, {"random": dice, "LAG_INTERVAL": 1e9}),
            (waiting, {"READ_RETRY_SECONDS": 0.5 * scale}),
            (
                peer_link,
                {
                    "CONNECT_SECONDS": scale,
                    "BACKOFF_SECONDS": tuple(b * scale for b in peer_link.BACKOFF_SECONDS),
                    "PROBE_SECONDS": 20 * scale,
                },
            ),
            (leader_calls, {"RETRY_SECONDS": 0.05 * scale, "CALL_SECONDS": scale, "time": clock}),
            (duties, {"LEASE_SECONDS": 0.1 * scale}),
            (retention, {"KEEP_ENTRIES": 12}),
            (transfer, {"open_view": self._open_view}),
            (segments, {"time": clock}),
            (dial, {"ClientTls": lambda files: None}),
            (Channel, {"connect": self.net.connect}),
        ]
        level = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        with ExitStack() as stack:
            for owner, names in patches:
                stack.enter_context(mock.patch.multiple(owner, **names))
            if hasattr(bootstrap, "time"):
                wall = SimpleNamespace(time_ns=lambda: int((world.now + world.wall_offset) * 1e9))
                stack.enter_context(mock.patch.object(bootstrap, "time", wall))
            stack.enter_context(SimOs(self.disks, world.random.randbytes).installed())
            try:
                yield
            finally:
                logging.disable(level)
