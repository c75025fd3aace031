"""Linearizable reads without the log: ReadIndex (Raft dissertation, 6.4).

A leader notes its commit index, then makes sure with a round of heartbeats that it was still the leader after the
read arrived. Rounds are numbered; who answered round n confirmed every round up to n, so the confirmed round is
found like a commit index, and reads that arrive between two Readys share a round. A leader that has committed
nothing in its own term yet does not know what is committed, and holds its reads until it has.
"""

from __future__ import annotations

from kvstore.raft.quorum import joint_index
from kvstore.raft.state import HeldRead, Raft
from kvstore.raft.types import Message, MessageKind, ReadState


def request(r: Raft, from_: int, context: bytes) -> None:
    """A leader takes on a read, its own or one that a follower passed on."""
    r.held_reads.append(HeldRead(from_, context, 0, 0))
    if r.committed_in_term:
        release(r)


def release(r: Raft) -> None:
    """The leader has committed in its term: reads that have no index yet get one, and join the next round."""
    if not r.held_reads or r.held_reads[-1].round:
        return
    if r.read_round == r.read_round_sent:
        r.read_round += 1
    for read in reversed(r.held_reads):
        if read.round:
            break
        read.index, read.round = r.log.committed, r.read_round
    if r.tracker.single:
        confirm(r)


def round_context(r: Raft) -> bytes:
    """What a heartbeat carries now: the latest round, if anybody still waits for one."""
    r.read_round_sent = r.read_round
    return r.read_round.to_bytes(8, "big") if r.held_reads else b""


def on_round_ack(r: Raft, from_: int, context: bytes) -> None:
    """A member answered a round's heartbeat in this term."""
    number = int.from_bytes(context, "big")
    if number > r.read_acks.get(from_, 0):
        r.read_acks[from_] = number
        if r.held_reads:
            confirm(r)


def confirm(r: Raft) -> None:
    """Answer the reads of every round that a quorum has confirmed."""
    membership, acks = r.tracker.membership, r.read_acks
    acks[r.id] = r.read_round
    outgoing = membership.outgoing and [acks.get(voter, 0) for voter in membership.outgoing]
    confirmed = joint_index([acks.get(voter, 0) for voter in membership.voters], outgoing)
    count = 0
    for read in r.held_reads:
        if not 0 < read.round <= confirmed:
            break
        _answer(r, read)
        count += 1
    del r.held_reads[:count]


def _answer(r: Raft, read: HeldRead) -> None:
    if read.from_ in (0, r.id):
        r.read_states.append(ReadState(read.context, read.index))
    else:
        r.send(Message(MessageKind.READ_INDEX_REPLY, to=read.from_, index=read.index, context=read.context))
