"""What this member is in the cluster, and what changes of membership make of it once they are applied.

An entry that changes the membership writes Raft's configuration and the table of members into one transaction with
the applied index; links follow the table. Whoever waits for the change is answered then.

Invariant: outside joint configurations, the table names the very voters and learners that Raft has.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from kvstore.errors import EtcdError
from kvstore.invariant import invariant
from kvstore.member.bootstrap import removed_text
from kvstore.member.consensus.changes import ChangeQueue
from kvstore.member.membership import members_after
from kvstore.member.requests import decode
from kvstore.pb import etcd_pb2 as pb
from kvstore.raft import codec
from kvstore.raft.types import ConfState, Entry, Role

if TYPE_CHECKING:
    from kvstore.member.member import Member

log = logging.getLogger(__name__)

LEAVE_CHECK_SECONDS = 0.02


class Standing:
    """One member's."""

    def __init__(self, member: Member, changes: ChangeQueue, removed: Callable[[], None]) -> None:
        """removed: called once when the member was taken out of the cluster."""
        self._member = member
        self._changes = changes
        self._removed: Callable[[], None] | None = removed

    def apply(self, entry: Entry) -> None:
        """Apply a committed change of membership."""
        member, change = self._member, codec.decode_conf_change(entry.data)
        cluster = member.cluster
        if not change.context:  # a joint configuration is left
            member.state.set_conf_state(member.raw.apply_conf_change(change))
            if not change.changes and cluster.leaving:
                stay = {i: m for i, m in cluster.members.items() if i not in cluster.leaving}
                self._switch(member.raw.conf_state, stay)
            return
        batch = decode(change.context)
        done = self._changes.applied(batch.first_sequence) if batch.origin == member.id else None
        problem = None
        try:
            members = members_after(cluster, batch.requests)
        except EtcdError as refused:  # the same on every member; Raft is not told of the change then
            problem = refused
        else:
            conf_state = member.raw.apply_conf_change(change)
            # Who is on the way out of a joint configuration still votes in it: its address is needed until then.
            leaving = set(conf_state.voters_outgoing) - members.keys()
            self._switch(conf_state, {**members, **{i: cluster.members[i] for i in leaving}}, leaving)
        if done is not None:
            done(None, problem)
        member.driver.wake()  # the next change may be waiting for this one

    def _switch(
        self, conf_state: ConfState, members: dict[int, pb.Member], leaving: Collection[int] = frozenset()
    ) -> None:
        state, cluster = self._member.state, self._member.cluster
        state.set_conf_state(conf_state)
        cluster.switch(members, leaving)
        table = cluster.conf_state()
        invariant(
            bool(conf_state.voters_outgoing)
            or (table.voters, table.learners) == (conf_state.voters, conf_state.learners),
            "the table of members and Raft's membership must name the same members",
        )
        log.info("the members are %s", ", ".join(sorted(f"{i:x} ({m.name})" for i, m in members.items())))
        self.refresh()

    def refresh(self) -> None:
        """The table of members is another one: keep links to exactly those in it, and know what we are ourselves."""
        member, cluster = self._member, self._member.cluster
        known = cluster.members.get(member.id)
        member.is_learner = known is not None and known.isLearner
        peers = {i: list(m.peerURLs) for i, m in cluster.members.items() if i != member.id}
        timeout = member.config.election_timeout / 1000
        member.links.own_urls = list(known.peerURLs if known else member.config.initial_advertise_peer_urls)
        member.links.set_peers(peers, cluster.removed, farewell=timeout)
        if member.id in cluster.removed and not member.stopping:
            self._leave(member.loop.time() + 2 * timeout)

    def _leave(self, until: float) -> None:
        """We are out: stop, but not before the others can do without us where we lead (Raft dissertation, 4.2.2)."""
        member = self._member
        if member.raw.role == Role.LEADER and member.loop.time() < until and not member.stopping:
            member.loop.call_later(LEAVE_CHECK_SECONDS, self._leave, until)
        else:
            self.removed()

    def removed(self) -> None:
        """We were taken out of the cluster: by what we have applied ourselves, or by a peer's word."""
        member = self._member
        if self._removed is not None and not member.stopping:
            log.warning("%s", removed_text(member.id, member.cluster.id, member.config.data_dir))
            stop, self._removed = self._removed, None
            stop()
