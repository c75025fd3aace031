"""One member of the store: what the services talk to.

It owns the event loop's share of everything: who asks waits (waiting.py), requests of one loop turn become one log
entry (proposals.py), Raft decides (driver.py), committed entries change the state (state.py) and answer whoever waits.
All methods are called on the loop; `done` callbacks run on it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kvstore.errors import EtcdError, error
from kvstore.member.apply.applying import Applying
from kvstore.member.apply.batch_apply import Late
from kvstore.member.apply.retention import Retention
from kvstore.member.bootstrap import Opened
from kvstore.member.config import Config
from kvstore.member.consensus.driver import Driver
from kvstore.member.corruption import Corruption
from kvstore.member.defragment import Defragmenter
from kvstore.member.disk.committer import Committer
from kvstore.member.duties import Duties
from kvstore.member.header import Headers
from kvstore.member.histogram import DISK_SECONDS, LAG_SECONDS, Histogram
from kvstore.member.introduction import introduce
from kvstore.member.leader_calls import LeaderCalls
from kvstore.member.learning import Learning
from kvstore.member.passwords import Passwords
from kvstore.member.peers import roster
from kvstore.member.peers.dial import Dialer
from kvstore.member.peers.links import PeerLinks
from kvstore.member.reconfigure import Reconfigurer
from kvstore.member.space import Space
from kvstore.member.standing import Standing
from kvstore.member.transfer import SnapshotTransfer
from kvstore.member.waiting import Waiting
from kvstore.raft.types import Entry, Message, Ready, Role
from kvstore.storage.errors import StorageError
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

LAG_INTERVAL = 0.5


class Member:
    """A running member. `opened` is what bootstrap found or made in the data directory."""

    def __init__(
        self,
        config: Config,
        opened: Opened,
        *,
        failed: Callable[[BaseException], None],
        removed: Callable[[], None] = lambda: None,
    ) -> None:
        """failed: called once if the member cannot go on; the process must end.

        removed: called once when the member was taken out of the cluster; the process must stop it.
        """
        self.loop = asyncio.get_running_loop()
        self.config = config
        self.id = opened.member_id
        self.state = opened.state
        self.store, self.watches, self.lessor = self.state.store, self.state.watches, self.state.lessor
        self.cluster, self.alarms = self.state.cluster, self.state.alarms
        self.auth, self.checks, self.tokens = self.state.auth, self.state.checks, self.state.tokens
        self.stopping = False
        self.leader_id = 0
        self.leader_changes = 0
        self.is_learner = False  # read with every request, so kept
        self.fsync_seconds, self.commit_seconds = Histogram(DISK_SECONDS), Histogram(DISK_SECONDS)
        self.loop_lag = Histogram(LAG_SECONDS)
        self._failed = failed
        self.headers = Headers(self.cluster.id, self.id)
        self._leader_hooks: dict[object, Callable[[], None]] = {}
        self._snapshot_dir = opened.snapshot_dir
        # What services ask of a member is asked of these.
        self.waiting = waiting = Waiting(self, opened.first_sequence)
        self.propose, self.propose_change = waiting.propose, waiting.propose_change
        self.linearizable, self.gather = waiting.linearizable, waiting.gather
        self.raise_alarm = waiting.raise_alarm
        self.dialer = Dialer(config.peer_tls)
        self.links = PeerLinks(self.cluster.id, self.id, self, self.dialer)
        queues = waiting.proposals, waiting.reads, waiting.changes
        self.driver = Driver(self.loop, opened.raw, opened.log, *queues, self)
        self.applying = Applying(
            self.loop,
            self.id,
            self.state,
            waiting.proposals,
            waiting.changes,
            configure=lambda entry: self._standing.apply(entry),
            wake=self.driver.wake,
        )
        self.driver.disk.observer = self.fsync_seconds.observe
        self._retention = Retention(opened.log, self.state, config.snapshot_count, self.failed)
        self.space = Space(
            self.id,
            config.quota,
            self.state.backend,
            opened.log,
            self.alarms,
            raise_alarm=self.raise_alarm,
            give_back=self._retention.give_back,
            in_thread=lambda work: self.loop.run_in_executor(None, work),
            waiting=lambda: waiting.proposals.size,
        )
        self.check_space = self.space.check
        self.committer = Committer(
            self.loop,
            self.state.backend,
            prepare=self.state.save_position,
            durable=self._durable,
            failed=self.failed,
        )
        self.committer.sync_observer = self.commit_seconds.observe
        self._transfer = SnapshotTransfer(self, opened)
        self.leader_calls = LeaderCalls(self, waiting.reads)
        self.reconfigurer = Reconfigurer(self)
        self._standing = Standing(self, waiting.changes, removed)
        self.state.applier.membership_changed = self.membership_changed
        self.passwords = Passwords(config.bcrypt_cost)
        self.duties = Duties(self)
        self.state.applier.compacted = self._compacted
        self.corruption = Corruption(self)
        self.defragmenter = Defragmenter(self, self._snapshot_dir)
        self._timers: list[asyncio.TimerHandle] = []
        self._learning = Learning(self)
        self.learn = self._learning.learn

    # ---- life ----

    def register_peer(self, server: GrpcServer) -> None:
        """Serve the peers' calls on the server of the peer port."""
        self.links.register(server)
        self._transfer.register(server)
        self.leader_calls.register(server)
        self.corruption.register(server)
        self.reconfigurer.register(server)
        roster.register(server, self.cluster)

    def start(self) -> None:
        """Connect to the peers and begin to tick."""
        self.headers.set_term(self.raw.term)
        self.membership_changed()
        self._tick()
        self._measure_lag(self.loop.time())
        self.duties.start()
        self.corruption.start()
        introduce(self)
        # A whole cluster that starts need not sit out an election timeout; if there is a leader, the pre-vote fails.
        # Who is alone has nobody to wait for.
        pause = random.uniform(0.05, 0.3) if len(self.cluster.members) > 1 else 0.0
        self._later(2, pause, self._first_campaign)
        self._learning.start()
        self.driver.wake()

    async def stop(self) -> None:
        """Hand leadership over if we have it, answer what still waits, make the state durable."""
        if self.stopping:
            return
        await self._hand_over()
        self.stopping = True
        self.duties.stop()
        for timer in self._timers:
            timer.cancel()
        self.driver.stop()
        self.applying.close()
        self.waiting.close()
        self.links.close()
        self.leader_calls.close()
        self.corruption.close()
        self.defragmenter.close()
        self.passwords.close()
        self.committer.stop()

    async def _hand_over(self) -> None:
        """A planned stop should cost the others no election timeout (etcd does the same)."""
        connected = self.links.connected() & set(self.raw.conf_state.voters)
        if self.raw.role != Role.LEADER or not connected:
            return
        progress = self.raw.status().progress
        target = max(connected, key=lambda peer: progress[peer].match if peer in progress else 0)
        self.raw.transfer_leader(target)
        self.driver.wake()
        deposed = asyncio.Event()
        forget = self.on_leader_change(deposed.set)
        try:
            async with asyncio.timeout(self.config.election_timeout / 1000):
                while self.raw.role == Role.LEADER:
                    deposed.clear()
                    await deposed.wait()
        except TimeoutError:
            log.warning("no other member took over the lead in an election timeout; stopping all the same")
        finally:
            forget()

    @property
    def raw(self) -> Any:
        """The Raft node, for status."""
        return self.driver.raw

    @property
    def is_leader(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self.leader_id == self.id

    # ---- requests ----

    def header(self, revision: int | None = None) -> bytes:
        """An encoded ResponseHeader; of the current revision unless told otherwise."""
        return self.headers.encode(self.store.revision if revision is None else revision)

    def header_field(self, revision: int) -> bytes:
        """The header as field 1 of a response."""
        return self.headers.field(revision)

    def on_leader_change(self, hook: Callable[[], None]) -> Callable[[], None]:
        """Call the hook whenever the known leader is another or none; returns what undoes it."""
        key = object()
        self._leader_hooks[key] = hook
        return lambda: self._leader_hooks.pop(key, None) and None

    def renew_lease(self, lease: int, done: Callable[[int | None, EtcdError | None], None]) -> None:
        """Renew on the leader: done(TTL, None), TTL 0 for an unknown lease."""
        self.leader_calls.renew(lease, done)

    def lease_time_to_live(self, lease: int, done: Callable[[Any, EtcdError | None], None]) -> None:
        """Ask the leader: done((left, granted) or None for an unknown lease, None)."""
        self.leader_calls.time_to_live(lease, done)

    def move_leader(self, target: int) -> None:
        """Begin to hand leadership to that voter. Raises NOT_LEADER, BAD_LEADER_TRANSFEREE."""
        if not self.is_leader:
            raise error("NOT_LEADER")
        if target not in self.raw.conf_state.voters:
            raise error("BAD_LEADER_TRANSFEREE")
        self.raw.transfer_leader(target)
        self.driver.wake()

    def _durable(self, index: int) -> None:
        self.driver.wake()  # what was applied too much of for one commit goes on
        self.space.measure()
        self._retention.durable(index)

    @property
    def snapshot_dir(self) -> Path:
        """Where a snapshot may lie while it is sent to a client."""
        return self._snapshot_dir

    def touched(self, rows: int = 1) -> None:
        """So many rows were changed outside an entry (physical compaction): commit in time."""
        self.committer.applied(rows)

    @property
    def pending(self) -> int:
        """Proposals queued or in flight."""
        return len(self.waiting.proposals)

    # ---- what the driver asks of its state machine ----

    def apply(self, entry: Entry, late: Late) -> bool:
        """Apply one committed entry, or as much of it as there is time for: see Applying."""
        return self.applying.apply(entry, late)

    def foresee(self, index: int, term: int, sequence: int) -> None:
        """A batch of ours is being written: its answers may be made."""
        self.applying.foresee(index, term, sequence)

    def applied_turn(self) -> None:
        """A slice was applied."""
        self.committer.applied(*self.applying.take_work())

    @property
    def crowded(self) -> bool:
        """Whether so much waits for the backend's commit that no more is to be applied; the driver is woken then."""
        return self.committer.crowded

    @property
    def readable(self) -> bool:
        """Whether the state is that of one revision: no large delete is half done."""
        return self.applying.readable

    def send(self, messages: Sequence[Message]) -> None:
        """Give Raft's messages to the links; snapshots take a stream of their own."""
        ordinary = messages
        for message in messages:
            if message.snapshot is not None:  # seldom: mostly there is no list to be made
                self._transfer.send(message)
                ordinary = [other for other in ordinary if other is not message]
        self.links.send(ordinary)

    def install_snapshot(self, ready: Ready, done: Callable[[], None]) -> None:
        """Put a received snapshot in place; what was half applied is forgotten with the tables."""
        self.applying.forget()
        self._transfer.install(ready, done)

    def state_changed(self, leader: int, role: Role) -> None:
        """Raft has another leader or we another role."""
        self.headers.set_term(self.raw.term)
        self.applying.doubt()
        self.waiting.reads.doubt()
        self.duties.lead(role == Role.LEADER)
        if role != Role.LEADER:
            self.waiting.proposals.withdraw()
        if leader == self.leader_id:
            return
        self.leader_id = leader
        if leader:
            self.leader_changes += 1
            log.info("term %d: %s leads", self.raw.term, "this member" if leader == self.id else f"member {leader:x}")
        else:
            log.info("term %d: no leader", self.raw.term)
        for hook in list(self._leader_hooks.values()):
            hook()

    def failed(self, problem: BaseException) -> None:
        """The disk or the state is not to be trusted any more: stop at once, acknowledge nothing."""
        if not self.stopping:
            self.stopping = True
            log.critical("%s", problem, exc_info=None if isinstance(problem, StorageError) else problem)
            self._failed(problem)
        elif isinstance(problem, StorageError):
            log.error("while stopping: %s", problem)

    # ---- what the links tell ----

    def received(self, messages: list[Message]) -> None:
        """Messages from a peer."""
        if not self.stopping:
            self.driver.receive(messages)

    def snapshot_received(self, message: Message, path: Path) -> None:
        """A whole snapshot lies at `path`."""
        self._transfer.arrived(message, path)
        self.received([message])
        self._transfer.weigh()

    def peer_connected(self, peer: int) -> None:
        """A link came up: what we had passed on to that leader may have been lost with the old one.

        If we lead, the peer learns it now.
        """
        self.raw.peer_connected(peer)
        self.driver.passing_on.resend(peer)
        self.driver.wake()

    def peer_lost(self, peer: int) -> None:
        """A link broke: the other process may be gone."""
        if not self.stopping:
            self.raw.peer_lost(peer)
            self.driver.wake()

    def unreachable(self, peer: int) -> None:
        """A message to the peer was dropped."""
        self.driver.unreachable(peer)

    # ---- timers ----

    def _tick(self) -> None:
        now = self.loop.time()
        self.raw.tick()
        self.driver.passing_on.resend_dropped()
        self.space.look()
        self.waiting.expire(now)
        self.driver.wake()
        self._later(0, self.config.heartbeat_interval / 1000, self._tick)

    def _first_campaign(self) -> None:
        if not self.leader_id and not self.stopping:
            self.raw.campaign()
            self.driver.wake()

    def _later(self, slot: int, seconds: float, work: Callable[..., None], *args: Any) -> None:
        handle = self.loop.call_later(seconds, work, *args)
        if slot < len(self._timers):
            self._timers[slot] = handle
        else:
            self._timers.append(handle)

    def _measure_lag(self, expected: float) -> None:
        now = self.loop.time()
        self.loop_lag.observe(max(now - expected, 0.0))
        if self.state.backend.swollen():
            self.loop.run_in_executor(None, self.state.backend.release)
        self._later(1, LAG_INTERVAL, self._measure_lag, now + LAG_INTERVAL)

    # ---- membership ----

    def _compacted(self) -> None:
        """There are revisions to be removed; not here in the middle of an entry."""
        self.loop.call_soon(self.duties.compact_physically)

    def membership_changed(self) -> None:
        """The table of members is another one."""
        self._standing.refresh()

    def refused_as_removed(self, peer: int) -> None:
        """A peer says that we were taken out of the cluster."""
        self._standing.removed()
