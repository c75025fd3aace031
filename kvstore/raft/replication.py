"""What a leader does to make every log the same as its own (Raft paper, 5.3 and 5.4.2; dissertation, 10.2).

Appends are not sent where they become due but once per Ready (`flush`): what was proposed and acknowledged meanwhile
shares one message per follower. A leader's own disk counts as one more follower, acknowledged by saved().

This is the hot path: one call per batch of client requests and follower, so it does without anything clever per entry.
"""

from __future__ import annotations

from kvstore.invariant import invariant
from kvstore.raft import reads, transfer
from kvstore.raft.progress import PROBE, REPLICATE, SNAPSHOT, Progress
from kvstore.raft.state import Raft
from kvstore.raft.storage import Compacted
from kvstore.raft.types import APPEND, COMMIT_ONLY, LEADER, Entry, Message, MessageKind, size_of


def append(r: Raft, kind: int, data: bytes) -> int:
    """Put an entry behind the leader's log; its index."""
    r.appends_due = True
    return r.log.append([Entry(r.term, r.log.last_index + 1, kind, data)])


def take_on(r: Raft, size: int) -> bool:
    """Count `size` bytes of data as uncommitted. False, and nothing counted, if that would be too much at once."""
    limit = r.config.max_uncommitted_bytes
    if limit and size and r.uncommitted_bytes and r.uncommitted_bytes + size > limit:
        return False
    r.uncommitted_bytes += size
    return True


def on_committed(r: Raft, entries: list[Entry]) -> None:
    """Entries were handed out to be applied: they no longer count as uncommitted."""
    if r.uncommitted_bytes:
        # What an earlier leader took on was never counted here.
        r.uncommitted_bytes = max(0, r.uncommitted_bytes - size_of(entries))


def on_saved(r: Raft) -> None:
    """More of our own log is on disk."""
    if r.role is not LEADER:
        return
    own = r.tracker.progress.get(r.id)
    if own is not None and own.accepted(r.log.saved) and r.log.saved > r.log.committed:
        advance_commit(r)


def advance_commit(r: Raft) -> bool:
    """Commit what a quorum has, if it is of our own term: only then it cannot be overwritten any more (5.4.2)."""
    index = r.tracker.committed()
    if index <= r.log.committed or index < r.first_own:
        return False
    r.log.commit_to(index)
    r.appends_due = True
    if r.held_reads:
        reads.release(r)
    return True


# ---- sending ----


# Who lacks more entries than that is written to, asked or not: it is catching up, or nobody asks for too long.
MOST_KEPT_BACK = 64


def flush(r: Raft) -> None:
    """Send every follower what it does not have, as far as its window allows, or those who are to have it at once."""
    r.appends_due = False
    committed, last, asked = r.log.committed, r.log.last_index, r.asked
    for peer, progress in r.tracker.peers:
        flows = progress.state is REPLICATE
        if flows and asked is not None and peer not in asked and last - progress.next < MOST_KEPT_BACK:
            continue
        while (progress.next <= last or (not flows and progress.state is PROBE)) and not progress.paused:
            if not _send_append(r, peer, progress):
                break
        if progress.sent_commit < committed and progress.state is REPLICATE and not progress.paused:
            _send_append(r, peer, progress)


def _send_append(r: Raft, peer: int, progress: Progress) -> bool:
    """One append, perhaps empty, or a snapshot if the log no longer reaches back. False if neither could be sent."""
    log = r.log
    previous = progress.next - 1
    try:
        previous_term = r.term if previous >= r.first_own else log.term(previous)
        full = progress.state is REPLICATE and progress.inflights.full
        entries = [] if full else log.slice(progress.next, log.last_index + 1, r.config.max_message_bytes)
    except Compacted:
        return _send_snapshot(r, peer, progress)
    # Without names: kind, to, from, term, term and index of the entry before, entries, commit.
    message = Message(APPEND, peer, 0, 0, previous_term, previous, entries, log.committed)
    if not entries and progress.state is REPLICATE and progress.match >= previous:
        message.context = COMMIT_ONLY
    r.send(message)
    last = previous + len(entries)
    progress.sent(last, size_of(entries))
    progress.sent_commit = min(log.committed, last)
    return True


