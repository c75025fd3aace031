"""Raft's values as one line of text each, for the traces."""

from __future__ import annotations

from kvstore.raft.codec import decode_conf_change
from kvstore.raft.types import ConfChange, ConfState, Entry, EntryKind, Message, Ready, SnapshotMeta, Status

SIGN = {"v": 0, "l": 1, "r": 2}


def entry_text(entry: Entry) -> str:
    """term/index and data."""
    if entry.kind == EntryKind.CONF_CHANGE:
        return f"{entry.term}/{entry.index} change({change_text(decode_conf_change(entry.data))})"
    return f'{entry.term}/{entry.index} "{entry.data.decode()}"'


def change_text(change: ConfChange) -> str:
    """v4 adds a voter, l4 a learner, r4 removes."""
    signs = {number: sign for sign, number in SIGN.items()}
    parts = [f"{signs[single.kind]}{single.member_id}" for single in change.changes]
    if change.transition:
        parts.append(change.transition.name.lower())
    return " ".join(parts) or "leave joint"


def conf_text(state: ConfState) -> str:
    """Voters, and what else there is."""
    parts = [f"voters={list(state.voters)}"]
    if state.voters_outgoing:
        parts.append(f"outgoing={list(state.voters_outgoing)}")
    if state.learners:
        parts.append(f"learners={list(state.learners)}")
    if state.learners_next:
        parts.append(f"learners_next={list(state.learners_next)}")
    if state.auto_leave:
        parts.append("auto_leave")
    return " ".join(parts)


def meta_text(meta: SnapshotMeta) -> str:
    """term/index and membership."""
    return f"{meta.term}/{meta.index} {conf_text(meta.conf_state)}"


def message_text(m: Message) -> str:
    """Only what is not 0."""
    parts = [f"{m.from_}->{m.to} {m.kind.name}"]
    if m.term:
        parts.append(f"term={m.term}")
    if m.log_term or m.index:
        parts.append(f"log={m.log_term}/{m.index}")
    if m.reject:
        parts.append("reject" + (f" hint={m.reject_hint}" if m.reject_hint else ""))
    if m.commit:
        parts.append(f"commit={m.commit}")
    if m.context:
        text = m.context.decode() if m.context.isascii() and m.context.decode().isprintable() else m.context.hex()
        parts.append(f"context={text}")
    if m.snapshot is not None:
        parts.append(f"snapshot={meta_text(m.snapshot)}")
    if m.entries:
        parts.append(f"[{', '.join(map(entry_text, m.entries))}]")
    return " ".join(parts)


def ready_lines(ready: Ready) -> list[str]:
    """What a Ready holds, line by line; what is saved later is marked so."""
    lines = []
    if ready.soft_state is not None:
        lines.append(f"{ready.soft_state.role.name} leader={ready.soft_state.leader}")
    if ready.hard_state is not None:
        hard = ready.hard_state
        lines.append(f"hard state term={hard.term} vote={hard.vote} commit={hard.commit}")
    if ready.must_sync:
        lines.append("must sync")
    if ready.snapshot is not None:
        lines.append(f"install {meta_text(ready.snapshot)}")
    lines += [f"append {entry_text(entry)}" for entry in ready.entries]
    lines += [f"send {message_text(m)}" for m in ready.messages]
    lines += [f"send once saved {message_text(m)}" for m in ready.messages_after_save]
    lines += [f"apply {entry_text(entry)}" for entry in ready.committed]
    lines += [f"read {read.context.decode()} at {read.index}" for read in ready.read_states]
    return lines


def status_lines(status: Status) -> list[str]:
    """One member, and for a leader a line for each it sends to."""
    head = f"{status.id}: {status.role.name} term={status.term} vote={status.vote} leader={status.leader}"
    index = f"commit={status.commit} applied={status.applied} last={status.last_index}"
    lines = [f"{head} {index} {conf_text(status.conf_state)}"]
    if status.transferee:
        lines.append(f"  hands over to {status.transferee}")
    for member, peer in status.progress.items():
        flags = [flag for flag in ("recent_active", "learner", "paused") if getattr(peer, flag)]
        if peer.pending_snapshot:
            flags.append(f"pending_snapshot={peer.pending_snapshot}")
        lines.append(f"  {member}: {peer.state} match={peer.match} next={peer.next} {' '.join(flags)}".rstrip())
    return lines
