"""What a follower does with its leader's messages (Raft paper, 5.3 and 7)."""

from __future__ import annotations

from kvstore.raft.state import Raft
from kvstore.raft.tracker import Membership
from kvstore.raft.types import APPEND_REPLY, COMMIT_ONLY, Message, MessageKind, SnapshotMeta


def on_append(r: Raft, m: Message) -> None:
    """Store the entries if they fit behind what is there; otherwise say where they might."""
    log = r.log
    if m.index == 0 and not r.tracker.membership.members:
        # A joining member knows no founders: the first entries would change a membership it does not have, and could
        # make it believe that it is alone. It needs a snapshot.
        return
    if m.index < log.committed:
        # Old news: what is committed agrees with every leader's log.
        _accepted(r, m, log.committed)
        return
    last = log.accept(m.index, m.log_term, m.entries)
    if last is None:
        _rejected(r, m)
        return
    log.commit_to(min(m.commit, last))
    if m.entries or m.context != COMMIT_ONLY:
        _accepted(r, m, last)


def _accepted(r: Raft, m: Message, index: int) -> None:
    r.send(Message(APPEND_REPLY, m.from_, 0, 0, 0, index))


def _rejected(r: Raft, m: Message) -> None:
    # Skip whole terms at once: nothing behind the hint can agree with the leader (the paper's last remark in 5.3).
    hint, hint_term = r.log.conflict_hint(min(m.index, r.log.last_index), m.log_term)
    r.send(Message(APPEND_REPLY, to=m.from_, index=m.index, reject=True, reject_hint=hint, log_term=hint_term))


def on_heartbeat(r: Raft, m: Message) -> None:
    """The leader is there. The answer says what we would still know to be committed after a crash."""
    r.log.commit_to(m.commit)
    r.send(Message(MessageKind.HEARTBEAT_REPLY, to=m.from_, commit=r.saved_commit, context=m.context))


def on_snapshot(r: Raft, m: Message) -> None:
    """Replace the log by a snapshot, unless it holds nothing new; the answer goes out once it is installed."""
    if m.snapshot is not None and _needs(r, m.snapshot):
        r.log.restore(m.snapshot, m)  # its membership takes effect when it is handed out (RawNode.ready)
    _accepted(r, m, r.log.committed)


def _needs(r: Raft, meta: SnapshotMeta) -> bool:
    if meta.index <= r.log.committed:
        return False
    if r.log.matches(meta.index, meta.term):
        r.log.commit_to(meta.index)
        return False
    # A snapshot that does not know us would make us forget that we are a member.
    return r.id in Membership.of(meta.conf_state).members
