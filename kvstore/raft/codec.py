"""Raft's values ↔ their encoding (proto/raft.proto), on the wire and in the log.

Decoding raises ValueError for bytes that are no such message or of a kind we do not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from google.protobuf.message import DecodeError

from kvstore.pb import raft_pb2 as pb
from kvstore.raft import short_form
from kvstore.raft.types import (
    ConfChange,
    ConfChangeKind,
    ConfChangeSingle,
    ConfState,
    Entry,
    HardState,
    Message,
    MessageKind,
    SnapshotMeta,
    Transition,
)

_KINDS = {int(kind): kind for kind in MessageKind}


def message_to_pb(m: Message) -> pb.Message:
    """A message as it travels."""
    out = pb.Message()
    _fill(out, m)
    return out


def _fill(out: pb.Message, m: Message) -> None:
    """Set what is not zero: most fields of most messages are, and setting one costs as much as all the rest."""
    out.kind = cast("pb.MessageKind", m.kind)
    out.to = m.to
    setattr(out, "from", m.from_)
    if m.term:
        out.term = m.term
    if m.log_term:
        out.log_term = m.log_term
    if m.index:
        out.index = m.index
    if m.commit:
        out.commit = m.commit
    if m.reject:
        out.reject = m.reject
    if m.reject_hint:
        out.reject_hint = m.reject_hint
    if m.context:
        out.context = m.context
    if m.entries:
        _add_entries(out, m.entries)
    if m.snapshot is not None:
        out.snapshot.CopyFrom(snapshot_meta_to_pb(m.snapshot))


def _add_entries(out: pb.Message, entries: Iterable[Entry]) -> None:
    add = out.entries.add
    for entry in entries:
        add(term=entry.term, index=entry.index, kind=cast("pb.EntryKind", entry.kind), data=entry.data)


def message_from_pb(m: pb.Message) -> Message:
    """A message as Raft takes it. Raises ValueError for an unknown kind."""
    return Message(
        kind=_KINDS.get(m.kind) or MessageKind(m.kind),
        to=m.to,
        from_=getattr(m, "from"),
        term=m.term,
        log_term=m.log_term,
        index=m.index,
        entries=[Entry(entry.term, entry.index, entry.kind, entry.data) for entry in m.entries],
        commit=m.commit,
        reject=m.reject,
        reject_hint=m.reject_hint,
        context=m.context,
        snapshot=snapshot_meta_from_pb(m.snapshot) if m.HasField("snapshot") else None,
    )


def encode_message(m: Message) -> bytes:
    """One message's bytes."""
    return message_to_pb(m).SerializeToString()


def decode_message(data: bytes) -> Message:
    """The message in those bytes. Raises ValueError."""
    out = pb.Message()
    _parse(out, data)
    return message_from_pb(out)


def encode_frame(messages: Sequence[Message]) -> bytes:
    """A Frame of a peer stream with these messages, in order."""
    short = short_form.write_frame(messages)
    if short is not None:
        return short
    frame = pb.Frame()
    add = frame.messages.add
    for message in messages:
        _fill(add(), message)
    return frame.SerializeToString()


def decode_frame(data: bytes) -> list[Message]:
    """The messages of a Frame. Raises ValueError."""
    short = short_form.read_frame(data)
    if short is not None:
        return short
    frame = pb.Frame()
    _parse(frame, data)
    messages = [message_from_pb(m) for m in frame.messages]
    short_form.learn_from(messages)
    return messages


def conf_state_to_pb(state: ConfState) -> pb.ConfState:
    """A membership as it travels and is saved."""
    return pb.ConfState(
        voters=state.voters,
        learners=state.learners,
        voters_outgoing=state.voters_outgoing,
        learners_next=state.learners_next,
        auto_leave=state.auto_leave,
    )


def conf_state_from_pb(state: pb.ConfState) -> ConfState:
    """A membership as Raft takes it."""
    return ConfState(
        voters=tuple(state.voters),
        learners=tuple(state.learners),
        voters_outgoing=tuple(state.voters_outgoing),
        learners_next=tuple(state.learners_next),
        auto_leave=state.auto_leave,
    )


def snapshot_meta_to_pb(meta: SnapshotMeta) -> pb.SnapshotMeta:
    """A snapshot's point as it travels and is saved."""
    return pb.SnapshotMeta(index=meta.index, term=meta.term, conf_state=conf_state_to_pb(meta.conf_state))


def snapshot_meta_from_pb(meta: pb.SnapshotMeta) -> SnapshotMeta:
    """A snapshot's point as Raft takes it."""
    return SnapshotMeta(meta.index, meta.term, conf_state_from_pb(meta.conf_state))


def hard_state_to_pb(state: HardState) -> pb.HardState:
    """A hard state as it is saved."""
    return pb.HardState(term=state.term, vote=state.vote, commit=state.commit)


def hard_state_from_pb(state: pb.HardState) -> HardState:
    """A hard state as Raft takes it."""
    return HardState(state.term, state.vote, state.commit)


def encode_conf_change(change: ConfChange) -> bytes:
    """The data of a CONF_CHANGE entry; empty for the empty change."""
    out = pb.ConfChange(transition=cast("pb.Transition", change.transition), context=change.context)
    for single in change.changes:
        out.changes.add(kind=cast("pb.ConfChangeKind", single.kind), member_id=single.member_id)
    return out.SerializeToString()


def decode_conf_change(data: bytes) -> ConfChange:
    """The change in a CONF_CHANGE entry. Raises ValueError."""
    out = pb.ConfChange()
    _parse(out, data)
    changes = tuple(ConfChangeSingle(ConfChangeKind(single.kind), single.member_id) for single in out.changes)
    return ConfChange(changes, Transition(out.transition), out.context)


def _parse(out: pb.Message | pb.Frame | pb.ConfChange, data: bytes) -> None:
    try:
        out.ParseFromString(data)
    except DecodeError as problem:
        raise ValueError(f"not a {type(out).__name__}: {problem}") from problem
