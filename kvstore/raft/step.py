"""A message comes in: first its term decides, then who we are (Raft paper, figure 2, "Rules for Servers")."""

from __future__ import annotations

from collections.abc import Callable

from kvstore.invariant import InvariantViolation
from kvstore.raft import codec, election, following, membership, reads, replication, suspicion, transfer
from kvstore.raft.state import WITHOUT_TERM, Raft
from kvstore.raft.types import LEADER, EntryKind, Message, MessageKind, ReadState, Role

Handler = Callable[[Raft, Message], None]

FROM_LEADER = {
    MessageKind.APPEND: following.on_append,
    MessageKind.HEARTBEAT: following.on_heartbeat,
    MessageKind.SNAPSHOT: following.on_snapshot,
}
_FOLLOWER = Role.FOLLOWER
VOTES = frozenset((MessageKind.VOTE, MessageKind.PRE_VOTE))


def step(r: Raft, m: Message) -> None:
    """Take in one message from another member."""
    if not m.kind or m.from_ == r.id:
        return  # nothing that a member says; its term must not count either
    if m.term != r.term and m.kind not in WITHOUT_TERM and not _term_allows(r, m):
        return
    if m.kind in VOTES:
        election.on_vote_request(r, m)
    elif m.kind in FROM_LEADER:
        _hear_leader(r, m)
        FROM_LEADER[m.kind](r, m)
    else:
        handler = _HANDLERS.get((r.role, m.kind))
        if handler is not None:
            handler(r, m)


def _term_allows(r: Raft, m: Message) -> bool:
    """Catch up with a later term, turn away an earlier one. Whether the message still matters."""
    if m.term > r.term:
        return _later_term(r, m)
    _earlier_term(r, m)
    return False


def _later_term(r: Raft, m: Message) -> bool:
    if m.kind in VOTES and r.hears_leader and m.context != election.TRANSFER:
        return False  # as long as there is a leader, nobody gets it out of office by not hearing it
    asked_only = m.kind is MessageKind.PRE_VOTE or (m.kind is MessageKind.PRE_VOTE_REPLY and not m.reject)
    if not asked_only:
        r.become_follower(m.term, m.from_ if m.kind in FROM_LEADER else 0)
    return True


def _earlier_term(r: Raft, m: Message) -> None:
    if m.kind is MessageKind.PRE_VOTE:
        r.send(Message(MessageKind.PRE_VOTE_REPLY, to=m.from_, reject=True))
    elif m.kind in FROM_LEADER and (r.config.check_quorum or r.config.pre_vote):
        # With pre-vote and leases a member of a later term could not get a leader of an earlier one to step down by
        # campaigning.
        r.send(Message(MessageKind.APPEND_REPLY, to=m.from_))


def _hear_leader(r: Raft, m: Message) -> None:
    """A message that only the leader of our term sends."""
    if r.role is LEADER or r.leader not in (0, m.from_):
        raise InvariantViolation("there are two leaders in one term")
    if r.haste:
        r.calm_down()
    if r.role is not _FOLLOWER:
        r.become_follower(r.term, m.from_)
    r.leader = m.from_
    if r.election_elapsed or r.suspected_term:
        suspicion.heard(r)
        r.election_elapsed = 0


def _on_proposal(r: Raft, m: Message) -> None:
    """A follower passes on proposals; who proposed learns from the log whether they made it."""
    for entry in m.entries:
        if entry.kind == EntryKind.CONF_CHANGE:
            membership.propose(r, codec.decode_conf_change(entry.data), entry.data)
        elif r.takes_proposals and replication.take_on(r, len(entry.data)):
            replication.append(r, entry.kind, entry.data)


def _on_read_reply(r: Raft, m: Message) -> None:
    r.read_states.append(ReadState(m.context, m.index))


# Who does what with which message; what is not here is late or lost its way, and is ignored.
_HANDLERS: dict[tuple[Role, MessageKind], Handler] = {
    (Role.LEADER, MessageKind.PROPOSE): _on_proposal,
    (Role.LEADER, MessageKind.APPEND_REPLY): replication.on_append_reply,
    (Role.LEADER, MessageKind.HEARTBEAT_REPLY): replication.on_heartbeat_reply,
    (Role.LEADER, MessageKind.READ_INDEX): lambda r, m: reads.request(r, m.from_, m.context),
    (Role.LEADER, MessageKind.TRANSFER_LEADER): lambda r, m: transfer.request(r, m.index),
    (Role.PRE_CANDIDATE, MessageKind.PRE_VOTE_REPLY): election.on_vote_reply,
    (Role.CANDIDATE, MessageKind.VOTE_REPLY): election.on_vote_reply,
    (Role.FOLLOWER, MessageKind.READ_INDEX_REPLY): _on_read_reply,
    (Role.FOLLOWER, MessageKind.TIMEOUT_NOW): lambda r, m: election.on_timeout_now(r),
}