def _send_snapshot(r: Raft, peer: int, progress: Progress) -> bool:
    if not progress.recent_active:
        return False  # it may be down for long: a heartbeat's answer will tell
    meta = r.log.storage.snapshot_meta()
    invariant(meta.index + 1 >= r.log.first_index, "the snapshot must reach the log that is left")
    progress.become_snapshot(meta.index)
    r.send(Message(MessageKind.SNAPSHOT, to=peer, snapshot=meta))
    return True


def heartbeat(r: Raft) -> None:
    """Tell everybody who leads, and a commit index cut to what the follower has: messages with the rest may be lost."""
    context = reads.round_context(r)
    for peer, progress in r.tracker.peers:
        commit = min(progress.match, r.log.committed)
        r.send(Message(MessageKind.HEARTBEAT, to=peer, commit=commit, context=context))


def greet(r: Raft, peer: int) -> None:
    """A heartbeat for one peer that has just come (back), out of turn. It confirms no reads: nobody else got it."""
    progress = r.tracker.progress.get(peer)
    if r.role is LEADER and progress is not None and peer != r.id:
        r.send(Message(MessageKind.HEARTBEAT, to=peer, commit=min(progress.match, r.log.committed)))


# ---- answers ----


def on_append_reply(r: Raft, m: Message) -> None:
    """A follower stored, or refused, an append."""
    progress = r.tracker.progress.get(m.from_)
    if progress is None:
        return
    progress.recent_active = True
    if m.reject:
        _on_reject(r, m, progress)
    elif m.index <= r.log.last_index:
        _on_accept(r, m, progress)


def _on_reject(r: Raft, m: Message, progress: Progress) -> None:
    hint = m.reject_hint
    if m.log_term > 0:
        # Nothing behind this can match: the follower's terms up to its hint are all <= log_term.
        hint, _ = r.log.conflict_hint(m.reject_hint, m.log_term)
    if progress.rejected(m.index, hint):
        if progress.state is REPLICATE:
            progress.become_probe()
        r.appends_due = True


def _on_accept(r: Raft, m: Message, progress: Progress) -> None:
    new = progress.accepted(m.index)
    if progress.state is REPLICATE:
        progress.inflights.free_to(m.index)
    elif progress.state is PROBE:
        # An answer to the very probe, even if it told nothing new, shows where the logs meet.
        if new or m.index == progress.match:
            progress.become_replicate()
    elif progress.match + 1 >= r.log.first_index:
        progress.become_probe()
        progress.become_replicate()
    if new and m.index > r.log.committed:
        advance_commit(r)
    if progress.next <= r.log.last_index or progress.sent_commit < r.log.committed:
        r.appends_due = True
    if new and m.from_ == r.transferee and progress.match == r.log.last_index:
        transfer.hand_over(r, m.from_)


def on_heartbeat_reply(r: Raft, m: Message) -> None:
    """A follower is there: what was sent to it may be tried again, and a round of reads may be confirmed."""
    progress = r.tracker.progress.get(m.from_)
    if progress is None:
        return
    progress.recent_active = True
    progress.probe_sent = False
    progress.commit = max(progress.commit, m.commit)
    if progress.state is REPLICATE and progress.inflights.full:
        progress.inflights.free_first()
    if progress.state is SNAPSHOT and m.commit >= progress.pending_snapshot:
        # It has the snapshot, only its answer was lost. What of it is on its disk yet, the answer to a probe will tell.
        progress.become_probe()
    if progress.state is PROBE:
        r.appends_due = True
    elif progress.state is REPLICATE and progress.match < r.log.last_index and r.asked is None:
        # The last append may have been lost; an empty one finds out (it is refused if entries before it are missing).
        # Where not everybody is written to at once there will be another append soon, which finds out as well.
        _send_append(r, m.from_, progress)
    if m.context:
        reads.on_round_ack(r, m.from_, m.context)
    if r.leaving_index:
        transfer.leave(r)


def on_unreachable(r: Raft, peer: int) -> None:
    """What was sent to a peer may be lost: go back to asking where its log ends."""
    progress = r.tracker.progress.get(peer)
    if r.role is LEADER and progress is not None and progress.state is REPLICATE:
        progress.become_probe()
        r.appends_due = True


def on_snapshot_report(r: Raft, peer: int, ok: bool) -> None:
    """Sending a snapshot ended. The follower's own answer says what it has; until then, or the next heartbeat, wait."""
    progress = r.tracker.progress.get(peer)
    if r.role is not LEADER or progress is None or progress.state is not SNAPSHOT:
        return
    if not ok:
        progress.pending_snapshot = 0
    progress.become_probe()
    progress.probe_sent = True
