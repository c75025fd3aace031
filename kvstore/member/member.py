"""One member of the store: what the services talk to.

It owns the event loop's share of everything: requests of one loop turn become one log entry (proposals.py), Raft
decides (driver.py), committed entries change the state (state.py) and answer whoever waits. All methods are called on
the loop; `done` callbacks run on it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kvstore.auth.types import Identity
from kvstore.errors import EtcdError, error
from kvstore.member import roster
from kvstore.member.bootstrap import Opened
from kvstore.member.committer import Committer
from kvstore.member.config import Config
from kvstore.member.dial import Dialer
from kvstore.member.driver import Driver
from kvstore.member.duties import Duties
from kvstore.member.header import Headers
from kvstore.member.histogram import BATCH_SIZES, DISK_SECONDS, LAG_SECONDS, Histogram
from kvstore.member.leader_calls import LeaderCalls
from kvstore.member.passwords import Passwords
from kvstore.member.peers import PeerLinks
from kvstore.member.proposals import Done, Proposal, ProposalQueue
from kvstore.member.reads import ReadDone, ReadQueue
from kvstore.member.requests import RequestKind, decode, decode_head, sign
from kvstore.member.retention import Retention
from kvstore.member.transfer import SnapshotTransfer
from kvstore.pb import etcd_pb2 as pb
from kvstore.raft import codec
from kvstore.raft.types import Entry, EntryKind, Message, Ready, Role
from kvstore.storage.errors import StorageError
from kvstore.wire.server import GrpcServer

log = logging.getLogger(__name__)

READ_RETRY_SECONDS = 0.5
LAG_INTERVAL = 0.5


class Member:
    """A running member. `opened` is what bootstrap found or made in the data directory."""

    def __init__(self, config: Config, opened: Opened, *, failed: Callable[[BaseException], None]) -> None:
        """failed: called once if the member cannot go on; the process must end."""
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
        self.is_learner = self.id in opened.raw.conf_state.learners  # read with every request, so kept
        self.failed_proposals = 0
        self.fsync_seconds, self.commit_seconds = Histogram(DISK_SECONDS), Histogram(DISK_SECONDS)
        self.batch_sizes, self.loop_lag = Histogram(BATCH_SIZES), Histogram(LAG_SECONDS)
        self._failed = failed
        self._headers = Headers(self.cluster.id, self.id)
        self._leader_hooks: dict[object, Callable[[], None]] = {}
        self._applied_requests = 0
        # Bytes in use: measured at each commit, estimated by the requests since.
        self._space_used = self.state.backend.size_in_use()
        self._snapshot_dir = opened.snapshot_dir
        self._proposals = ProposalQueue(self.id, opened.first_sequence)
        self._reads = ReadQueue(opened.first_sequence, READ_RETRY_SECONDS)
        self.dialer = Dialer(config.peer_tls)
        self.links = PeerLinks(self.cluster.id, self.id, self, self.dialer)
        self.driver = Driver(self.loop, opened.raw, opened.log, self._proposals, self._reads, self)
        self.driver.sync_observer = self.fsync_seconds.observe
        self._retention = Retention(opened.log, self.state, config.snapshot_count)
        self.committer = Committer(
            self.loop,
            self.state.backend,
            prepare=self.state.save_position,
            durable=self._durable,
            failed=self.failed,
        )
        self.committer.sync_observer = self.commit_seconds.observe
        self._transfer = SnapshotTransfer(self, opened)
        self.leader_calls = LeaderCalls(self)
        self.passwords = Passwords(config.bcrypt_cost)
        self.duties = Duties(self)
        self._timers: list[asyncio.TimerHandle] = []

    # ---- life ----

    def register_peer(self, server: GrpcServer) -> None:
        """Serve the peers' calls on the server of the peer port."""
        self.links.register(server)
        self._transfer.register(server)
        self.leader_calls.register(server)
        roster.register(server, self.cluster)

    def start(self) -> None:
        """Connect to the peers and begin to tick."""
        self._headers.set_term(self.raw.term)
        self.refresh_peers()
        self._tick()
        self._measure_lag(self.loop.time())
        self.duties.start()
        self._publish()
        # A whole cluster that starts need not sit out an election timeout; if there is a leader, the pre-vote fails.
        self._later(2, random.uniform(0.05, 0.3), self._first_campaign)
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
        for proposal in self._proposals.drain():
            proposal.done(None, error("STOPPED"))
        for done in self._reads.drain():
            done(error("STOPPED"))
        self.links.close()
        self.leader_calls.close()
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
        until = self.loop.time() + self.config.election_timeout / 1000
        while self.raw.role == Role.LEADER and self.loop.time() < until:
            await asyncio.sleep(0.005)

    @property
    def raw(self) -> Any:
        """The Raft node, for status."""
        return self.driver.raw

    @property
    def is_leader(self) -> bool:
        """Whether this member leads, as far as it knows."""
        return self.leader_id == self.id

    # ---- requests ----

    def propose(self, kind: int, body: bytes, request: Any, done: Done, identity: Identity | None = None) -> None:
        """Put a request into the log; identity: who made it, while auth is on.

        `done(result, None)` when it is applied here, `done(None, error)` otherwise. Raises TOO_MANY_REQUESTS,
        STOPPED.
        """
        if self.stopping:
            raise error("STOPPED")
        if identity is not None:
            kind, body = sign(kind, body, identity)
        self._proposals.add(Proposal(kind, body, request, done, self.loop.time() + self.config.request_timeout))
        self.driver.wake()

    def linearizable(self, done: ReadDone) -> None:
        """`done(None)` once what is applied here is at least as new as this moment.

        Raises TOO_MANY_REQUESTS, STOPPED.
        """
        if self.stopping:
            raise error("STOPPED")
        self._reads.add(self.loop.time() + self.config.request_timeout, done)
        self.driver.wake()

    def check_space(self, size: int) -> None:
        """Before a request that adds data: over quota it is refused and the alarm is raised. Raises NO_SPACE."""
        if self.alarms.no_space:
            raise error("NO_SPACE")
        self._space_used += size
        if self._space_used <= self.config.quota:
            return
        alarm = pb.AlarmRequest(action=pb.AlarmRequest.ACTIVATE, memberID=self.id, alarm=pb.NOSPACE)
        self.propose(RequestKind.ALARM, alarm.SerializeToString(), alarm, lambda result, problem: None)
        log.warning("backend quota of %d bytes is used up: raising the NOSPACE alarm", self.config.quota)
        raise error("NO_SPACE")

    def header(self, revision: int | None = None) -> bytes:
        """An encoded ResponseHeader; of the current revision unless told otherwise."""
        return self._headers.encode(self.store.revision if revision is None else revision)

    def header_field(self, revision: int) -> bytes:
        """The header as field 1 of a response."""
        return self._headers.field(revision)

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
        self._space_used = self.state.backend.size_in_use()
        self._retention.durable(index)

    @property
    def snapshot_dir(self) -> Path:
        """Where a snapshot may lie while it is sent to a client."""
        return self._snapshot_dir

    def touched(self) -> None:
        """The tables were changed outside an entry (physical compaction): commit in time."""
        self.committer.applied(1)

    @property
    def pending(self) -> int:
        """Proposals queued or in flight."""
        return len(self._proposals)

    # ---- what the driver asks of its state machine ----

    def apply(self, entry: Entry) -> None:
        """Apply one committed entry."""
        state = self.state
        if entry.index <= state.applied_index:
            return  # the backend had it before a restart
        if entry.term > state.applied_term and self._proposals.lost_before(entry.term):
            self.driver.wake()
        if entry.kind == EntryKind.CONF_CHANGE:
            self._apply_conf_change(entry)
        elif entry.data:
            self._apply_batch(entry.data, entry.index)
        state.applied_index, state.applied_term = entry.index, entry.term

    def _apply_batch(self, data: bytes, entry_index: int) -> None:
        applier = self.state.applier
        applier.begin(self.loop.time(), entry_index)
        origin, first = decode_head(data)
        mine = self._proposals.applied(first) if origin == self.id else None
        if mine is None:
            requests = decode(data).requests
            for kind, body in requests:
                applier.apply(kind, body)
            count = len(requests)
        else:
            self._apply_and_answer(mine)
            count = len(mine)
        self._applied_requests += count
        self.batch_sizes.observe(count)

    def _apply_and_answer(self, mine: list[Proposal]) -> None:
        apply = self.state.applier.apply
        for kind, body, request, done, _ in mine:
            result = apply(kind, body, request)
            try:
                if isinstance(result, EtcdError):
                    done(None, result)
                else:
                    done(result, None)
            except Exception:
                log.exception("answering a request failed; it was applied")

    def _apply_conf_change(self, entry: Entry) -> None:
        change = codec.decode_conf_change(entry.data)
        conf_state = self.raw.apply_conf_change(change)
        self.state.set_conf_state(conf_state)
        self.is_learner = self.id in conf_state.learners
        self.refresh_peers()

    def applied_turn(self) -> None:
        """A slice was applied."""
        self.committer.applied(self._applied_requests)
        self._applied_requests = 0

    def send(self, messages: Iterable[Message]) -> None:
        """Give Raft's messages to the links; snapshots take a stream of their own."""
        ordinary = []
        for message in messages:
            if message.snapshot is not None:
                self._transfer.send(message)
            else:
                ordinary.append(message)
        self.links.send(ordinary)

    def install_snapshot(self, ready: Ready, done: Callable[[], None]) -> None:
        """Put a received snapshot in place."""
        self._transfer.install(ready, done)

    def state_changed(self, leader: int, role: Role) -> None:
        """Raft has another leader or we another role."""
        self._headers.set_term(self.raw.term)
        self.duties.lead(role == Role.LEADER)
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

    # ---- what the links tell ----

    def received(self, messages: list[Message]) -> None:
        """Messages from a peer."""
        if not self.stopping:
            self.driver.receive(messages)

    def snapshot_received(self, message: Message, path: Path) -> None:
        """A whole snapshot lies at `path`."""
        self._transfer.arrived(message, path)
        self.received([message])

    def peer_connected(self, peer: int) -> None:
        """A link came up: what we had passed on to that leader may have been lost with the old one."""
        self.driver.resend(peer)

    def peer_lost(self, peer: int) -> None:
        """A link broke: the other process may be gone."""
        if not self.stopping:
            self.raw.peer_lost(peer)
            self.driver.wake()

    def unreachable(self, peer: int) -> None:
        """A message to the peer was dropped."""
        self.raw.report_unreachable(peer)

    # ---- timers ----

    def _tick(self) -> None:
        now = self.loop.time()
        self.raw.tick()
        self._expire(now)
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

    def _expire(self, now: float) -> None:
        late = self._proposals.expire(now) + self._proposals.overdue(now)
        reads = self._reads.expire(now)
        if not late and not reads:
            return
        problem = error("TIMEOUT" if self.leader_id else "TIMEOUT_LEADER_FAIL")
        self.failed_proposals += len(late)
        for proposal in late:
            proposal.done(None, problem)
        for done in reads:
            done(problem)

    def _measure_lag(self, expected: float) -> None:
        now = self.loop.time()
        self.loop_lag.observe(max(now - expected, 0.0))
        self._later(1, LAG_INTERVAL, self._measure_lag, now + LAG_INTERVAL)

    # ---- membership ----

    def refresh_peers(self) -> None:
        """Keep links to exactly the members that are applied."""
        self.links.set_peers({i: list(m.peerURLs) for i, m in self.cluster.members.items() if i != self.id})

    def _publish(self) -> None:
        """Tell the cluster our name and client URLs, until it has worked."""
        known = self.cluster.members.get(self.id)
        urls = self.config.advertise_client_urls
        if known is not None and known.name == self.config.name and list(known.clientURLs) == urls:
            return
        mine = pb.Member(ID=self.id, name=self.config.name, clientURLs=urls)

        def done(result: Any, problem: EtcdError | None) -> None:
            if problem is not None and not self.stopping:
                self.loop.call_later(1.0, self._publish)

        self.propose(RequestKind.MEMBER_ATTRIBUTES, mine.SerializeToString(), mine, done)
